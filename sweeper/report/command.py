"""The command that trains a trial again, alone: in Hydra's override grammar, quoted for a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from sweeper.report.numbers import place
from sweeper.trial import StudyRecord

SEED_KEY = re.compile(r"^seed:", re.MULTILINE)


def train_command(
    study: StudyRecord, params: Mapping[str, Any], seed: int | None = None, threads: int | None = None
) -> str | None:
    """`python SCRIPT fixed overrides, groups, parameters` and `seed=` where the script's config has that key.

    `threads`: what torch had in the trial's worker; another number does not sum in the same order, and the last digits
    differ. None for a study of the Python API: its function is no command.
    """
    from sweeper.config import trial_overrides  # OmegaConf comes along: 50 ms that only these commands pay

    config = study.config
    script = (config.get("script") or {}).get("path")
    if not script or "variants" not in config:
        return None
    ours = _seed(config, params, seed)
    fixed = [text for text in config.get("fixed", []) if not (ours and _key(text) == "seed")]
    groups = {parameter["name"] for parameter in study.space if parameter.get("group")}
    overrides = trial_overrides(fixed, groups, config.get("added", []), params)
    command = " ".join(map(shlex.quote, ["python", place(script), *overrides, *ours]))
    return f"OMP_NUM_THREADS={threads} {command}" if threads else command


def _seed(config: Mapping[str, Any], params: Mapping[str, Any], seed: int | None) -> list[str]:
    """A script that runs alone takes its config's seed; in the sweep the trial had its own."""
    has_key = any(SEED_KEY.search(variant["yaml"]) for variant in config["variants"])
    return [f"seed={seed}"] if seed is not None and has_key and "seed" not in params else []


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
