"""The command that trains a trial again, alone: in Hydra's override grammar, quoted for a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from sweeper.report.numbers import place
from sweeper.trial import StudyRecord

SEED_KEY = re.compile(r"^seed:", re.MULTILINE)


def train_command(study: StudyRecord, params: Mapping[str, Any], seed: int | None = None) -> str | None:
    """`python SCRIPT fixed overrides, groups, parameters` and `seed=` where the script's config has that key.

    None for a study of the Python API: its function is no command.
    """
    config = study.config
    script = (config.get("script") or {}).get("path")
    if not script or "variants" not in config:
        return None
    ours = _seed(config, params, seed)
    fixed = [text for text in config.get("fixed", []) if not (ours and _key(text) == "seed")]
    words = ["python", place(script), *fixed, *_parameters(study, params), *ours]
    return " ".join(map(shlex.quote, words))


def _parameters(study: StudyRecord, params: Mapping[str, Any]) -> list[str]:
    """Config groups first: the keys of the others may come with them."""
    from sweeper.config import as_override  # OmegaConf comes along: 50 ms that only these commands pay

    groups = {parameter["name"] for parameter in study.space if parameter.get("group")}
    added = set(study.config.get("added", []))
    ordered = sorted(params.items(), key=lambda item: item[0] not in groups)
    return [f"{'+' if name in added else ''}{name}={as_override(value)}" for name, value in ordered]


def _seed(config: Mapping[str, Any], params: Mapping[str, Any], seed: int | None) -> list[str]:
    """A script that runs alone takes its config's seed; in the sweep the trial had its own."""
    has_key = any(SEED_KEY.search(variant["yaml"]) for variant in config["variants"])
    return [f"seed={seed}"] if seed is not None and has_key and "seed" not in params else []


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
