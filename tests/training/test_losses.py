import math

import pytest
import torch

from sweeper.training.goals import CLASSIFICATION, REGRESSION
from sweeper.training.losses import build
from sweeper.words.errors import ConfigError

LABELS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
OUTPUTS = torch.tensor([[1.0, 0.0, 0.0]])


def cross_entropy(**settings):
    return build({"name": "cross_entropy", **settings}, CLASSIFICATION, LABELS)


def test_auto_is_the_goals_own():
    assert build({"name": "auto"}, CLASSIFICATION, LABELS) is CLASSIFICATION.loss
    assert build({"name": "auto"}, REGRESSION, LABELS.float()) is REGRESSION.loss


def test_label_smoothing_by_hand():
    wrong = math.log(math.e + 2)
    right = wrong - 1
    expected = (1 - 0.3 + 0.1) * right + 0.1 * wrong + 0.1 * wrong
    assert cross_entropy(label_smoothing=0.3)(OUTPUTS, torch.tensor([0])).item() == pytest.approx(expected)
    assert cross_entropy()(OUTPUTS, torch.tensor([0])).item() == pytest.approx(right)


def test_balanced_classes_weigh_alike_however_many_examples_they_have():
    torch.manual_seed(0)
    outputs = torch.randn(10, 3)
    own = torch.nn.functional.cross_entropy(outputs, LABELS, reduction="none")
    each = torch.stack([own[label == LABELS].mean() for label in range(3)])
    assert cross_entropy(class_weights="balanced")(outputs, LABELS).item() == pytest.approx(each.mean().item())
    assert cross_entropy(class_weights=[0, 1, 0])(outputs, LABELS).item() == pytest.approx(each[1].item())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "mse"}, (0.25 + 9) / 2),
        ({"name": "mae"}, (0.5 + 3) / 2),
        ({"name": "huber", "delta": 1.0}, (0.5 * 0.25 + 3 - 0.5) / 2),
    ],
)
def test_losses_of_numbers_by_hand(settings, expected):
    targets = torch.zeros(2, 1)
    loss = build(settings, REGRESSION, targets)
    assert loss(torch.tensor([[0.5], [-3.0]]), targets).item() == pytest.approx(expected)


def test_a_loss_for_the_other_goal_is_refused():
    with pytest.raises(ConfigError, match="loss=huber is for a regression and the data's is a classification: choose"):
        build({"name": "huber", "delta": 1.0}, CLASSIFICATION, LABELS)
    with pytest.raises(ConfigError, match="loss=mse or loss=mae or loss=huber, or loss=auto"):
        build({"name": "cross_entropy"}, REGRESSION, LABELS.float())


def test_impossible_settings_are_told():
    with pytest.raises(ConfigError, match=r"0 <= loss\.label_smoothing < 1.*got 1"):
        cross_entropy(label_smoothing=1)
    with pytest.raises(ConfigError, match=r"class_weights.*or 3 numbers from 0 on.*got \[1, 2\]"):
        cross_entropy(class_weights=[1, 2])
    with pytest.raises(ConfigError, match=r"`loss\.delta > 0`"):
        build({"name": "huber", "delta": 0}, REGRESSION, LABELS.float())
    with pytest.raises(ConfigError, match="`loss` must be one of auto, cross_entropy, huber, mae, mse, but got 'l2'"):
        build({"name": "l2"}, REGRESSION, LABELS.float())
