"""The numbers of an epoch: kept on the device as they come, and read all at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

DIGITS = 4
"""Nobody reads more of them, and each is a byte of every epoch in the store."""

Reading = tuple[str, Callable[[list[float]], float], list[Tensor]]
"""A metric's name, the numbers that it is made of, still on the device, and how."""


def read(readings: Sequence[Reading]) -> dict[str, float]:
    """All numbers in one transfer from the device; this is the only wait for it."""
    parts = [each for _, _, tensors in readings for each in tensors]
    home = next((each.device for each in parts if each.device.type != "cpu"), torch.device("cpu"))
    as_is = (home, torch.float32)
    same = [each if (each.device, each.dtype) == as_is else each.to(home, torch.float32) for each in parts]
    numbers = iter(torch.stack(same).tolist() if same else ())
    taken = [(name, combine, [next(numbers) for _ in tensors]) for name, combine, tensors in readings]
    return {name: rounded(combine(values)) for name, combine, values in taken if values}


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def rms(norms: Sequence[float], steps: int) -> float:
    """Of a layer whose norm at each step is told by those of its parts."""
    return math.sqrt(sum(norm * norm for norm in norms) / max(1, steps))


def ratio(norms: Sequence[float]) -> float:
    """Of the first half to the second."""
    half = len(norms) // 2
    size = rms(norms[half:], 1)
    return rms(norms[:half], 1) / size if size else 0.0


def rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def wide(values: Tensor) -> Tensor:
    """A sum of squares would overflow in half precision."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
