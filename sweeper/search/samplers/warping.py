"""Columns bent so that a stationary process fits: steep where the loss changes fast, flat where nothing happens.

Losses have cliffs and plateaus (a weight decay above which nothing is learned), which one length scale a column cannot
follow. The cumulative distribution function of Kumaraswamy's distribution, w = 1 - (1 - xᵃ)ᵇ, bends [0, 1] onto
itself in all the usual ways. Source: Snoek, Swersky, Zemel & Adams, "Input Warping for Bayesian Optimization of
Non-Stationary Functions", ICML 2014.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EDGE = 1e-3
"""So near to 0 and 1 nothing is bent any more: the slope there may be infinite."""


@dataclass(frozen=True)
class Warping:
    """`a` and `b` (d,), both 1: nothing is bent."""

    a: Array
    b: Array

    def __call__(self, x: Array) -> Array:
        """(n, d) → (n, d)"""
        return np.asarray(1.0 - (1.0 - _inside(x) ** self.a) ** self.b)

    def slope(self, x: Array) -> Array:
        """d w / d x."""
        x = _inside(x)
        return np.asarray(self.a * self.b * x ** (self.a - 1.0) * (1.0 - x**self.a) ** (self.b - 1.0))

    def by_shape(self, x: Array) -> tuple[Array, Array]:
        """d w / d log a and d w / d log b."""
        x = _inside(x)
        power = x**self.a
        rest = 1.0 - power
        by_a = self.a * self.b * rest ** (self.b - 1.0) * power * np.log(x)
        by_b = -self.b * rest**self.b * np.log(rest)
        return by_a, by_b


def _inside(x: Array) -> Array:
    return np.clip(x, EDGE, 1.0 - EDGE)
