"""Trainings under the ramp: the loss is seen, the rate is set, and nothing of it stays."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from sweeper.check.ramp import Ramps, RampsDone, lr_range_of, watched
from sweeper.training.lr_range import geometric
from sweeper.words.errors import ConfigError


class Lesson:
    """A line fitted to 64 noisy points, in batches of 16; squared errors diverge at rates above about 1."""

    def __init__(self, **how) -> None:
        torch.manual_seed(0)
        self.inputs = torch.randn(64, 3)
        self.targets = self.inputs @ torch.tensor([[1.0], [2.0], [3.0]]) + 0.1 * torch.randn(64, 1)
        self.model = nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, **how)

    def loss(self) -> torch.Tensor:
        index = torch.randint(64, (16,))
        return nn.functional.mse_loss(self.model(self.inputs[index]), self.targets[index])

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()


def ramp_points(train, steps=50, repeats=1, low=1e-7, high=1e-3):
    points = []
    ramps = Ramps(geometric(low, high, steps), repeats, lambda *point: points.append(point))
    with watched(ramps), contextlib.suppress(RampsDone):
        while True:
            train()
    return points


def test_any_training_can_be_tested():
    lesson = Lesson(momentum=0.9)
    lesson.step()
    before = [each.clone() for each in lesson.model.parameters()]
    momentum = lesson.optimizer.state_dict()["state"][0]["momentum_buffer"].clone()
    found = lr_range_of(lesson.step)
    assert 0.03 < found.stable < 2
    assert found.learns < found.suggestion < found.stable < found.diverges
    assert all(torch.equal(one, other) for one, other in zip(before, lesson.model.parameters(), strict=True))
    assert torch.equal(momentum, lesson.optimizer.state_dict()["state"][0]["momentum_buffer"])
    assert lesson.optimizer.param_groups[0]["lr"] == 0.01


def test_afterwards_nobody_listens():
    backward, scale = torch.autograd.backward, torch.amp.GradScaler.scale
    lr_range_of(Lesson().step, steps=20, repeats=1)
    assert (torch.autograd.backward, torch.amp.GradScaler.scale) == (backward, scale)
    lesson = Lesson()
    lesson.step()
    assert lesson.optimizer.param_groups[0]["lr"] == 0.01


def test_every_ramp_begins_with_the_first_weights():
    lesson = Lesson()
    lesson.loss = lambda: nn.functional.mse_loss(lesson.model(lesson.inputs), lesson.targets)
    points = ramp_points(lesson.step, repeats=3, high=10.0)
    first = [loss for ramp, rate, loss in points if rate == 1e-7]
    assert first == [first[0]] * 3
    assert {ramp for ramp, _, _ in points} == {0, 1, 2}


def test_a_schedule_does_not_disturb():
    lesson = Lesson()
    schedule = OneCycleLR(lesson.optimizer, max_lr=0.1, total_steps=1000)
    seen = []
    lesson.optimizer.register_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))

    def train() -> None:
        lesson.step()
        schedule.step()

    ramp_points(train)
    assert seen[-50:] == geometric(1e-7, 1e-3, 50)


def test_groups_keep_the_proportion_of_their_rates():
    lesson = Lesson()
    lesson.optimizer = torch.optim.SGD(
        [{"params": [lesson.model.weight], "lr": 0.1}, {"params": [lesson.model.bias], "lr": 0.01}], lr=1.0
    )
    rates = []

    def train() -> None:
        lesson.step()
        rates.append([group["lr"] for group in lesson.optimizer.param_groups])

    ramp_points(train)
    assert rates[-1] == pytest.approx([rates[-1][0], rates[-1][0] / 10])
    assert rates[-1][0] > 100 * rates[0][0]


def test_accumulated_gradients_are_one_step():
    lesson = Lesson()

    def train() -> None:
        lesson.optimizer.zero_grad()
        for _ in range(4):
            (lesson.loss() / 4).backward()
        lesson.optimizer.step()

    points = ramp_points(train)
    assert len(points) == 50
    assert points[0][2] == pytest.approx(lesson.loss().item() / 4, rel=0.5)


def test_mixed_precision_is_seen_through():
    lesson, scaler = Lesson(), torch.amp.GradScaler("cpu", init_scale=2.0**16)

    def train() -> None:
        lesson.optimizer.zero_grad()
        scaler.scale(lesson.loss()).backward()
        scaler.step(lesson.optimizer)
        scaler.update()

    points = ramp_points(train, repeats=2, steps=200, high=1000.0)
    assert {ramp for ramp, _, _ in points} == {0, 1}
    assert points[0][2] == pytest.approx(lesson.loss().item(), rel=0.5)


def test_a_closure_is_seen_through():
    lesson = Lesson()
    lesson.optimizer = torch.optim.LBFGS(lesson.model.parameters(), lr=1.0, max_iter=2)

    def closure() -> torch.Tensor:
        lesson.optimizer.zero_grad()
        loss = nn.functional.mse_loss(lesson.model(lesson.inputs), lesson.targets)
        loss.backward()
        return loss

    found = lr_range_of(lambda: lesson.optimizer.step(closure), steps=60)
    assert found.learns is not None
    assert all(each.isfinite().all() for each in lesson.model.parameters())


def test_a_loss_that_is_no_number_harms_nothing():
    lesson = Lesson(weight_decay=0.1)
    whole, losses = lesson.loss, []

    def loss() -> torch.Tensor:
        losses.append(1)
        return whole() * (float("nan") if len(losses) % 30 == 0 else 1.0)

    lesson.loss = loss
    points = ramp_points(lesson.step, repeats=3)
    assert [sum(ramp == number for ramp, _, _ in points) for number in range(3)] == [30, 30, 30]
    assert all(each.isfinite().all() for each in lesson.model.parameters())


def test_two_optimizers_are_refused():
    lesson, other = Lesson(), Lesson()

    def train() -> None:
        lesson.step()
        other.step()

    with pytest.raises(ConfigError, match="steps two: SGD and SGD"):
        lr_range_of(train)


def test_a_training_without_steps_is_refused():
    with pytest.raises(ConfigError, match="takes none"):
        lr_range_of(lambda: None)
