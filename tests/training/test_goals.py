import math

import pytest
import torch

from sweeper.training.goals import CLASSIFICATION, REGRESSION, accuracy, r2


def test_accuracy_is_a_fraction():
    outputs = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [1.0, 0.0]])
    assert accuracy(outputs, torch.tensor([0, 1, 1, 0])).item() == 0.75


def test_r2_of_perfect_mean_and_worse():
    targets = torch.tensor([[1.0], [2.0], [3.0]])
    assert r2(targets, targets).item() == 1
    assert r2(torch.full((3, 1), 2.0), targets).item() == 0
    assert r2(-targets, targets).item() < 0


def test_r2_of_constant_targets_is_no_nan():
    assert not math.isnan(r2(torch.ones(3, 1), torch.ones(3, 1)).item())


def test_losses_are_means_per_example():
    assert CLASSIFICATION.loss(torch.zeros(5, 10), torch.zeros(5).long()).item() == pytest.approx(math.log(10))
    assert REGRESSION.loss(torch.zeros(4, 1), torch.full((4, 1), 3.0)).item() == 9
