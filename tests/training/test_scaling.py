import pytest
import torch

from sweeper.training.scaling import Scaling, fit
from sweeper.words.errors import ConfigError


def test_per_feature_gives_each_feature_mean_0_and_spread_1():
    examples = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10, 100]) + 7
    scaled = Scaling.fit(examples, per_feature=True)(examples)
    assert torch.allclose(scaled.mean(dim=0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(scaled.std(dim=0, correction=0), torch.ones(3), atol=1e-5)


def test_all_together_keeps_the_pixels_ratios():
    images = torch.arange(32, dtype=torch.uint8).reshape(2, 1, 4, 4)
    scaling = Scaling.fit(images, per_feature=False)
    assert scaling.offset.shape == scaling.spread.shape == ()
    assert torch.allclose(scaling(images) * scaling.spread + scaling.offset, images.float())


def test_a_constant_feature_becomes_0():
    examples = torch.full((7, 1), 0.1)
    assert Scaling.fit(examples, per_feature=True)(examples).abs().max() < 1e-6


def test_minmax_is_from_0_to_1_on_the_training_set_alone():
    examples = torch.tensor([[1.0, 10.0, 4.0], [3.0, 30.0, 4.0]])
    scaling = fit({"name": "minmax", "per": "feature"}, examples, per_feature=False)
    assert scaling(examples).tolist() == [[0, 0, 0], [1, 1, 0]]
    assert scaling(torch.tensor([[5.0, 0.0, 4.0]])).tolist() == [[2, -0.5, 0]]
    assert fit({"name": "minmax", "per": "all"}, examples, per_feature=True)(examples)[1, 1] == 1


def test_per_channel_gives_each_channel_mean_0_and_spread_1():
    images = torch.randn(20, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5, 9]).view(
        3, 1, 1
    )
    scaled = fit({"name": "standard", "per": "channel"}, images + 7, per_feature=False)(images + 7)
    assert torch.allclose(scaled.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(scaled.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


def test_none_leaves_the_numbers():
    examples = torch.tensor([[0, 255]], dtype=torch.uint8)
    assert fit({"name": "none"}, examples, per_feature=True)(examples).tolist() == [[0.0, 255.0]]


def test_auto_is_what_fits_the_data():
    examples = torch.rand(9, 4)
    for per_feature in (True, False):
        auto = fit({"name": "standard", "per": "auto"}, examples, per_feature)
        assert auto(examples).equal(Scaling.fit(examples, per_feature)(examples))
        assert auto(examples).equal(fit(None, examples, per_feature)(examples))


def test_channels_need_images():
    with pytest.raises(ConfigError, match=r"per=channel needs images \(N, C, H, W\), but the inputs are \(9, 4\)"):
        fit({"name": "minmax", "per": "channel"}, torch.rand(9, 4), per_feature=False)
