"""What is told of a diverged trial: from its state and its reports, and nothing where nothing is known."""

from __future__ import annotations

import pytest
import torch

from sweeper.trial.divergence import circumstances


@pytest.fixture
def model():
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    return model


def test_the_optimizer_tells_its_learning_rate_and_the_norm_of_its_gradients(model):
    state = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.31)}
    assert circumstances(state, {"step": 1240.0}) == " (step 1240, lr 0.31, gradient norm 5)"


def test_all_learning_rates_are_told_and_all_gradients_counted(model):
    other = torch.nn.Parameter(torch.zeros(1))
    other.grad = torch.tensor([12.0])
    groups = [{"params": model.parameters(), "lr": 0.1}, {"params": [other], "lr": 0.01}]
    assert circumstances({"optimizer": torch.optim.Adam(groups)}, {}) == " (lr 0.1 and 0.01, gradient norm 13)"


def test_a_model_alone_tells_its_gradients(model):
    assert circumstances({"net": model, "loader": torch.Generator()}, {}) == " (gradient norm 5)"


@pytest.mark.parametrize(("gradient", "said"), [(float("nan"), "nan"), (float("inf"), "inf"), (1e150, "1.4e+150")])
def test_a_norm_beyond_all_bounds_is_told_as_it_is(model, gradient, said):
    other = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    model.double().weight.grad = torch.tensor([[gradient, 0.0]], dtype=torch.float64)
    other.grad = torch.tensor([gradient], dtype=torch.float64)
    optimizer = torch.optim.SGD([{"params": [model.weight]}, {"params": [other]}], lr=1.0)
    assert circumstances({"optimizer": optimizer}, {}) == f" (lr 1, gradient norm {said})"


def test_gradients_that_were_taken_away_are_not_told(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    optimizer.zero_grad()
    assert circumstances({"optimizer": optimizer}, {"val_loss": None}) == " (lr 0.5)"


@pytest.mark.parametrize("state", [None, {}, {"strange": object()}])
def test_nothing_is_told_where_nothing_is_known(state):
    assert circumstances(state, {"val_loss": None}) == ""


def test_a_strange_optimizer_hides_nothing():
    class Strange:
        param_groups = "none"

    assert circumstances({"optimizer": Strange()}, {"step": 3.0}) == " (step 3)"
