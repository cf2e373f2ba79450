import pytest
import torch
from torch import nn

from sweeper.training.activations import activation
from sweeper.training.initialisation import OUTPUT_GAIN, initialise
from sweeper.words.errors import ConfigError


@pytest.mark.parametrize(("name", "variance"), [("he", 2 / 400), ("lecun", 1 / 400), ("glorot", 2 / 1000)])
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_variance_of_the_weights(name, variance, kind):
    torch.manual_seed(0)
    hidden, output = nn.Linear(400, 600), nn.Linear(600, 400)
    initialise(nn.Sequential(hidden, output), f"{name}_{kind}")
    largest = hidden.weight.abs().max().item()
    assert (largest < 1.01 * (3 * variance) ** 0.5) == (kind == "uniform")
    assert hidden.weight.var().item() == pytest.approx(variance, rel=0.02)
    assert output.weight.std().item() == pytest.approx(OUTPUT_GAIN * 600**-0.5, rel=0.02)
    assert not hidden.bias.any()
    assert not output.bias.any()


def test_he_counts_a_convolutions_whole_window():
    torch.manual_seed(0)
    convolution = nn.Conv2d(16, 256, 3)
    initialise(nn.Sequential(convolution, nn.Linear(1, 1)), "he_normal")
    assert convolution.weight.var().item() == pytest.approx(2 / (16 * 9), rel=0.03)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "prelu", "gelu", "elu", "selu", "tanh", "softsign", "identity"])
def test_the_signal_survives_ten_layers(name):
    torch.manual_seed(0)
    layers = [layer for _ in range(10) for layer in (nn.Linear(256, 256), activation(name))]
    model = nn.Sequential(*layers, nn.Linear(256, 1))
    initialise(model, "auto", name)
    signal = model[:-1](torch.randn(500, 256)).square().mean().sqrt().item()
    assert 0.05 < signal < 3


@pytest.mark.parametrize(
    ("activation", "fitting"), [("relu", "he_normal"), ("selu", "lecun_normal"), ("sigmoid", "glorot_normal")]
)
def test_auto_is_what_fits_the_activation(activation, fitting):
    weights = []
    for name in ("auto", fitting):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
        initialise(model, name, activation)
        weights.append(model[0].weight)
    assert weights[0].equal(weights[1])


def test_orthogonal_rows_keep_lengths():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    initialise(model, "orthogonal")
    assert torch.allclose(model[0].weight @ model[0].weight.T, torch.eye(8), atol=1e-5)


def test_an_unknown_one_gets_the_list():
    with pytest.raises(ConfigError, match=r"`model\.initialisation` must be one of auto, glorot_normal, .*'he'"):
        initialise(nn.Sequential(nn.Linear(1, 1)), "he")
