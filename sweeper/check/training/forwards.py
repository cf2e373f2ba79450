"""What is known of the examples: the forward passes of a training, held until a step says what they were for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from sweeper.check.training.parameters import Parameters
from sweeper.check.training.sightings import Seen, digests
from sweeper.check.training.split import Batch

PENDING = 64
"""Forward passes that are held."""


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


class Forwards:
    """What goes forward through the modules that train; what does so while gradients are wanted is training.

    Attributes:
        modules: the outermost ones with parameters of an optimizer; the first of them, `entry`, gets the examples.
        model: the only one, where there is one.
        trains: whether the model is in training mode when it trains; None: not known yet.
        evaluated: since the last step.
        replayable: the model gets nothing but tensors of examples.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.train, self.val = Seen(), Seen()
        self.val_batches: list[Batch] = []
        self.modules: list[nn.Module] = []
        self.entry: nn.Module | None = None
        self.model: nn.Module | None = None
        self.trains: bool | None = None
        self.validated_in_training = False
        self.evaluated = False
        self.replayable = True
        self._parameters = parameters
        self._graded: list[Pass] = []

    def passed(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        given = [*args, *kwargs.values()]
        inputs = tuple(each for each in given if isinstance(each, Tensor) and each.ndim)
        inputs = tuple(each for each in inputs if len(each) == len(inputs[0]))
        if torch.is_grad_enabled() and (module.training or self.trains is not True):
            del self._graded[:-PENDING]
            self._graded.append(Pass(module, inputs, len(inputs) == len(given), output, module.training))
        elif self.entry is not None and (module is self.entry or module not in self.modules):
            self._validated(inputs, module.training)

    def _validated(self, inputs: tuple[Tensor, ...], training: bool) -> None:
        marks = digests(inputs)
        self.val.add(inputs, marks)
        self.val_batches.append(Batch(len(marks), sum(mark in self.train.digests for mark in marks)))
        self.validated_in_training = self.validated_in_training or training
        self.evaluated = True

    def is_ours(self, module: nn.Module) -> bool:
        """Or an average of ours, evaluated in its place; in training mode that only learns its normalisation."""
        if self.entry is None or module in self.modules:
            return True
        network = module.module if isinstance(module, AveragedModel) else module
        return not module.training and not torch.is_grad_enabled() and _shapes(network) == _shapes(self.entry)

    @property
    def evaluates(self) -> bool:
        """Now, though gradients are wanted."""
        return bool(self._graded) and self.trains is True and not self._graded[-1].training

    def waiting(self, targets: Tensor) -> Pass | None:
        """The newest pass without targets, where these can be those of its examples."""
        newest = next((each for each in reversed(self._graded) if each.targets is None), None)
        fits = newest is not None and newest.inputs and len(targets) % max(1, len(newest.inputs[0])) == 0
        return newest if fits else None

    # ---- steps -------------------------------------------------------------------------------------------------------

    def find_modules(self) -> None:
        """Among the passes that are held: those with parameters of an optimizer."""
        owned = self._parameters.owned()
        for passed in self._graded:
            if passed.module not in self.modules and any(id(each) in owned for each in passed.module.parameters()):
                self.modules.append(passed.module)
                self._parameters.remember([*passed.module.parameters(), *passed.module.buffers()])
        if self.entry is None and self.modules:
            self.entry = self.modules[0]
        self.model = self.modules[0] if len(self.modules) == 1 else None

    def stepped(self) -> None:
        """The passes that a step came from are filed."""
        self.evaluated = False
        passes, self._graded = [each for each in self._graded if each.module in self.modules], []
        if not passes:
            return
        if self.trains is None:
            self.trains = passes[-1].training
        for each in passes:
            if each.module is not self.entry:
                continue
            if each.training is not passes[-1].training:
                self._validated(each.inputs, each.training)
                continue
            self.train.add(each.inputs, digests(each.inputs))
            self.replayable = self.replayable and each.replayable
            if each.targets is not None and each.inputs:
                count = len(each.inputs[0])
                shape = each.targets.shape[1:] if len(each.targets) == count else (-1, *each.targets.shape[1:])
                self.train.keep(each.inputs, each.targets.reshape(count, *shape))


def _shapes(module: nn.Module) -> list[Any]:
    return [type(module), *(each.shape for each in module.parameters())]
