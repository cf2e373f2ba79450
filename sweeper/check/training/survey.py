"""Watches the first epoch of a training that knows nothing of it.

Modules are seen by PyTorch's hooks for all of them, losses by a mode that hears each call of torch.nn.functional
(`sweeper.check.training.hooks`), steps by the optimizers' hooks (`sweeper.check.ramp.watched`). The outermost module
whose parameters the optimizer has is the model; what it gets while gradients are wanted is training, the rest
validation.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.check.training.calls import SQUASHING, Calls
from sweeper.check.training.forwards import Forwards
from sweeper.check.training.parameters import Parameters
from sweeper.check.training.replay import path, replayed
from sweeper.check.training.sightings import LOSSES, NORMS, Call, Kind
from sweeper.training.task import Task

SECONDS = 20.0


class SurveyDone(BaseException):
    """Enough was seen: the training need not go on. No `Exception`, so that no script swallows it."""


P = ParamSpec("P")
T = TypeVar("T")
Method = Callable[Concatenate["Survey", P], T]


def careful(method: Method[P, T]) -> Callable[Concatenate[Survey, P], T | None]:
    """What goes wrong with the watching must not harm the training: then nothing more is watched."""

    @functools.wraps(method)
    def done(survey: Survey, /, *args: P.args, **kwargs: P.kwargs) -> T | None:
        if survey.done:
            return None
        try:
            return method(survey, *args, **kwargs)
        except Exception as error:
            survey.give_up(error)
            return None

    return done


class Survey:
    """What was seen. Ends with the first epoch, or after `seconds`; then raises SurveyDone, unless it shall `go_on`.

    Attributes:
        normalised: the first layer normalises.
        loaded: weights were read from a file.
        changes: the model has layers that differ in evaluation.
        whole: all of the first epoch was seen.
        has_trial: a trial says where its epochs end.
        broken: what went wrong with the watching itself.
    """

    def __init__(self, seconds: float = SECONDS, go_on: bool = False) -> None:
        self.parameters = Parameters()
        self.forwards = Forwards(self.parameters)
        self.calls = Calls()
        self.normalised = self.loaded = self.changes = False
        self.whole = self.done = False
        self.steps = 0
        self.has_trial = False
        self.broken: str | None = None
        self._seconds, self._go_on = seconds, go_on
        self._started: float | None = None
        self._depth = 0
        self._first_layer: nn.Module | None = None

    # ---- modules and losses (see sweeper.check.training.hooks) -------------------------------------------------------

    @careful
    def entering(self, module: nn.Module) -> None:
        if self._depth == 0 and self._ends_here(module):
            self._finish(True)
        self._depth += 1
        if self._first_layer is None and torch.is_grad_enabled():
            own = isinstance(module, NORMS) or any(True for _ in module.parameters(recurse=False))
            self._first_layer = module if own and not any(True for _ in module.children()) else None

    @careful
    def left(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        self._depth -= 1
        if self._depth or output is None:
            return
        if any(True for _ in module.parameters()) and self.forwards.is_ours(module):
            self.forwards.passed(module, args, kwargs, output)
        elif _is_loss(args, kwargs, output) and not self.calls.heard:
            self._lost(Call(type(module).__name__, Kind.OTHER, module, *args), output)

    def _ends_here(self, module: nn.Module) -> bool:
        """The next epoch begins: training again after an evaluation. Where there is a trial, it says so."""
        is_entry = module is self.forwards.entry
        return self.forwards.evaluated and not self.has_trial and is_entry and torch.is_grad_enabled()

    def called(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """A torch function, before and after it ran."""
        call = self._call(function, args, kwargs) if function in LOSSES else None
        result = function(*args, **kwargs)
        if call is not None:
            self._lost(call, result)
        elif function in SQUASHING:
            self.calls.squash(function, result)
        return result

    @careful
    def _call(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        return self.calls.of(function, args, kwargs)

    @careful
    def _lost(self, call: Call, value: Tensor) -> None:
        if not (torch.is_grad_enabled() and call.outputs.requires_grad) or self.forwards.evaluates:
            if self.forwards.entry is not None:
                self.forwards.val.label(call)
            return
        self.forwards.train.label(call)
        self.calls.gave(value)
        passed = self.forwards.waiting(call.targets)
        if passed is not None:
            if self.calls.first is None:
                self.calls.way = path(passed.output, call.outputs)
            passed.targets = call.targets.detach()
        self.calls.first = self.calls.first or call

    # ---- steps (see sweeper.check.ramp.Watcher) ----------------------------------------------------------------------

    @careful
    def before_backward(self) -> None:
        if self.parameters.optimizers and not self.forwards.modules:
            self.forwards.find_modules()  # inside of a step: its optimizer calls the loss itself
        self.parameters.before_backward()

    @careful
    def loss(self, value: float) -> None:
        self.calls.went_backward(value)

    @careful
    def before_step(self, optimizer: Optimizer) -> None:
        if optimizer not in self.parameters.optimizers:
            self.parameters.meet(optimizer)
            self.forwards.find_modules()
            self.parameters.expect(optimizer)
        self.parameters.look_at_gradients()

    @careful
    def after_step(self, optimizer: Optimizer) -> None:
        self.parameters.stepped()
        self.steps += 1
        self.calls.stepped()
        self.forwards.stepped()
        self._started = time.monotonic() if self._started is None else self._started
        if time.monotonic() - self._started >= self._seconds:
            self._finish(False)

    # ---- its end -----------------------------------------------------------------------------------------------------

    @careful
    def epoch_ended(self) -> None:
        """Told by a trial."""
        if self.steps:
            self._finish(True)

    @careful
    def script_ended(self) -> None:
        self._go_on = True
        self._finish(self.steps > 0)

    def give_up(self, error: Exception) -> None:
        self.done, self.broken = True, f"{type(error).__name__}: {error}"
        if not self._go_on:
            raise SurveyDone

    def _finish(self, whole: bool) -> None:
        self.done, self.whole = True, whole
        model = self.forwards.entry
        self.normalised = isinstance(self._first_layer, NORMS)
        if model is not None:
            self.changes = any(
                isinstance(module, nn.modules.batchnorm._BatchNorm) or (_drops(module)) for module in model.modules()
            )
        self.parameters.look_back(self.forwards.modules)
        self.parameters.restore()
        if not self._go_on:
            raise SurveyDone

    def task(self) -> Task | str:
        """The training as something that can be done again, or why not."""
        known, calls = self.forwards, self.calls
        if known.model is None:
            return "several modules train together" if known.modules else "no nn.Module was seen that trains"
        if calls.first is None or calls.way is None:
            return "the loss is not computed from the model's outputs by a function that was seen"
        if not known.train.targets or not known.replayable:
            return "the model gets more than tensors of examples"
        return replayed(known.model, calls.first, calls.way, known.train)


def _drops(module: nn.Module) -> bool:
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0


def _is_loss(args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> bool:
    """One number from outputs and targets."""
    one = isinstance(output, Tensor) and output.numel() == 1
    return one and not kwargs and len(args) == 2 and all(isinstance(each, Tensor) for each in args)
