"""What `sweeper set` may change of a study that has begun: the words `key=value`, read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.analysis.progress import Progress
from sweeper.words.errors import ConfigError, StoreError
from sweeper.words.records import StudyRecord

LAWS = {
    "budget": "`budget` is a number of full trainings above 0",
    "workers": "`workers` is a whole number, at least 1 (`sweeper pause` lets all of them wait)",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants to change; None: stays as it is."""

    budget: float | None = None
    workers: int | None = None


def parse(changes: Sequence[str]) -> Asked:
    """`["budget=80", "workers=3"]`, read; raises ConfigError, so that nothing is changed by halves."""
    return Asked(**dict(_pair(text) for text in changes))


def _pair(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    if key not in LAWS:
        raise ConfigError(f"`sweeper set` changes budget=NUMBER and workers=NUMBER, but got {text!r}.")
    try:
        number = float(value) if key == "budget" else int(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"{LAWS[key]}, but got {value!r}.")
    return key, number


def check_workers(study: StudyRecord, progress: Progress, wanted: int) -> None:
    """Raises StoreError where no local sweep runs that could add workers or send them away."""
    engines = sorted({worker.engine for worker in progress.workers})
    same = f"start the same command with {study.key('workers')}={wanted}"
    if not engines:
        raise StoreError(
            f"`workers` can be set while a sweep runs, but no worker of {study.name} is alive: {same}. Nothing was set."
        )
    if "local" not in engines:
        raise StoreError(
            f"`workers` can be set for the engine `local`, whose driver starts the workers itself, but those of "
            f"{study.name} are of the engine {', '.join(engines)}: end it, then {same}. Nothing was set."
        )
