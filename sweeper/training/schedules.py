"""PyTorch's own learning-rate schedules, by name.

Each is stepped once after every epoch; `epochs` is the length of the whole training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, ExponentialLR, LRScheduler, StepLR

from sweeper.training.choices import make


def constant(optimizer: Optimizer, epochs: int) -> LRScheduler:
    """The same learning rate all along."""
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


def cosine(optimizer: Optimizer, epochs: int, *, final_lr: float) -> LRScheduler:
    """Down a half cosine to `final_lr` after the last epoch (Loshchilov and Hutter 2017)."""
    return CosineAnnealingLR(optimizer, T_max=epochs, eta_min=final_lr)


def step(optimizer: Optimizer, epochs: int, *, every_epochs: int, factor: float) -> LRScheduler:
    """Times `factor` after every `every_epochs` epochs."""
    return StepLR(optimizer, step_size=every_epochs, gamma=factor)


def exponential(optimizer: Optimizer, epochs: int, *, factor: float) -> LRScheduler:
    """Times `factor` after every epoch."""
    return ExponentialLR(optimizer, gamma=factor)


SCHEDULES: dict[str, Callable[..., LRScheduler]] = {
    "constant": constant,
    "cosine": cosine,
    "step": step,
    "exponential": exponential,
}


def build(optimizer: Optimizer, settings: Mapping[str, Any], epochs: int) -> LRScheduler:
    """The schedule of a `schedule` config: its `name` and its own keys."""
    return make("schedule", SCHEDULES, settings, optimizer, epochs)
