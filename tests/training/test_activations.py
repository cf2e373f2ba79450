import pytest
import torch

from sweeper.training.activations import ACTIVATIONS, activation, dropout, fitting_initialisation
from sweeper.training.initialisation import WEIGHTS
from sweeper.words.errors import ConfigError


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_keeps_the_shape_and_has_an_initialisation(name):
    assert activation(name)(torch.randn(2, 3)).shape == (2, 3)
    assert fitting_initialisation(name) in WEIGHTS


def test_an_unknown_one_gets_the_list():
    with pytest.raises(ConfigError, match=r"`model\.activation` must be one of celu, elu, .*, but got 'rulu'"):
        activation("rulu")


def test_dropout_after_selu_keeps_mean_and_variance():
    torch.manual_seed(0)
    (alpha,) = dropout(0.3, "selu")
    signal = alpha(torch.randn(200, 200))
    assert signal.mean().item() == pytest.approx(0, abs=0.02)
    assert signal.var().item() == pytest.approx(1, abs=0.03)
    assert type(dropout(0.3, "relu")[0]) is torch.nn.Dropout
    assert dropout(0, "relu") == []


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigError, match=rf"`0 <= model\.dropout < 1` must hold, but got model\.dropout={share}"):
        dropout(share, "relu")
