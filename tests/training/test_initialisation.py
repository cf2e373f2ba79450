import pytest
import torch
from torch import nn

from sweeper.training.activations import activation
from sweeper.training.initialisation import OUTPUT_GAIN, initialise


@pytest.mark.parametrize(("name", "variance"), [("he", 2 / 400), ("lecun", 1 / 400), ("glorot", 2 / 1000)])
def test_variance_of_the_weights(name, variance):
    torch.manual_seed(0)
    hidden, output = nn.Linear(400, 600), nn.Linear(600, 400)
    initialise(nn.Sequential(hidden, output), name)
    assert hidden.weight.var().item() == pytest.approx(variance, rel=0.02)
    assert output.weight.std().item() == pytest.approx(OUTPUT_GAIN * 600**-0.5, rel=0.02)
    assert not hidden.bias.any()
    assert not output.bias.any()


def test_he_counts_a_convolutions_whole_window():
    torch.manual_seed(0)
    convolution = nn.Conv2d(16, 256, 3)
    initialise(nn.Sequential(convolution, nn.Linear(1, 1)), "he")
    assert convolution.weight.var().item() == pytest.approx(2 / (16 * 9), rel=0.03)


@pytest.mark.parametrize(("name", "rule"), [("relu", "he"), ("selu", "lecun"), ("tanh", "glorot")])
def test_the_signal_survives_ten_layers(name, rule):
    torch.manual_seed(0)
    layers = [layer for _ in range(10) for layer in (nn.Linear(256, 256), activation(name))]
    model = nn.Sequential(*layers, nn.Linear(256, 1))
    initialise(model, rule)
    signal = model[:-1](torch.randn(500, 256)).square().mean().sqrt().item()
    assert 0.1 < signal < 3
