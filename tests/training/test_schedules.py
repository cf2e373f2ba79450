import pytest
import torch
from torch import nn, optim

from sweeper.training.schedules import build

EXPECTED = {
    "constant": ({}, [1, 1, 1, 1, 1]),
    "cosine": ({"final_lr": 0.0}, [1, 0.853553, 0.5, 0.146447, 0]),
    "step": ({"every_epochs": 2, "factor": 0.1}, [1, 1, 0.1, 0.1, 0.01]),
    "exponential": ({"factor": 0.5}, [1, 0.5, 0.25, 0.125, 0.0625]),
}


def make(name: str):
    optimizer = optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    return optimizer, build(optimizer, {"name": name, **EXPECTED[name][0]}, 4)


def advance(optimizer, schedule) -> float:
    optimizer.step()
    schedule.step()
    return optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("name", EXPECTED)
def test_learning_rate_before_and_after_each_epoch(name):
    optimizer, schedule = make(name)
    rates = [optimizer.param_groups[0]["lr"], *(advance(optimizer, schedule) for _ in range(4))]
    assert rates == pytest.approx(EXPECTED[name][1], abs=1e-6)


@pytest.mark.parametrize("name", EXPECTED)
def test_state_goes_on_where_it_was(name):
    optimizer, schedule = make(name)
    advance(optimizer, schedule)
    resumed_optimizer, resumed = make(name)
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert [advance(resumed_optimizer, resumed) for _ in range(3)] == pytest.approx(EXPECTED[name][1][2:], abs=1e-6)
