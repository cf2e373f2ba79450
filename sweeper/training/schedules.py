"""PyTorch's own learning-rate schedules, by name, each behind a warm-up if asked for.

Most are stepped after every epoch, one_cycle after every step of the optimizer; plateau looks at a metric. All of it is
in `state_dict`, and none depends on where a training was interrupted. A schedule spans the whole training: a trial that
a plan pauses early has seen its beginning only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim import lr_scheduler as torch_schedules
from torch.optim.lr_scheduler import LRScheduler

from sweeper.training.choices import direction_sign, make, pick
from sweeper.words.errors import ConfigError

# Each maker takes the optimizer and how often the schedule is stepped in the whole training.


def constant(optimizer: Optimizer, length: int) -> LRScheduler:
    """The same learning rate all along."""
    return torch_schedules.ConstantLR(optimizer, factor=1.0, total_iters=0)


def cosine(optimizer: Optimizer, length: int, *, final_lr: float) -> LRScheduler:
    """Down a half cosine to `final_lr` after the last epoch (Loshchilov and Hutter 2017)."""
    return torch_schedules.CosineAnnealingLR(optimizer, T_max=length, eta_min=final_lr)


def step(optimizer: Optimizer, length: int, *, every_epochs: int, factor: float) -> LRScheduler:
    """Times `factor` after every `every_epochs` epochs."""
    return torch_schedules.StepLR(optimizer, step_size=every_epochs, gamma=factor)


def exponential(optimizer: Optimizer, length: int, *, factor: float) -> LRScheduler:
    """Times `factor` after every epoch."""
    return torch_schedules.ExponentialLR(optimizer, gamma=factor)


def inverse(optimizer: Optimizer, length: int, *, decay: float) -> LRScheduler:
    """1/t decay: lr / (1 + decay * epochs) (CS231n, "Neural Networks Part 3")."""
    return torch_schedules.LambdaLR(optimizer, lambda epoch: 1 / (1 + decay * epoch))


def plateau(
    optimizer: Optimizer, length: int, *, metric: str, direction: str, factor: float, patience: int, least_lr: float
) -> LRScheduler:
    """Times `factor` where `metric` has not improved for more than `patience` epochs, down to `least_lr`."""
    if not 0 < factor < 1:
        raise ConfigError(f"`0 < factor < 1` must hold for schedule=plateau, but got schedule.factor={factor}.")
    mode: Any = "min" if direction_sign("schedule.direction", direction) > 0 else "max"
    return torch_schedules.ReduceLROnPlateau(optimizer, mode, factor=factor, patience=patience, min_lr=least_lr)


def one_cycle(
    optimizer: Optimizer, length: int, *, rise: float, start_factor: float, final_factor: float, cycle_momentum: bool
) -> LRScheduler:
    """From lr * start_factor up to lr over the first share `rise` of all steps, then down to lr * final_factor.

    `cycle_momentum`: the momentum (or beta1) goes from 0.95 down to 0.85 and back meanwhile (Smith 2018).
    """
    if not 0 < rise < 1 or rise * length < 2:
        raise ConfigError(
            f"`0 < rise < 1` and `rise * steps >= 2` must hold for schedule=one_cycle, but got schedule.rise={rise} "
            f"for {length} steps in all: raise it, or train for more epochs."
        )
    if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
        name = type(optimizer).__name__
        raise ConfigError(f"schedule.cycle_momentum=true needs an optimizer with a momentum, but {name} has none.")
    return torch_schedules.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=length,
        pct_start=float(rise),
        cycle_momentum=cycle_momentum,
        div_factor=1 / start_factor,
        final_div_factor=start_factor / final_factor,
    )


SCHEDULES: dict[str, Callable[..., LRScheduler]] = {
    "constant": constant,
    "cosine": cosine,
    "step": step,
    "exponential": exponential,
    "inverse": inverse,
    "plateau": plateau,
    "one_cycle": one_cycle,
}

WARMUP = "warmup_epochs"
"""The key that every schedule has: it begins after so many epochs, in which the rate rises from step to step."""


class Schedule:
    """One of PyTorch's schedules, `own`, at its own pace and behind a linear warm-up (Goyal et al. 2017).

    Call `after_step()` after each step of the optimizer and `after_epoch(metrics)` after each epoch. From `until`
    epochs on somebody else sets the rate (see averaging.py).
    """

    def __init__(self, own: LRScheduler, length: int, *, per_step: bool, warmup_steps: int, metric: str | None) -> None:
        self.own = own
        self.epochs = 0
        self.until: float = float("inf")
        self._steps = 0
        self._length, self._per_step, self._warmup_steps, self._metric = length, per_step, warmup_steps, metric
        self._warm_up()

    def after_step(self) -> None:
        self._steps += 1
        self._warm_up()
        # PyTorch's would rise again where a training goes on after its end
        if self._per_step and self.epochs < self.until and self.own.last_epoch < self._length - 1:
            self.own.step()

    def after_epoch(self, metrics: Mapping[str, float]) -> None:
        """`metrics` are those of the epoch; only plateau looks at them."""
        self.epochs += 1
        is_warm = self._warmup_steps == 0 or self._steps > self._warmup_steps
        if self._per_step or not is_warm or self.epochs >= self.until:
            return
        if self._metric is None:
            self.own.step()
        else:
            self.own.step(pick("schedule.metric", metrics, self._metric))  # type: ignore[arg-type]  # plateau's own

    def state_dict(self) -> dict[str, Any]:
        kind, own = type(self.own).__name__, self.own.state_dict()
        return {"kind": kind, "own": own, "steps": self._steps, "epochs": self.epochs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ConfigError for the state of another schedule, whose numbers this one would take without a word."""
        if state["kind"] != type(self.own).__name__:
            raise ConfigError(f"The state is one of {state['kind']}, but the schedule is {type(self.own).__name__}.")
        self.own.load_state_dict(state["own"])
        self._steps, self.epochs = state["steps"], state["epochs"]

    def _warm_up(self) -> None:
        """The rate of step i of W is lr * (i + 1) / W."""
        if self._steps < self._warmup_steps:
            for group in self.own.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * (self._steps + 1) / self._warmup_steps


def build(optimizer: Optimizer, settings: Mapping[str, Any], epochs: int, steps_per_epoch: int = 1) -> Schedule:
    """The schedule of a `schedule` config: its `name`, its own keys and `warmup_epochs`, over `epochs` in all."""
    own = {key: settings[key] for key in settings if key != WARMUP}
    warmup, per_step = settings.get(WARMUP, 0), settings.get("name") == "one_cycle"
    if not 0 <= warmup < epochs or (per_step and warmup):
        raise ConfigError(
            f"`0 <= warmup_epochs < epochs` must hold, and 0 for schedule=one_cycle, which has a warm-up of its own, "
            f"but got schedule.warmup_epochs={warmup} for {epochs} epochs with schedule={settings.get('name')}."
        )
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    length = (epochs - warmup) * (steps_per_epoch if per_step else 1)
    return Schedule(
        make("schedule", SCHEDULES, own, optimizer, length),
        length,
        per_step=per_step,
        warmup_steps=warmup * steps_per_epoch,
        metric=settings.get("metric"),
    )
