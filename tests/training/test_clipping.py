import pytest
import torch
from torch import nn

from sweeper.training.clipping import build
from sweeper.words.errors import ConfigError


def parameters(*gradients: list[float]) -> list[nn.Parameter]:
    made = []
    for gradient in gradients:
        parameter = nn.Parameter(torch.zeros(len(gradient)))
        parameter.grad = torch.tensor(gradient)
        made.append(parameter)
    return made


def test_by_norm_all_gradients_together_keep_their_direction():
    one, other = parameters([3.0], [0.0, 4.0])
    build({"norm": 1.0, "value": None}, [one, other])()
    assert torch.cat([one.grad, other.grad]).tolist() == pytest.approx([0.6, 0.0, 0.8], abs=1e-5)


def test_by_value_each_number_for_itself():
    (one,) = parameters([3.0, -0.2, -4.0])
    build({"norm": None, "value": 0.5}, [one])()
    assert one.grad.tolist() == pytest.approx([0.5, -0.2, -0.5])


def test_by_value_then_by_norm():
    (one,) = parameters([3.0, 4.0])
    build({"norm": 1.0, "value": 1.0}, [one])()
    assert one.grad.tolist() == pytest.approx([0.5**0.5, 0.5**0.5], abs=1e-5)


@pytest.mark.parametrize("settings", [{"norm": 1.0}, {"value": 1.0}])
def test_the_share_of_clipped_steps_begins_anew_when_it_was_asked(settings):
    (one,) = parameters([0.0])
    clipping = build(settings, [one])
    for gradient in (0.5, 2.0, -3.0, 0.9):
        one.grad = torch.tensor([gradient])
        clipping()
    assert clipping.share() == 0.5
    assert clipping.share() == 0
    clipping()
    assert clipping.share() == 0


def test_a_parameter_without_a_gradient_is_left_out():
    one, other = *parameters([2.0]), nn.Parameter(torch.zeros(3))
    clipping = build({"norm": 1.0, "value": 1.5}, [one, other])
    clipping()
    assert clipping.share() == 1
    assert other.grad is None


def test_none_is_no_clipping_and_no_limit_is_0():
    assert not build({"norm": None, "value": None}, [])
    with pytest.raises(ConfigError, match=r"`clipping\.norm > 0` must hold, but got 0"):
        build({"norm": 0, "value": None}, [])
    with pytest.raises(ConfigError, match="clipping takes the keys norm, value, but got unknown: nrom"):
        build({"nrom": 1.0}, [])
