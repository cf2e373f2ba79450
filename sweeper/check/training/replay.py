"""A training that was watched, as a `Task` that can be done again: its loss from its model's outputs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.check.training.sightings import Call, Seen
from sweeper.training.task import Task

Path = Callable[[Any], Tensor]
"""From what the model returns to what the loss gets."""


def replayed(model: nn.Module, call: Call, way: Path, train: Seen) -> Task:
    """The examples that were kept, and the loss as a mean, without label smoothing: that is a regularisation."""
    left_out = ("label_smoothing", "size_average", "reduce", "reduction")
    options = {key: value for key, value in call.options.items() if key not in left_out}

    def loss(outputs: Any, targets: Tensor) -> Tensor:
        given = way(outputs)
        fitting = {key: value.to(given) if isinstance(value, Tensor) else value for key, value in options.items()}
        lost: Tensor = call.function(given, targets.reshape(-1, *call.targets.shape[1:]), **fitting)
        return lost

    batches = _alike(train.inputs)
    inputs = tuple(torch.cat(column) for column in zip(*batches, strict=True))
    targets = torch.cat(train.targets[: len(batches)])
    return Task(model, loss, inputs, targets)


def _alike(inputs: list[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """The batches whose examples have the shape of the first's."""
    shapes = [each.shape[1:] for each in inputs[0]]
    kept = []
    for batch in inputs:
        if [each.shape[1:] for each in batch] != shapes:
            break
        kept.append(batch)
    return kept


def path(output: Any, wanted: Tensor) -> Path | None:
    """From what the model returned to what the loss got, where that is a matter of shape or a softmax."""
    for pick in _picks(output):
        for change in _changes(wanted):
            with contextlib.suppress(RuntimeError, IndexError, TypeError, ValueError):
                if _same(change(pick(output).detach()), wanted.detach()):
                    return functools.partial(_along, pick, change)
    return None


def _same(made: Tensor, wanted: Tensor) -> bool:
    return made.shape == wanted.shape and torch.allclose(made.double(), wanted.double(), equal_nan=True)


def _along(pick: Callable[[Any], Tensor], change: Callable[[Tensor], Tensor], given: Any) -> Tensor:
    return change(pick(given))


def _picks(output: Any) -> Iterator[Callable[[Any], Tensor]]:
    if isinstance(output, Tensor):
        yield lambda given: given
    elif isinstance(output, Mapping):
        yield from ((lambda given, key=key: given[key]) for key in output)
    elif isinstance(output, list | tuple):
        yield from ((lambda given, index=index: given[index]) for index in range(len(output)))


def _changes(wanted: Tensor) -> list[Callable[[Tensor], Tensor]]:
    rest = wanted.shape[1:]
    return [
        lambda given: given,
        lambda given: given.reshape(-1, *rest),
        lambda given: given.movedim(-1, 1),
        lambda given: given.softmax(1),
        lambda given: given.log_softmax(1),
        lambda given: given.sigmoid(),
        lambda given: given.reshape(-1, *rest).sigmoid(),
    ]
