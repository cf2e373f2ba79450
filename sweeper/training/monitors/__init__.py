"""What a network does while it trains, as numbers for a report: updates, gradients, activations, speed, memory.

    monitors = Monitors(model, optimizer)                       # before the loop
    trial.report(val_loss=..., **monitors.epoch())              # in it, after the evaluation

What is watched and why is CS231n's "Neural Networks Part 3" (babysitting the learning process): the ratio of updates to
weights should be about 1e-3, activations and gradients of like size in all layers, units neither dead nor saturated.

Every 32nd step of an epoch is looked at, the first one always, and the first passes of its evaluation; which ones they
are depends on nothing but their place in the epoch, so a resumed training reports what it would have reported. Numbers
stay on the device, and `epoch()` asks for all of them at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.training.monitors.layers import MOST_LAYERS, Weights
from sweeper.training.monitors.readings import mean, read, rounded
from sweeper.training.monitors.units import Activations

try:
    import resource
except ImportError:  # there is none on Windows
    resource = None  # type: ignore[assignment]

__all__ = ["MOST_LAYERS", "STEPS", "Monitors"]

EVERY = 32
EVALUATIONS = 4
"""Passes in evaluation mode that are looked at in an epoch: more examples for the share of dead units."""
STEPS = "monitored_steps"
"""Kept in the optimizer's first group, and so in its checkpoint: steps are counted on after a resume."""


class Monitors:
    """Watches `model` under `optimizer` until `close()`, or the end of a `with`.

    Layers are modules with a weight matrix, activations the outputs of nonlinearities that are modules (`nn.ReLU()`;
    a call of `functional.relu` cannot be seen), or of the layers where there are none. Give the network that the
    script calls; a compiled one is watched without its activations. `every`: one of so many steps is looked at.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, *, every: int = EVERY) -> None:
        if every < 1:
            raise ValueError(f"`every >= 1` must hold for monitors, but got every={every}.")
        self._model, self._optimizer, self._every = model, optimizer, every
        self._weights, self._activations = Weights(model), Activations(model)
        self._device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._handles = [
            model.register_forward_pre_hook(self._before_pass, with_kwargs=True),
            optimizer.register_step_post_hook(self._after_step),
        ]
        self._coming: Any = None
        self._begin_epoch()

    def __enter__(self) -> Monitors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Monitors:
        """A copy of the network, such as its running average, brings its hooks along: they go on to watch this one."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled network is not watched where it is loaded."""
        return _asleep, ()

    def close(self) -> None:
        """Take every hook away; the network is as it was."""
        for handle in (*self._handles, self._coming):
            if handle is not None:
                handle.remove()
        self._activations.leave()
        self._weights.disarm()
        self._handles, self._coming = [], None

    def clipped(self, was_clipped: bool | Tensor) -> None:
        """Tell of a step whether its gradient was clipped: `monitors.clipped(clip_grad_norm_(weights, 1.0) > 1.0)`."""
        self._clips.append(torch.as_tensor(was_clipped))

    def epoch(self) -> dict[str, float]:
        """The epoch's numbers, by the names that `sweeper diagnose` knows, and a new epoch begins.

        `monitor/lr` is that of the last step (the largest, where groups differ), `monitor/step` counts all steps so
        far, `monitor/memory_bytes` is the most that tensors took on a GPU, else the process. The others are
        means over what was looked at; `dead/LAYER` is the share of units that were zero for every example of it.
        """
        seconds = 0.0 if self._since is None else (self._until or time.perf_counter()) - self._since
        readings = [*self._weights.collect(), *self._activations.collect()]
        if self._clips:
            readings.append(("monitor/clipped", mean, self._clips))
        readings.append(("monitor/lr", max, [torch.as_tensor(rate) for rate in self._rates]))
        group = self._optimizer.param_groups[0]
        group[STEPS] = group.get(STEPS, 0) + self._step
        told = {**read(readings), "monitor/step": float(group[STEPS])}
        if self._examples and seconds > 0:
            told["monitor/samples_per_second"] = rounded(self._examples / seconds)
        if memory := _memory_bytes(self._device):
            told["monitor/memory_bytes"] = float(memory)
        self._begin_epoch()
        return told

    def _begin_epoch(self) -> None:
        self._step = self._examples = self._evaluations = 0
        self._since: float | None = None
        self._until: float | None = None
        self._rates: list[float | Tensor] = []
        self._clips: list[Tensor] = []
        self._arm()

    def _arm(self) -> None:
        """The step to come is looked at."""
        self._is_due = True
        self._weights.arm()
        if self._coming is None:
            self._coming = self._optimizer.register_step_pre_hook(self._before_step)

    def _before_pass(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if module is not self._model:
            return
        if module.training:
            self._since = self._since or time.perf_counter()
            self._until = None
            self._examples += _examples((*args, *kwargs.values()))
            watch, self._is_due = self._is_due, False  # of gradients that are accumulated the first pass is enough
        else:
            self._until = self._until or time.perf_counter()
            self._evaluations += 1
            watch = self._evaluations <= EVALUATIONS
        if watch:
            self._activations.watch(module)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if optimizer is self._optimizer:
            self._weights.before(getattr(optimizer, "grad_scale", None))

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if optimizer is not self._optimizer:
            return
        if self._coming is not None:
            self._coming.remove()
            self._coming = None
            self._weights.after()
        self._rates = [_kept(group["lr"]) for group in optimizer.param_groups if "lr" in group]
        self._step += 1
        self._is_due = False
        if self._step % self._every == 0:
            self._arm()


def _kept(rate: float | Tensor) -> float | Tensor:
    return rate.detach().clone() if isinstance(rate, Tensor) else float(rate)


def _examples(given: Iterable[Any]) -> int:
    """How many there are in what the network was given: the length of the first tensor."""
    return next((len(each) for each in _tensors(given) if each.ndim), 0)


def _tensors(given: Iterable[Any]) -> Iterator[Tensor]:
    for each in given:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, list | tuple):
            yield from _tensors(each)
        elif isinstance(each, Mapping):
            yield from _tensors(each.values())


def _memory_bytes(device: torch.device) -> int | None:
    """The most that there was: of a GPU's tensors since the watch began, else of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _asleep() -> Monitors:
    monitors = Monitors.__new__(Monitors)
    monitors._model = monitors._optimizer = None  # type: ignore[assignment]
    return monitors
