"""Watches the first epoch of a training that knows nothing of it.

Modules are seen by PyTorch's hooks for all of them, losses by a mode that hears each call of torch.nn.functional,
steps by the optimizers' hooks (`sweeper.check.ramp.watched`). The outermost module whose parameters the optimizer
has is the model; what it gets while gradients are wanted is training, the rest validation.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel
from torch.overrides import TorchFunctionMode

from sweeper.check.training.regularisation import Decay
from sweeper.check.training.replay import path, replayed
from sweeper.check.training.sightings import LOSSES, NORMS, Call, Kind, ParameterSeen, Seen, digests, units_alike
from sweeper.check.training.split import Batch
from sweeper.check.training.task import Task

SECONDS = 20.0
FIRST = 10
"""Steps of which everything is written down."""
PENDING = 64
"""Forward passes that are held until a step says what they were for."""
SQUASHING: dict[Any, str] = {
    **dict.fromkeys((torch.softmax, Tensor.softmax, functional.softmax), "softmax"),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, functional.sigmoid), "sigmoid"),
}


class SurveyDone(BaseException):
    """Enough was seen: the training need not go on. No `Exception`, so that no script swallows it."""


@dataclass
class Pass:
    """One call of an outermost module."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    replayable: bool
    """The inputs are all that it got."""
    output: Any
    training: bool
    targets: Tensor | None = None


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
    """What was seen. Ends with the first epoch, or after `seconds`; then raises SurveyDone, unless it shall `go_on`."""

    def __init__(self, seconds: float = SECONDS, go_on: bool = False) -> None:
        self.train, self.val = Seen(), Seen()
        self.val_batches: list[Batch] = []
        self.model: nn.Module | None = None
        self.parameters: list[ParameterSeen] = []
        self.first: Call | None = None
        self.pairs: list[tuple[float, float]] = []
        """The data's loss and the whole that was gone backward from, of the first steps."""
        self.losses: list[float] = []
        self.decays: list[Decay] = []
        self.bad_labels: tuple[int, ...] = ()
        self.stale = self.asked = 0
        self.normalised = self.loaded = self.changes = False
        self.trains: bool | None = None
        self.validated_in_training = False
        self.whole = self.done = False
        self.steps = 0
        self.has_trial = False
        self.broken: str | None = None
        """What went wrong with the watching itself."""
        self._seconds, self._go_on = seconds, go_on
        self._started: float | None = None
        self._depth = 0
        self._entry: nn.Module | None = None
        self._first_layer: nn.Module | None = None
        self._graded: list[Pass] = []
        self._ungraded: list[Tensor] = []
        self._optimizers: list[Optimizer] = []
        self._initial: list[tuple[Tensor, Tensor]] = []
        self._modules: list[nn.Module] = []
        self._unused: dict[int, Tensor] = {}
        self._used: set[int] = set()
        self._calls: list[float] = []
        self._parts: list[float] = []
        self._squashed: tuple[str, Tensor] | None = None
        self._heard_step = self._evaluated = False
        self._replay: Callable[[Any], Tensor] | None = None
        self._replayable = True

    # ---- modules -----------------------------------------------------------------------------------------------------

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
        if any(True for _ in module.parameters()) and self._is_ours(module):
            self._passed(module, args, kwargs, output)
        elif _is_loss(args, kwargs, output) and not self._calls:
            self._lost(Call(type(module).__name__, Kind.OTHER, module, *args), output)

    def _is_ours(self, module: nn.Module) -> bool:
        """Or an average of ours, evaluated in its place; in training mode that only learns its normalisation."""
        if self._entry is None or module in self._modules:
            return True
        network = module.module if isinstance(module, AveragedModel) else module
        return not module.training and not torch.is_grad_enabled() and _shapes(network) == _shapes(self._entry)

    def _ends_here(self, module: nn.Module) -> bool:
        """The next epoch begins: training again after an evaluation. Where there is a trial, it says so."""
        return self._evaluated and not self.has_trial and module is self._entry and torch.is_grad_enabled()

    def _passed(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        given = [*args, *kwargs.values()]
        inputs = tuple(each for each in given if isinstance(each, Tensor) and each.ndim)
        inputs = tuple(each for each in inputs if len(each) == len(inputs[0]))
        if torch.is_grad_enabled() and (module.training or self.trains is not True):
            del self._graded[:-PENDING]
            self._graded.append(Pass(module, inputs, len(inputs) == len(given), output, module.training))
        elif self._entry is not None and (module is self._entry or module not in self._modules):
            self._validated(inputs, output, module.training)

    def _validated(self, inputs: tuple[Tensor, ...], output: Any, training: bool) -> None:
        marks = digests(inputs)
        self.val.add(inputs, marks)
        self.val_batches.append(Batch(len(marks), sum(mark in self.train.digests for mark in marks)))
        self.validated_in_training = self.validated_in_training or training
        self._evaluated = True

    # ---- losses ------------------------------------------------------------------------------------------------------

    def called(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """A torch function, before and after it ran."""
        call = self._call(function, args, kwargs) if function in LOSSES else None
        result = function(*args, **kwargs)
        if call is not None:
            self._lost(call, result)
        elif function in SQUASHING and isinstance(result, Tensor):
            self._squashed = (SQUASHING[function], result)
        return result

    @careful
    def _call(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        given = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
        outputs, targets = given.pop("input"), given.pop("target")
        name, kind = LOSSES[function]
        squashed, made = self._squashed or (None, None)
        call = Call(name, kind, function, outputs, targets, given, squashed if made is outputs else None)
        self._look_at_labels(call)
        return call

    def _look_at_labels(self, call: Call) -> None:
        labels = call.labels
        if labels is None or self.bad_labels:
            return
        wrong = labels[((labels < 0) | (labels >= call.classes)) & (labels != call.ignored)]
        if len(wrong):
            self.bad_labels = tuple(wrong.unique().tolist())
            self.first = self.first or call

    @careful
    def _lost(self, call: Call, value: Tensor) -> None:
        if not (torch.is_grad_enabled() and call.outputs.requires_grad) or (self._graded and self._evaluates()):
            if self._entry is not None:
                self.val.label(call)
            return
        self.train.label(call)
        self._calls.append(float(value.detach().mean()))
        passed = next((each for each in reversed(self._graded) if each.targets is None), None)
        if passed is not None and passed.inputs and len(call.targets) % max(1, len(passed.inputs[0])) == 0:
            if self.first is None:
                self._replay = path(passed.output, call.outputs)
            passed.targets = call.targets.detach()
        self.first = self.first or call

    def _evaluates(self) -> bool:
        return self.trains is True and not self._graded[-1].training

    # ---- steps (see sweeper.check.ramp.Watcher) -------------------------------------------------------------------

    @careful
    def before_backward(self) -> None:
        if self._optimizers and not self._modules:  # inside of a step: its optimizer calls the loss itself
            self._find_modules()
        if not self._heard_step or self.asked >= FIRST:
            return
        self._heard_step = False
        self.asked += 1
        self.stale += any(
            parameter.grad is not None and bool(parameter.grad.any()) for parameter in _owned(self._optimizers)
        )

    @careful
    def loss(self, value: float) -> None:
        self._parts.append(value)
        if len(self._calls) == 1 and len(self.pairs) < FIRST:
            self.pairs.append((self._calls[0], value))
        self._calls = []

    @careful
    def before_step(self, optimizer: Optimizer) -> None:
        if optimizer not in self._optimizers:
            self._begin(optimizer)
        self._look_at_gradients()

    def _look_at_gradients(self) -> None:
        for key, parameter in list(self._unused.items()):
            if parameter.grad is not None and bool(parameter.grad.any()):
                self._used.add(key)
                del self._unused[key]

    @careful
    def after_step(self, optimizer: Optimizer) -> None:
        self._look_at_gradients()
        self._heard_step, self._evaluated = True, False
        self.steps += 1
        if self._parts:
            self.losses.append(sum(self._parts) / len(self._parts))
        self._file()
        self._parts, self._calls = [], []
        self._started = time.monotonic() if self._started is None else self._started
        if time.monotonic() - self._started >= self._seconds:
            self._finish(False)

    @property
    def several(self) -> bool:
        return len(self._optimizers) > 1

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

    def _begin(self, optimizer: Optimizer) -> None:
        self._optimizers.append(optimizer)
        self._remember(_owned([optimizer]))
        self._find_modules()
        self._unused.update({id(each): each for each in _owned([optimizer])})
        decoupled = type(optimizer).__name__ in ("AdamW",) or bool(optimizer.defaults.get("decoupled_weight_decay"))
        for group in optimizer.param_groups:
            squares = sum(float(each.detach().float().square().sum()) for each in group["params"])
            self.decays.append(Decay(float(group.get("weight_decay") or 0), squares, float(group["lr"]), decoupled))

    def _find_modules(self) -> None:
        """The outermost modules with parameters of an optimizer; the first of them gets the examples."""
        owned = {id(each) for each in _owned(self._optimizers)}
        for passed in self._graded:
            if passed.module not in self._modules and any(id(each) in owned for each in passed.module.parameters()):
                self._modules.append(passed.module)
                self._remember([*passed.module.parameters(), *passed.module.buffers()])
        if self._entry is None and self._modules:
            self._entry = self._modules[0]
        self.model = self._modules[0] if len(self._modules) == 1 else None

    def _remember(self, state: list[Tensor]) -> None:
        """As it is before the first step."""
        known = {id(each) for each, _ in self._initial}
        self._initial += [(each, each.detach().to("cpu", copy=True)) for each in state if id(each) not in known]

    def _file(self) -> None:
        """The passes that a step came from."""
        passes, self._graded = [each for each in self._graded if each.module in self._modules], []
        if not passes:
            return
        if self.trains is None:
            self.trains = passes[-1].training
        for each in passes:
            if each.module is not self._entry:
                continue
            if each.training is not passes[-1].training:
                self._validated(each.inputs, each.output, each.training)
                continue
            self.train.add(each.inputs, digests(each.inputs))
            self._replayable = self._replayable and each.replayable
            if each.targets is not None and each.inputs:
                count = len(each.inputs[0])
                shape = each.targets.shape[1:] if len(each.targets) == count else (-1, *each.targets.shape[1:])
                self.train.keep(each.inputs, each.targets.reshape(count, *shape))

    def _finish(self, whole: bool) -> None:
        self.done, self.whole = True, whole
        model = self._entry
        self.normalised = isinstance(self._first_layer, NORMS)
        if model is not None:
            self.changes = any(
                isinstance(module, nn.modules.batchnorm._BatchNorm) or (_drops(module)) for module in model.modules()
            )
        self.parameters = list(self._parameters())
        self.restore()
        if not self._go_on:
            raise SurveyDone

    def _parameters(self) -> Iterator[ParameterSeen]:
        owned = {id(each) for each in _owned(self._optimizers)}
        before = {id(each): first for each, first in self._initial}
        for module in self._modules:
            prefix = f"{type(module).__name__}." if len(self._modules) > 1 else ""
            normalises = any(isinstance(each, NORMS) for each in module.modules())
            for name, each in module.named_parameters():
                yield ParameterSeen(
                    name=prefix + name,
                    count=each.numel(),
                    trainable=each.requires_grad,
                    owned=id(each) in owned,
                    used=id(each) in self._used,
                    moved=id(each) in before and not torch.equal(before[id(each)], each.detach().cpu()),
                    alike=units_alike(each),
                    idle=normalises and each.ndim == 1 and name.endswith("bias"),
                )

    @torch.no_grad()
    def restore(self) -> None:
        """The first weights, again."""
        for tensor, first in self._initial:
            if tensor.shape == first.shape:
                tensor.copy_(first)

    # ---- what was seen -----------------------------------------------------------------------------------------------

    @property
    def first_loss(self) -> float | None:
        """Of the data, at the first weights."""
        if self.pairs:
            return self.pairs[0][0]
        return self.losses[0] if self.losses else None

    def task(self) -> Task | str:
        """The training as something that can be done again, or why not."""
        if self.model is None:
            return "several modules train together" if self._modules else "no nn.Module was seen that trains"
        if self.first is None or self._replay is None:
            return "the loss is not computed from the model's outputs by a function that was seen"
        if not self.train.targets or not self._replayable:
            return "the model gets more than tensors of examples"
        return replayed(self.model, self.first, self._replay, self.train)


class Losses(TorchFunctionMode):
    def __init__(self, survey: Survey) -> None:
        super().__init__()
        self.survey = survey

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.survey.called(func, args, kwargs or {})


@contextlib.contextmanager
def surveyed(survey: Survey) -> Iterator[None]:
    """Every module and every loss of this process is the survey's business; steps are `ramp.watched`'s."""
    load = nn.Module.load_state_dict

    def loaded(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        survey.loaded = True
        return load(self, *args, **kwargs)

    before = register_module_forward_pre_hook(lambda module, args: survey.entering(module))
    after = register_module_forward_hook(
        lambda module, args, kwargs, output: survey.left(module, args, kwargs, output),
        with_kwargs=True,
        always_call=True,
    )
    nn.Module.load_state_dict = loaded  # type: ignore[method-assign]
    try:
        with Losses(survey):
            yield
    finally:
        nn.Module.load_state_dict = load  # type: ignore[method-assign]
        before.remove()
        after.remove()


def _owned(optimizers: list[Optimizer]) -> list[Tensor]:
    return [each for optimizer in optimizers for group in optimizer.param_groups for each in group["params"]]


def _shapes(module: nn.Module) -> list[Any]:
    return [type(module), *(each.shape for each in module.parameters())]


def _drops(module: nn.Module) -> bool:
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0


def _is_loss(args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> bool:
    """One number from outputs and targets."""
    one = isinstance(output, Tensor) and output.numel() == 1
    return one and not kwargs and len(args) == 2 and all(isinstance(each, Tensor) for each in args)
