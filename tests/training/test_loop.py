import pytest
import torch
from torch import nn, optim

from sweeper.training import loop
from sweeper.training.batches import Batches
from sweeper.training.data import Examples
from sweeper.training.goals import CLASSIFICATION, REGRESSION

TARGETS = torch.arange(30) % 3
EXAMPLES = Examples(nn.functional.one_hot(TARGETS).float(), TARGETS)


def test_the_training_loss_is_a_mean_per_example_also_with_a_small_last_batch():
    model = nn.Linear(3, 3)
    expected = nn.functional.cross_entropy(model(EXAMPLES.inputs), TARGETS).item()
    frozen = optim.SGD(model.parameters(), lr=0.0)
    assert loop.train_epoch(model, frozen, Batches(EXAMPLES, 7, 0), CLASSIFICATION) == pytest.approx(expected, rel=1e-5)


def test_training_learns():
    model = nn.Linear(3, 3)
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    losses = [loop.train_epoch(model, optimizer, Batches(EXAMPLES, 5, 0), CLASSIFICATION) for _ in range(10)]
    assert losses[-1] < losses[0] / 3
    assert loop.evaluate(model, EXAMPLES, CLASSIFICATION, "val")["val_accuracy"] == 1


def test_evaluate_names_floats_for_a_report():
    scores = loop.evaluate(nn.Linear(3, 1), Examples(EXAMPLES.inputs, torch.rand(30, 1)), REGRESSION, "test")
    assert list(scores) == ["test_loss", "test_r2"]
    assert all(type(value) is float for value in scores.values())


def test_evaluate_drops_nothing_and_trains_nothing():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.9))
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    first, again = (loop.evaluate(model, EXAMPLES, CLASSIFICATION, "val") for _ in range(2))
    assert first == again
    assert before.equal(nn.utils.parameters_to_vector(model.parameters()))


def test_predict_in_parts_is_the_whole(monkeypatch):
    model = nn.Linear(3, 2)
    whole = loop.predict(model, EXAMPLES.inputs)
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 7)
    assert torch.allclose(loop.predict(model, EXAMPLES.inputs), whole)
