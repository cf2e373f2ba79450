"""Whether what is seen in trials may be luck: one-sided tests, in plain NumPy, for the border verdicts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FREEDOM = 4
"""With fewer observations to spare, all else explains everything."""
RIDGE = 3.0
"""Trials' worth of doubt that another parameter matters."""
TINY = 1e-9


def of_count(trials: int, marked: int, drawn: int, found: int) -> float:
    """Of at least `found` marked ones among `drawn` of `trials`, of which `marked` are marked (hypergeometric)."""
    ways = (math.comb(marked, n) * math.comb(trials - marked, drawn - n) for n in range(found, min(marked, drawn) + 1))
    return sum(ways) / math.comb(trials, drawn)


def of_share(drawn: int, share: float, found: int) -> float:
    """Of at least `found` among `drawn`, where each is one with probability `share` (binomial)."""
    ways = (math.comb(drawn, n) * share**n * (1 - share) ** (drawn - n) for n in range(found, drawn + 1))
    return sum(ways)


def of_slope(good: Array, near: Array, beside: Array) -> float:
    """The p-value, one-sided, of the partial correlation of `good` and `near` (n,) given `beside` (n, columns)."""
    if np.ptp(good) < TINY or np.ptp(near) < TINY:
        return 1.0
    given = _standardised(beside[:, np.ptp(beside, axis=0) > TINY])
    both = _standardised(np.column_stack([good, near]))
    solved = np.linalg.solve(given.T @ given + RIDGE * np.eye(given.shape[1]), given.T)
    left = both - given @ (solved @ both)
    freedom = len(near) - 1 - float(np.sum(given * solved.T))
    scale = math.sqrt(float(left[:, 0] @ left[:, 0]) * float(left[:, 1] @ left[:, 1]))
    if freedom < FREEDOM or scale < TINY:
        return 1.0
    return 0.5 * math.erfc(float(left[:, 0] @ left[:, 1]) / scale * math.sqrt(freedom / 2))


def _standardised(columns: Array) -> Array:
    return np.asarray((columns - columns.mean(axis=0)) / columns.std(axis=0))
