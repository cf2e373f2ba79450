"""The command that trains a trial again, alone: in Hydra's override grammar, quoted for a shell.

The script gets the trial's seed by `SWEEPER_SEED`, as `trial.seed`: its config is then the one that the trial had,
with a key `seed` or without.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.trial.handle import SEED
from sweeper.words import source
from sweeper.words.numbers import place
from sweeper.words.program import python
from sweeper.words.records import StudyRecord


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

    `threads`: what torch had in the trial's worker; another number does not sum in the same order, and the last digits
    differ. `elsewhere`: for a page that other shells read, where `python` stands for whatever is called so there. None
    for a study of the Python API: its function is no command.
    """
    path = script or source.kept(study.config).get("path")
    if not path or "variants" not in study.config:
        return None
    surroundings = {"OMP_NUM_THREADS": threads, SEED: seed}
    words = [f"{name}={value}" for name, value in surroundings.items() if value is not None]
    words.append("python" if elsewhere else python())
    return " ".join([*words, *map(shlex.quote, [place(path), *train_overrides(study, params)])])


def train_overrides(study: StudyRecord, params: Mapping[str, Any]) -> list[str]:
    """A trial's parameters, and what the study's command line had fixed, as Hydra overrides."""
    from sweeper.trial.overrides import trial_overrides  # OmegaConf comes along: 50 ms that only these commands pay

    groups = {parameter["name"] for parameter in study.space if parameter.get("group")}
    return trial_overrides(study.config.get("fixed", []), groups, study.config.get("added", []), params)
