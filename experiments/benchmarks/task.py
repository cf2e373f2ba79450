"""What a benchmark gives a search to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Task(Protocol):
    """A training whose results are known beforehand, so that it takes no time."""

    @property
    def name(self) -> str:
        """`lc:3945`"""

    @property
    def epochs(self) -> int | None:
        """Of a full training; None: its end alone is known, and a trial is one epoch."""

    @property
    def space(self) -> Mapping[str, Any]:
        """As `sweeper.run` takes it."""

    @property
    def mean_seconds(self) -> float:
        """Of a full training, over random params."""

    def seconds(self, params: Mapping[str, Any]) -> float:
        """What a full training would have taken."""

    def curve(self, trial: int, params: Mapping[str, Any]) -> tuple[NDArray[np.float64], float]:
        """The losses that are observed, (epochs,), and the true one after the last epoch."""

    def normalised_regret(self, loss: float) -> float:
        """0 at the best known true loss, 1 at the median of random params."""
