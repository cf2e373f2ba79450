import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from sweeper.training.models import CNN, MLP, build, has_batch_norm, widths
from sweeper.words.errors import ConfigError

MLP_SETTINGS = {"inputs": [64], "outputs": 10, "depth": 2, "width": 32, "activation": "relu", "dropout": 0.1}
CNN_SETTINGS = {**MLP_SETTINGS, "inputs": [1, 28, 28], "width": 4, "hidden": 16}


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_mlp_shapes(depth):
    model = MLP(**{**MLP_SETTINGS, "depth": depth})
    assert model(torch.randn(5, 64)).shape == (5, 10)
    assert sum(isinstance(layer, nn.Linear) for layer in model.modules()) == depth + 1


def test_mlp_flattens_images():
    assert MLP(**{**MLP_SETTINGS, "inputs": [1, 28, 28]})(torch.randn(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_cnn_shapes(depth):
    assert CNN(**{**CNN_SETTINGS, "depth": depth})(torch.randn(3, 1, 28, 28)).shape == (3, 10)


def test_cnn_takes_colours_and_oblong_images():
    assert CNN(**{**CNN_SETTINGS, "inputs": [3, 32, 20]})(torch.randn(2, 3, 32, 20)).shape == (2, 10)


def test_cnn_refuses_flat_inputs_and_too_many_blocks():
    with pytest.raises(ConfigError, match=r"\(C, H, W\)"):
        CNN(**{**CNN_SETTINGS, "inputs": [64]})
    with pytest.raises(ConfigError, match=r"2\*\*depth <= height, width.*model.depth=5"):
        CNN(**{**CNN_SETTINGS, "depth": 5})


@pytest.mark.parametrize("name", ["relu", "tanh", "elu"])
def test_the_first_loss_is_at_chance(name):
    torch.manual_seed(0)
    model = MLP(**{**MLP_SETTINGS, "depth": 4, "activation": name})
    loss = functional.cross_entropy(model(torch.randn(200, 64)), torch.arange(200) % 10)
    assert loss.item() == pytest.approx(math.log(10), abs=0.05)


def test_the_seed_fixes_the_weights():
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(nn.utils.parameters_to_vector(MLP(**MLP_SETTINGS).parameters()))
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


def test_build_by_name():
    assert isinstance(build({"name": "mlp", **MLP_SETTINGS}), MLP)
    assert isinstance(build({"name": "cnn", **CNN_SETTINGS}), CNN)
    with pytest.raises(ConfigError, match=r"model=mlp takes the keys .*unknown: hidden"):
        build({"name": "mlp", **CNN_SETTINGS})


def test_a_funnel_narrows_by_the_same_ratio_to_the_outputs():
    assert widths("funnel", 3, 80, 10) == [80, 40, 20]
    assert widths("funnel", 2, 8, 10) == [8, 8]
    assert widths("same", 3, 80, 10) == [80, 80, 80]
    assert widths("funnel", 0, 80, 10) == []
    model = MLP(**{**MLP_SETTINGS, "shape": "funnel", "width": 40})
    assert [layer.out_features for layer in model.modules() if isinstance(layer, nn.Linear)] == [40, 20, 10]


@pytest.mark.parametrize(
    "build_one", [lambda **more: MLP(**MLP_SETTINGS, **more), lambda **more: CNN(**CNN_SETTINGS, **more)]
)
def test_batch_norm_stands_before_each_activation_in_the_place_of_the_bias(build_one):
    model = build_one(batch_norm=True, input_dropout=0.2)
    layers = [each for each in model.modules() if not list(each.children())]
    normed = [index for index, layer in enumerate(layers) if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert normed
    assert all(isinstance(layers[index + 1], nn.ReLU) and layers[index - 1].bias is None for index in normed)
    assert layers[-1].bias is not None
    assert has_batch_norm(model)
    assert not has_batch_norm(build_one())


def test_input_dropout_drops_inputs_and_no_hidden_units():
    model = MLP(**{**MLP_SETTINGS, "dropout": 0.0, "depth": 0, "input_dropout": 0.5})
    kept = model.layers[:-1](torch.ones(100, 64))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert kept.count_nonzero().item() / kept.numel() == pytest.approx(0.5, abs=0.05)


def test_selu_gets_alpha_dropout():
    model = MLP(**{**MLP_SETTINGS, "activation": "selu"})
    assert any(isinstance(layer, nn.AlphaDropout) for layer in model.modules())
