"""The learning-rate range test: raise the rate geometrically, step by step, and see where the loss falls and rises.

After L. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017). The best rate is near the largest that
does not diverge; Y. Bengio, "Practical recommendations for gradient-based training of deep architectures" (2012,
3.1.1), divides that one by three.

One ramp is noisy: the losses are those of single batches. So there are several, and their median is smoothed,
exponentially and from both sides, so that nothing lags behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweeper.words.errors import ConfigError

LOW, HIGH, STEPS, REPEATS = 1e-7, 10.0, 200, 3

SMOOTHING = 0.8
"""What a smoothed loss keeps of the one before."""
SMOOTHED_STEPS = 13
"""So many steps a smoothed loss is the mean of, in effect; a decade has 25."""
NOISE = 3.0
"""What is visible differs by so many spreads of the smoothed loss; the lowest of all, being chosen, by two more."""
VISIBLE = 0.05
"""Share of the whole fall from which on a rate learns."""
LEAST_FALL = 0.01
"""Share of the first loss that must be learned at all."""
CLIMB = 0.2
"""Share of the whole fall that the loss may have climbed again at the largest stable rate."""
MARGIN = 3.0
"""Bengio's division; also how far below the smallest rate that learns in these few steps the proposed range begins."""
RISE = 3.0
"""A training is lost when its loss is that many times the first one above the best."""

Curve = list[tuple[float, float]]
"""The rate of each step and the loss before it; it ends early where the training diverged."""


@dataclass(frozen=True)
class LrRange:
    """What a range test has found; a rate is None where there is none.

    Attributes:
        rates, losses, smooth: the ramp, the median loss at each of its rates, and the same smoothed; up to divergence.
        low, high: the ends of the ramp.
        start, best: the loss before it learns, and the smallest.
        noise: the spread of the smoothed loss.
        learns: the smallest rate at which the loss falls visibly.
        steepest: where it falls fastest.
        stable: the largest rate that does not diverge: the loss has not climbed again.
        diverges: where the training was lost.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]
    low: float
    high: float
    start: float
    best: float
    noise: float
    learns: float | None = None
    steepest: float | None = None
    stable: float | None = None
    diverges: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The range to search, on a log scale: from a third of the smallest rate that learns to the largest stable."""
        if self.learns is None or self.stable is None:
            return None
        return _rounded(max(self.learns / MARGIN, self.low)), _rounded(self.stable)

    @property
    def suggestion(self) -> float | None:
        """One rate to begin with: a third of the largest stable one."""
        return None if self.stable is None else _rounded(self.stable / MARGIN)


def lr_range_test(
    loss_step: Callable[[float], float], low: float = LOW, high: float = HIGH, steps: int = STEPS
) -> LrRange:
    """One ramp over anything: `loss_step(rate)` takes one step at that rate and returns the loss before it."""
    curve: Curve = []
    stability = Stability()
    for rate in geometric(low, high, steps):
        curve.append((rate, float(loss_step(rate))))
        if stability.lost(curve[-1][1]):
            break
    return analyse([curve], low, high, steps)


def geometric(low: float, high: float, steps: int) -> list[float]:
    """The rates of a ramp, both ends included. Raises ConfigError."""
    if not (0 < low < high < math.inf) or steps < 20:
        raise ConfigError(f"`0 < low < high, steps >= 20` must hold for a range test, but got {low}, {high}, {steps}.")
    return [float(rate) for rate in np.geomspace(low, high, steps)]


class Stability:
    """Whether a training is lost: its loss is no number any more, or far above the best and the first."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._best = math.inf
        self._sum = self._weight = 0.0

    def lost(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return True
        self._first = loss if self._first is None else self._first
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * loss
        self._weight = SMOOTHING * self._weight + 1 - SMOOTHING
        smooth = self._sum / self._weight
        self._best = min(self._best, smooth)
        return smooth > self._best + RISE * abs(self._first)


def analyse(curves: Sequence[Curve], low: float = LOW, high: float = HIGH, steps: int = STEPS) -> LrRange:
    """The verdict over the ramps of one training. Raises ConfigError where it was lost from the start."""
    ramp = np.asarray(geometric(low, high, steps))
    after = np.full((len(curves), steps - 1), math.inf)  # what comes after a divergence is worse than any loss
    for row, curve in zip(after, curves, strict=True):
        losses = [loss for _, loss in curve[1:]]  # the loss after a step is the one before the next
        row[: len(losses)] = np.nan_to_num(losses, nan=math.inf)
    median = np.median(after, axis=0)
    length = int(np.argmin(np.append(np.isfinite(median), False)))
    if length < SMOOTHED_STEPS:
        raise ConfigError(
            f"A range test must begin with a training that is sound, but this one is lost after {length} steps at "
            f"rates from {low:g} on: look at its first losses, or begin lower (--low)."
        )
    rates, losses = ramp[:length], median[:length]
    diverges = float(ramp[length]) if length < steps - 1 else None
    start = float(np.median(losses[: max(SMOOTHED_STEPS, steps // 8)]))
    smooth = _smoothed(np.minimum(losses, 2 * start - losses.min()))  # a wild end must not weigh on what was before
    noise = _spread(losses[: max(SMOOTHED_STEPS, length // 2)]) / math.sqrt(SMOOTHED_STEPS)
    bottom = int(np.argmin(smooth))
    fall = start - float(smooth[bottom])
    flat = LrRange(
        rates=tuple(map(float, rates)),
        losses=tuple(map(float, losses)),
        smooth=tuple(map(float, smooth)),
        low=low,
        high=high,
        start=start,
        best=float(smooth[bottom]),
        noise=noise,
        diverges=diverges,
    )
    if fall <= max((NOISE + 2) * noise, LEAST_FALL * abs(start)):
        return flat
    above = smooth[:bottom] > start - max(VISIBLE * fall, NOISE * noise)
    learns = int(np.flatnonzero(above)[-1]) + 1 if above.any() else 0
    slopes = np.append(np.diff(smooth)[learns:bottom], 0.0)
    there = _spread(losses[max(bottom - SMOOTHED_STEPS, 0) :][: SMOOTHED_STEPS + 1]) / math.sqrt(SMOOTHED_STEPS)
    climbed = np.append(smooth[bottom:] > smooth[bottom] + max(CLIMB * fall, NOISE * there), True)
    stable = bottom + int(np.argmax(climbed)) - 1
    return replace(
        flat,
        learns=float(rates[learns]),
        steepest=float(rates[learns + int(np.argmin(slopes))]),
        stable=float(rates[stable]),
    )


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Exponential sums from the left and from the right over the weights that they have got so far."""

    def decayed(values: np.ndarray) -> np.ndarray:
        sums = np.array(values)
        for index in range(1, len(sums)):
            sums[index] += SMOOTHING * sums[index - 1]
        return sums

    def both_ways(values: np.ndarray) -> np.ndarray:
        sums: np.ndarray = decayed(values) + decayed(values[::-1])[::-1]
        return sums

    smoothed: np.ndarray = both_ways(values) / both_ways(np.ones(len(values)))
    return smoothed


def _spread(values: np.ndarray) -> float:
    """The standard deviation of the noise, by the median step between neighbours: outliers and trends do not count."""
    return float(np.median(np.abs(np.diff(values)))) / (0.6745 * math.sqrt(2))


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
