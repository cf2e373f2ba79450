"""What a moment of training takes: the seconds of its epochs and steps, its memory."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

EPOCH_SECONDS, EPOCHS = 0.5, 3
"""It trains until its epochs took so long, or for so many of them: the first is always slower."""


class Stopwatch:
    """Times the epochs of a training, and ends it with SurveyDone when it knows enough."""

    def __init__(self, seconds: float) -> None:
        self.epochs: list[float] = []
        self.times: list[float] = []
        self.losses = 0
        self._seconds = seconds

    def before_backward(self) -> None:
        """Nothing is wanted of it."""

    def loss(self, value: float) -> None:
        self.losses += 1

    def before_step(self, optimizer: Any) -> None:
        """Nothing is wanted of it."""

    def after_step(self, optimizer: Any) -> None:
        self.times.append(time.monotonic())
        if self.times[-1] - self.times[0] > self._seconds:
            self._end()

    def epoch_ended(self, seconds: float) -> None:
        self.epochs.append(seconds)
        if sum(self.epochs) >= min(EPOCH_SECONDS, self._seconds) or len(self.epochs) >= EPOCHS:
            self._end()

    def _end(self) -> None:
        from sweeper.check.training.survey import SurveyDone

        raise SurveyDone

    @property
    def step_seconds(self) -> float | None:
        """The middle one, without the first."""
        gaps = sorted(after - before for before, after in zip(self.times, self.times[1:], strict=False))
        return gaps[len(gaps) // 2] if gaps else None


class Loader:
    """How many batches an epoch has, by the `DataLoader` that was begun last before the first step."""

    steps: int | None = None

    @contextlib.contextmanager
    def watched(self, watch: Stopwatch) -> Iterator[None]:
        from torch.utils.data import DataLoader

        begin = DataLoader.__iter__

        def iterate(loader: Any) -> Any:
            if not watch.times:
                with contextlib.suppress(TypeError):  # a stream has no length
                    self.steps = len(loader)
            return begin(loader)

        DataLoader.__iter__ = iterate  # type: ignore[method-assign]
        try:
            yield
        finally:
            DataLoader.__iter__ = begin  # type: ignore[method-assign]


def memory() -> dict[str, Any]:
    """The most that this process has had at once, and what there is for all."""
    import resource

    import torch

    from sweeper.machine.meters import memory_limit

    unit = 1 if sys.platform == "darwin" else 1024
    used = {"memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "memory_total": memory_limit()}
    if torch.cuda.is_initialized():
        used["gpu_bytes"] = torch.cuda.max_memory_reserved()
        used["gpu_total"] = torch.cuda.mem_get_info()[1]
    return used
