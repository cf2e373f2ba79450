"""The learning rate raised, step by step, under a training that knows nothing of it.

The loss is the number that the training goes backward from (`torch.autograd.backward`), the step one of its optimizer's
(PyTorch's own hooks), so that any loop can be tested as it stands: loaders, clipping, accumulation, mixed precision,
closures. Just before each step the rate is set, whatever a schedule has set before.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from sweeper.training.lr_range import HIGH, LOW, REPEATS, STEPS, Curve, LrRange, Stability, analyse, geometric
from sweeper.words.errors import ConfigError


class RampsDone(BaseException):
    """Every ramp is climbed: the training need not go on.

    A `BaseException`, so that an `except Exception` in a training script cannot swallow it.
    """


class Watcher(Protocol):
    """Who is told of every backward pass and every step of a training."""

    def before_backward(self) -> None: ...

    def loss(self, value: float) -> None: ...

    def before_step(self, optimizer: Optimizer) -> None: ...

    def after_step(self, optimizer: Optimizer) -> None: ...


class Ramps:
    """Raises the rate along `rates`, and again from the first weights for every repeat, with other examples.

    `note(ramp, rate, loss)` is called for every step; the loss is that before the step. A ramp ends where the training
    diverges. After the last one the weights are the first again, and RampsDone is raised.
    """

    def __init__(self, rates: Sequence[float], repeats: int, note: Callable[[int, float, float], None]) -> None:
        self.own_rate: float | None = None
        self._rates, self._repeats, self._note = rates, repeats, note
        self._ramp, self._step = 0, 0
        self._stability = Stability()
        self._losses: list[float] = []
        self._optimizer: Optimizer | None = None
        self._void = False
        """The step under way belongs to a ramp that has ended: it must not move the restored weights."""

    def before_backward(self) -> None:
        """The loss comes after it."""

    def loss(self, value: float) -> None:
        """A part of the next step's loss: there are several where gradients are accumulated."""
        self._losses.append(value)
        if self._stability.lost(value) and not self._void:
            self._record()
            self._end_ramp()
            self._void = True

    def before_step(self, optimizer: Optimizer) -> None:
        if self._optimizer is None:
            self._begin(optimizer)
        elif optimizer is not self._optimizer:
            kinds = " and ".join(type(each).__name__ for each in (self._optimizer, optimizer))
            raise ConfigError(f"A range test raises the rate of one optimizer, but this training steps two: {kinds}.")
        if self._void:
            optimizer.zero_grad()
        for group, share in zip(optimizer.param_groups, self._shares, strict=True):
            _set_rate(group, self._rates[self._step] * share)

    def after_step(self, optimizer: Optimizer) -> None:
        if self._void:
            self._void, self._losses = False, []
            self._restore()
        else:
            self._record()
            self._step += 1
            if self._step == len(self._rates):
                self._end_ramp()
        if self._ramp == self._repeats:
            raise RampsDone

    def _begin(self, optimizer: Optimizer) -> None:
        """Groups with rates of their own keep their proportion; before a schedule's warm-up, not in it."""
        own = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        self.own_rate = float(optimizer.defaults.get("lr", max(own)))
        self._shares = [rate / max(own) if max(own) > 0 else 1.0 for rate in own]
        self._optimizer = optimizer
        self._parameters = [each for group in optimizer.param_groups for each in group["params"]]
        self._weights = [each.detach().to("cpu", copy=True) for each in self._parameters]
        self._state = copy.deepcopy(optimizer.state_dict())

    def _record(self) -> None:
        if self._losses:
            self._note(self._ramp, self._rates[self._step], sum(self._losses) / len(self._losses))
        self._losses = []

    def _end_ramp(self) -> None:
        self._restore()
        self._ramp, self._step, self._stability = self._ramp + 1, 0, Stability()

    def _restore(self) -> None:
        if self._optimizer is None:  # it diverged before its first step
            return
        with torch.no_grad():
            for parameter, weights in zip(self._parameters, self._weights, strict=True):
                parameter.copy_(weights)
        self._optimizer.load_state_dict(copy.deepcopy(self._state))


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Every backward pass and every step of this process is the watcher's business."""
    backward, scale = torch.autograd.backward, torch.amp.GradScaler.scale
    unscaled: list[tuple[Any, Any]] = []

    @functools.wraps(backward)
    def heard(tensors: Any, *args: Any, **kwargs: Any) -> None:
        watcher.before_backward()
        backward(tensors, *args, **kwargs)  # first: it needs the weights that the loss was computed with
        given = unscaled[-1][1] if unscaled and unscaled[-1][0] is tensors else tensors
        losses = [each for each in ([given] if isinstance(given, Tensor) else given) if isinstance(each, Tensor)]
        if losses and all(each.numel() == 1 for each in losses):
            watcher.loss(sum(float(each.detach()) for each in losses))

    @functools.wraps(scale)
    def scaled(self: Any, outputs: Any) -> Any:
        unscaled[:] = [(scale(self, outputs), outputs)]  # mixed precision goes backward from a multiple of the loss
        return unscaled[0][0]

    before = register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: watcher.before_step(optimizer))
    after = register_optimizer_step_post_hook(lambda optimizer, args, kwargs: watcher.after_step(optimizer))
    torch.autograd.backward, torch.amp.GradScaler.scale = heard, scaled  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.autograd.backward, torch.amp.GradScaler.scale = backward, scale  # type: ignore[method-assign]
        before.remove()
        after.remove()


def lr_range_of(
    train: Callable[[], Any], low: float = LOW, high: float = HIGH, steps: int = STEPS, repeats: int = REPEATS
) -> LrRange:
    """The range test of a torch training: `train()`, an epoch or a step, is called until every ramp is climbed.

    Weights and optimizer are afterwards as before.

    >>> lr_range_of(lambda: train_epoch(model, optimizer, loader)).interval     # (1.2e-05, 0.031)
    """
    curves: list[Curve] = [[] for _ in range(repeats)]
    ramps = Ramps(geometric(low, high, steps), repeats, lambda ramp, *point: curves[ramp].append(point))
    with watched(ramps), contextlib.suppress(RampsDone):
        while True:
            taken = sum(map(len, curves))
            train()
            if sum(map(len, curves)) == taken:
                raise ConfigError("A range test needs steps of an optimizer, but `train()` takes none.")
    return analyse(curves, low, high, steps)


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):  # a captured graph reads it from there
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
