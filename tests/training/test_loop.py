import math

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


def test_what_is_called_when():
    model, seen = nn.Linear(3, 3), []
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def note() -> None:
        seen.append((model.weight.detach().clone(), model.weight.grad.clone()))

    batches = Batches(EXAMPLES, 15, 0)
    loop.train_epoch(model, optimizer, batches, CLASSIFICATION, before_step=note, after_step=note)
    assert len(seen) == 2 * len(batches)
    for (before, gradient), (after, _) in zip(seen[::2], seen[1::2], strict=True):
        assert torch.allclose(after, before - 0.1 * gradient)


def test_a_penalty_is_trained_and_not_reported():
    plain, penalised = nn.Linear(3, 3), nn.Linear(3, 3)
    penalised.load_state_dict(plain.state_dict())
    batches, sgd = Batches(EXAMPLES, 30, 0), {"lr": 0.005}
    loss = loop.train_epoch(plain, optim.SGD(plain.parameters(), **sgd), batches, CLASSIFICATION)
    optimizer = optim.SGD(penalised.parameters(), **sgd)
    penalty = lambda: 100 * penalised.weight.square().sum()  # noqa: E731
    assert loop.train_epoch(penalised, optimizer, batches, CLASSIFICATION, penalty=penalty) == pytest.approx(loss)
    assert penalised.weight.norm() < plain.weight.norm() / 50


def lbfgs(model) -> optim.Optimizer:
    return optim.LBFGS(model.parameters(), max_iter=5, line_search_fn="strong_wolfe")


@pytest.mark.parametrize("part", [7, 1024])
def test_lbfgs_takes_one_step_on_all_examples_however_they_are_split(part, monkeypatch):
    monkeypatch.setattr(loop, "EVALUATION_BATCH", part)
    model, steps = nn.Linear(3, 3), []
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    batches = Batches(EXAMPLES, 4, 0)
    loss = loop.train_epoch(model, lbfgs(model), batches, CLASSIFICATION, after_step=lambda: steps.append(1))
    assert steps == [1]
    assert loss == pytest.approx(math.log(3), rel=1e-5)
    assert loop.evaluate(model, EXAMPLES, CLASSIFICATION, "val")["val_loss"] < 0.1


def test_lbfgs_draws_dropout_once_for_all_its_points_and_leaves_the_generator():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5), nn.Linear(50, 3))
    masks = []
    model[1].register_forward_hook(lambda module, inputs, outputs: masks.append(outputs == 0))
    before = torch.get_rng_state()
    batches = Batches(EXAMPLES, 7, 0)
    optimizer = lbfgs(model)
    loop.train_epoch(model, optimizer, batches, CLASSIFICATION)
    assert len(masks) > 2
    assert all(mask.equal(masks[0]) for mask in masks)
    count = len(masks)
    loop.train_epoch(model, optimizer, batches, CLASSIFICATION)
    assert not masks[count].equal(masks[0])
    assert before.equal(torch.get_rng_state())


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
