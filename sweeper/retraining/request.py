"""A trial to be trained again in a process of its own: what it is asked, and what it answers."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.machine import environment
from sweeper.trial.handle import FolderJournal, Trial, as_current
from sweeper.words.records import Direction, EpochReport

REQUEST = "SWEEPER_RERUN"
"""The environment variable that tells the fresh process its request, as JSON."""
CALLBACK = "++hydra.callbacks.sweeper_rerun={_target_:hydra_plugins.sweeper_hydra.rerun.Rerun}"


@dataclass(frozen=True)
class Request:
    """The trial as it was, and the file for what it does now."""

    number: int
    params: dict[str, Any]
    seed: int
    device: str
    metric: str
    direction: str
    epochs: int
    record: str

    @classmethod
    def of_this_process(cls) -> Request:
        return cls(**json.loads(os.environ[REQUEST]))

    @contextlib.contextmanager
    def trial(self, folder: Path) -> Iterator[Trial]:
        """The handle that `current_trial()` gives meanwhile."""
        trial = Trial(
            number=self.number,
            params=self.params,
            folder=folder,
            device=self.device,
            seed=self.seed,
            journal=Recorder(folder, self),
            metric=self.metric,
            direction=Direction(self.direction),
            target_epochs=self.epochs,
            keep=1,
        )
        self.write(environment=environment.now(self.device))
        with as_current(trial):
            yield trial
        self.write(environment=environment.now(self.device))  # torch may have come meanwhile

    def write(self, **line: Any) -> None:
        with open(self.record, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Recorder(FolderJournal):
    """A folder's journal that also writes down every report."""

    def __init__(self, folder: Path, request: Request) -> None:
        super().__init__(folder)
        self._request = request

    def report(self, report: EpochReport, value: float | None) -> None:
        self._request.write(epoch=report.epoch, metrics=dict(report.metrics))


def train_for(request: Request, train: Callable[[Trial], Any]) -> None:
    with request.trial(Path(request.record).parent) as trial:
        trial.finish(train(trial))
