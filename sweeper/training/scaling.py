"""Inputs brought to a common size (CS231n, "Neural Networks Part 2": any statistic comes from the training set alone).

standard: zero mean and unit spread. minmax: from 0 to 1. none: as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sweeper.training.choices import make, pick
from sweeper.words.errors import ConfigError


@dataclass(frozen=True)
class Scaling:
    """`scaling(x)` is `(x - offset) / spread`; both broadcast over the examples (N, ...)."""

    offset: Tensor
    spread: Tensor

    @classmethod
    def fit(cls, examples: Tensor, per_feature: bool) -> Scaling:
        """Mean and standard deviation of each feature over N, or of all values together (images: pixels are alike)."""
        return standard(examples, per_feature)

    def __call__(self, examples: Tensor) -> Tensor:
        return (examples.float() - self.offset) / self.spread


# Each maker takes the training set's inputs (N, ...) and whether the data's features are of different kinds. `per`:
# feature, all, channel (of images), or auto for what fits the data.


def standard(examples: Tensor, per_feature: bool, *, per: str = "auto") -> Scaling:
    """Zero mean, standard deviation 1. What never changes gets the spread 1, so that it becomes 0 and not NaN."""
    dims, keep = _over(examples, per_feature, per)
    values = examples.double()
    spread = values.std(dim=dims, correction=0, keepdim=keep)
    # A constant feature's spread is not always an exact 0: its mean is rounded.
    constant = spread <= 1e-12 * values.abs().amax(dim=dims, keepdim=keep)
    return Scaling(values.mean(dim=dims, keepdim=keep).float(), torch.where(constant, 1.0, spread).float())


def minmax(examples: Tensor, per_feature: bool, *, per: str = "auto") -> Scaling:
    """The training set's smallest value becomes 0, its largest 1; what never changes becomes 0."""
    dims, keep = _over(examples, per_feature, per)
    values = examples.double()
    low, high = values.amin(dim=dims, keepdim=keep), values.amax(dim=dims, keepdim=keep)
    return Scaling(low.float(), torch.where(high > low, high - low, 1.0).float())


def none(examples: Tensor, per_feature: bool) -> Scaling:
    """The numbers of the files, as floats."""
    return Scaling(torch.zeros(()), torch.ones(()))


SCALINGS: dict[str, Callable[..., Scaling]] = {"standard": standard, "minmax": minmax, "none": none}


def fit(settings: Mapping[str, Any] | None, examples: Tensor, per_feature: bool) -> Scaling:
    """The scaling of a `scaling` config, its `name` and `per`, fitted to `examples`; without one the standard one."""
    return make("scaling", SCALINGS, settings or {"name": "standard"}, examples, per_feature)


def _over(examples: Tensor, per_feature: bool, per: str) -> tuple[tuple[int, ...], bool]:
    """The dimensions that a statistic is taken over, and whether they stay, of length 1, so that it broadcasts."""
    every = tuple(range(examples.ndim))
    auto = (0,) if per_feature else every
    if per == "channel" and examples.ndim != 4:
        raise ConfigError(
            f"scaling.per=channel needs images (N, C, H, W), but the inputs are {tuple(examples.shape)}: choose "
            "feature or all."
        )
    known = {"auto": auto, "feature": (0,), "all": every, "channel": (0, *every[2:])}
    return pick("scaling.per", known, per), per == "channel"
