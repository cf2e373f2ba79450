"""The command that trains a trial again, alone: in Hydra's override grammar, quoted for a shell.

The script gets the trial's seed by `SWEEPER_SEED`, as `trial.seed`: its config is then the one that the trial had,
with a key `seed` or without.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper.errors import StoreError
from sweeper.handle import SEED
from sweeper.program import python
from sweeper.report.numbers import place
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.trial import StudyRecord


def train_command(
    study: StudyRecord,
    params: Mapping[str, Any],
    seed: int | None = None,
    threads: int | None = None,
    *,
    script: Path | None = None,
    elsewhere: bool = False,
) -> str | None:
    """`SWEEPER_SEED=… python SCRIPT fixed overrides, groups, parameters`.

    `elsewhere`: for a page that other shells read, where `python` stands for whatever is called so there.
    `threads`: what torch had in the trial's worker; another number does not sum in the same order, and the last digits
    differ. None for a study of the Python API: its function is no command.
    """
    path = script or (study.config.get("script") or {}).get("path")
    if not path or "variants" not in study.config:
        return None
    surroundings = {"OMP_NUM_THREADS": threads, SEED: seed}
    words = [f"{name}={value}" for name, value in surroundings.items() if value is not None]
    words.append("python" if elsewhere else python())
    return " ".join([*words, *map(shlex.quote, [place(path), *train_overrides(study, params)])])


def of_best(store: Store, study: StudyRecord, numbers: Sequence[int], *, confirmed: bool) -> list[str]:
    """The lines that train these trials; `confirmed`: of the one whose repeats are the best, where there are any.

    Raises StoreError where there is no such line.
    """
    from sweeper.report.confirmed import leader

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


def train_overrides(study: StudyRecord, params: Mapping[str, Any]) -> list[str]:
    """A trial's parameters, and what the study's command line had fixed, as Hydra overrides."""
    from sweeper.config import trial_overrides  # OmegaConf comes along: 50 ms that only these commands pay

    groups = {parameter["name"] for parameter in study.space if parameter.get("group")}
    return trial_overrides(study.config.get("fixed", []), groups, study.config.get("added", []), params)
