import pytest
import torch

from sweeper.errors import ConfigError
from sweeper.training.activations import ACTIVATIONS, activation, fitting_initialisation
from sweeper.training.initialisation import WEIGHTS


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_keeps_the_shape_and_has_an_initialisation(name):
    assert activation(name)(torch.randn(2, 3)).shape == (2, 3)
    assert fitting_initialisation(name) in WEIGHTS


def test_an_unknown_one_gets_the_list():
    with pytest.raises(ConfigError, match=r"`model\.activation` must be one of elu, .*, but got 'rulu'"):
        activation("rulu")
