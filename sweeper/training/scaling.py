"""Zero mean and unit spread (CS231n, "Neural Networks Part 2": any statistic comes from the training set alone)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scaling:
    """`scaling(x)` is `(x - mean) / spread`; both broadcast over the examples (N, ...)."""

    mean: Tensor
    spread: Tensor

    @classmethod
    def fit(cls, examples: Tensor, per_feature: bool) -> Scaling:
        """Mean and standard deviation of each feature over N, or of all values together (images: pixels are alike).

        A feature that never changes gets the spread 1, so that it becomes 0 and not NaN.
        """
        dims = (0,) if per_feature else tuple(range(examples.ndim))
        values = examples.double()
        spread = values.std(dim=dims, correction=0)
        # A constant feature's spread is not always an exact 0: its mean is rounded.
        constant = spread <= 1e-12 * values.abs().amax(dim=dims)
        return cls(values.mean(dim=dims).float(), torch.where(constant, 1.0, spread).float())

    def __call__(self, examples: Tensor) -> Tensor:
        return (examples.float() - self.mean) / self.spread
