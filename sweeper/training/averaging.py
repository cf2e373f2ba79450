"""A running average of the weights, evaluated in their place, by PyTorch's own `torch.optim.swa_utils`.

ema: exponential, after every step (Polyak and Juditsky 1992). swa: the mean of the last epochs' weights, at a constant
learning rate (Izmailov et al. 2018). Both are in `state`, and so in every checkpoint; `weights` reads them from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

from sweeper.training.choices import make
from sweeper.training.schedules import Schedule
from sweeper.words.errors import ConfigError

# Examples per forward pass that renews the batch normalisations' statistics.
STATISTICS_BATCH = 1024


class Averaging:
    """No average: the network that is evaluated is the one that is trained."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, schedule: Schedule, epochs: int) -> None:
        self._model = model

    @property
    def network(self) -> nn.Module:
        """What to evaluate."""
        return self._model

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the model, the optimizer and the schedule."""
        return {}

    def after_step(self) -> None:
        """Call it after each step of the optimizer."""

    def after_epoch(self, inputs: Tensor, epochs: int) -> None:
        """Call it after each epoch, before the evaluation; `inputs` are the training set's, `epochs` are done."""


class _Average(Averaging):
    _average: AveragedModel

    @property
    def network(self) -> nn.Module:
        return self._average.module if self._average.n_averaged > 0 else self._model

    @property
    def state(self) -> dict[str, Any]:
        return {"average": self._average}


class Ema(_Average):
    """After each step: average += (1 - decay) * (weights - average), the buffers of batch normalisation too.

    In step n the decay is at most (1 + n) / (10 + n), so that the first weights are soon forgotten.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, schedule: Schedule, epochs: int, *, decay: float
    ) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"`0 <= averaging.decay < 1` must hold for averaging=ema, but got {decay}.")
        super().__init__(model, optimizer, schedule, epochs)
        self._average = AveragedModel(model, multi_avg_fn=_growing(decay), use_buffers=True)

    def after_step(self) -> None:
        self._average.update_parameters(self._model)


class Swa(_Average):
    """The mean of the weights after each epoch past the share `start` of all epochs.

    Meanwhile the learning rate goes to the optimizer's times `lr_factor` within `anneal_epochs`, and stays. Batch
    normalisation's statistics are taken anew for the average, in one pass over the training set.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        epochs: int,
        *,
        start: float,
        lr_factor: float,
        anneal_epochs: int,
    ) -> None:
        if not (0 <= start < 1 and lr_factor > 0):
            raise ConfigError(
                f"`0 <= averaging.start < 1` and `averaging.lr_factor > 0` must hold for averaging=swa, but got "
                f"start={start}, lr_factor={lr_factor}."
            )
        super().__init__(model, optimizer, schedule, epochs)
        self._average = AveragedModel(model)
        self._schedule = SWALR(optimizer, optimizer.defaults["lr"] * lr_factor, anneal_epochs=anneal_epochs)
        self._start = schedule.until = max(1, round(start * epochs))

    @property
    def state(self) -> dict[str, Any]:
        return {**super().state, "swa_schedule": self._schedule}

    def after_epoch(self, inputs: Tensor, epochs: int) -> None:
        if epochs > self._start:
            self._average.update_parameters(self._model)
            update_bn(inputs.tensor_split(-(-len(inputs) // STATISTICS_BATCH)), self._average)
        if epochs >= self._start:
            self._schedule.step()


AVERAGINGS: dict[str, type[Averaging]] = {"none": Averaging, "ema": Ema, "swa": Swa}


def build(
    settings: Mapping[str, Any], model: nn.Module, optimizer: Optimizer, schedule: Schedule, epochs: int
) -> Averaging:
    """The averaging of an `averaging` config: its `name` and its own keys, over `epochs` in all."""
    return make("averaging", AVERAGINGS, settings, model, optimizer, schedule, epochs)


def weights(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state_dict of the network that was evaluated, from a checkpoint's `["state"]`.

    That is the average once there is one, else the model.
    """
    average = state.get("average")
    if average is None or int(average["n_averaged"]) == 0:
        return dict(state["model"])
    return {key.removeprefix("module."): value for key, value in average.items() if key.startswith("module.")}


def _growing(decay: float) -> Callable[[Any, Any, Any], None]:
    def average(averaged: Any, current: Any, count: Any) -> None:
        taken = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + taken) / (10 + taken)))(averaged, current, count)

    return average
