import torch

from sweeper.training.scaling import Scaling


def test_per_feature_gives_each_feature_mean_0_and_spread_1():
    examples = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10, 100]) + 7
    scaled = Scaling.fit(examples, per_feature=True)(examples)
    assert torch.allclose(scaled.mean(dim=0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(scaled.std(dim=0, correction=0), torch.ones(3), atol=1e-5)


def test_all_together_keeps_the_pixels_ratios():
    images = torch.arange(32, dtype=torch.uint8).reshape(2, 1, 4, 4)
    scaling = Scaling.fit(images, per_feature=False)
    assert scaling.mean.shape == scaling.spread.shape == ()
    assert torch.allclose(scaling(images) * scaling.spread + scaling.mean, images.float())


def test_a_constant_feature_becomes_0():
    examples = torch.full((7, 1), 0.1)
    assert Scaling.fit(examples, per_feature=True)(examples).abs().max() < 1e-6
