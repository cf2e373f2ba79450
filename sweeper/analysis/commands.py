"""The lines that train a study's best trials again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.trial.command import train_command
from sweeper.words.errors import StoreError
from sweeper.words.records import StudyRecord


def of_trial(study: StudyRecord, trial: Mapping[str, Any], *, elsewhere: bool = False) -> str | None:
    """The line that trains one trial again; None: it has no parameters yet, or its study no script.

    `elsewhere`: for a page that other shells read.
    """
    if not trial.get("params"):
        return None
    return train_command(study, trial["params"], trial["seed"], trial["threads"], elsewhere=elsewhere)


def of_best(store: Store, study: StudyRecord, numbers: Sequence[int], *, confirmed: bool) -> list[str]:
    """The lines that train these trials; `confirmed`: of the one whose repeats are the best, where there are any.

    Raises StoreError where there is no such line.
    """
    from sweeper.analysis.confirmed import leader

    if study.confirmed is not None and confirmed and (first := leader(store, study)) is not None:
        numbers = [first]
    trials = [reads.trial(store, study.id, number) for number in numbers]
    lines = [train_command(study, trial["params"], trial["seed"], trial["threads"]) for trial in trials]
    if not lines:
        raise StoreError(f"The study {study.name} has no such complete trial yet, so there is nothing to train again.")
    if None in lines and not study.config:
        raise StoreError(
            f"A command trains trials of a Hydra script, but {study.name} was imported from Optuna, which knows no "
            f"script: sweeper show {numbers[0]} has the parameters of trial {numbers[0]}."
        )
    if None in lines:
        raise StoreError(
            f"A command trains trials of a Hydra script, but {study.name} is of sweeper.run(function): "
            f"sweeper.load_study({study.name!r}).rerun({numbers[0]}, function) trains trial {numbers[0]} again."
        )
    return [line for line in lines if line is not None]
