"""A training script, what it is given, and what its config says of the sweep."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.machine.devices import Slot, slots
from sweeper.search.space import Categorical, SearchSpace
from sweeper.store import process
from sweeper.trial.overrides import as_override
from sweeper.words.errors import ConfigError, SpaceError

REQUEST = "SWEEPER_CHECK"
"""The environment variable that tells the fresh process its request, as JSON."""

CHILD = "from sweeper.check import child; child()"
RATE_KEYS = re.compile(r"(.*[._])?(lr|learning_rate)")
"""What a learning rate is called in a config."""
DEFAULT_KEY = "optimizer.lr"


def command(script: Path, overrides: Sequence[str]) -> list[str]:
    """The script and what it is given. Raises ConfigError where there is no script."""
    if not file_of(script).is_file():
        raise ConfigError(
            f"A training script is a Python file, but there is no {file_of(script)}: sweeper check FILE …"
        )
    return [str(script), *overrides]


def file_of(script: Path | str) -> Path:
    """Of FILE.py:FUNCTION too."""
    return Path(split(script)[0])


def split(script: Path | str) -> tuple[str, str | None]:
    """
    >>> split("train.py:task"), split("train.py")
    (('train.py', 'task'), ('train.py', None))
    """
    file, _, function = str(script).rpartition(":")
    return (file, function) if file.endswith(".py") and function.isidentifier() else (str(script), None)


def run(request: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> int:
    """Serve a request in a fresh process; its exit code."""
    told = {**os.environ, **(environment or {}), REQUEST: json.dumps(request)}
    return process.run_aside([sys.executable, "-c", CHILD, *request["words"]], told)


def hydra_words(script: Path | str, folder: Path) -> list[str]:
    """What keeps Hydra's files of this run in a folder of ours."""
    is_hydra = _is_hydra(file_of(script)) and split(script)[1] is None
    return [f"hydra.run.dir={as_override(str(folder))}", "hydra.mode=RUN"] if is_hydra else []


def _is_hydra(script: Path) -> bool:
    return "hydra.main" in text(script) or "from hydra import main" in text(script)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


# ---- its config ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sweep:
    """What `hydra.sweeper` says; `added`: parameters written with a plus."""

    space: SearchSpace
    added: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)


def sweep_of(folder: Path, overrides: Sequence[str] = ()) -> Sweep | None:
    """The sweep in the config that Hydra has written into `folder`; None: there is none.

    What the overrides fix is not searched. Raises SpaceError.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from sweeper.search import grammar

    if not (folder / "hydra.yaml").exists():
        return None
    whole: Any = OmegaConf.merge(OmegaConf.load(folder / "config.yaml"), OmegaConf.load(folder / "hydra.yaml"))
    node = OmegaConf.select(whole, "hydra.sweeper")
    if node is None or "params" not in node or not node.params:
        return None
    settings: dict[str, Any] = {}
    for key in map(str, node):
        with contextlib.suppress(OmegaConfBaseException):  # what only a running sweep can resolve
            value = node[key]
            settings[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    parsed = grammar.parse(settings["params"], [each for each in overrides if "=" in each])
    return Sweep(parsed.space, parsed.added, settings)


def slots_of(sweep: Sweep | None) -> list[Slot]:
    """Where its workers will run; without a sweep one."""
    workers = sweep.settings.get("workers") if sweep else 1
    return slots(workers if isinstance(workers, int) else None)


def rate_of(folder: Path, own_rate: float) -> tuple[str, tuple[float, float] | None, tuple[float, float] | None]:
    """The rate's key in the config that Hydra has written there, and its range and limits in the sweep's space."""
    from omegaconf import OmegaConf

    if not (folder / "config.yaml").exists():
        return DEFAULT_KEY, None, None
    config: Any = OmegaConf.load(folder / "config.yaml")
    named = {key for key, value in _leaves(config) if RATE_KEYS.fullmatch(key) and value == own_rate}
    space = SearchSpace()
    with contextlib.suppress(SpaceError):  # the sweep will say it
        found = sweep_of(folder)
        space = found.space if found else space
    keys = sorted(named & set(space.names)) or sorted(named) or [DEFAULT_KEY]
    if keys[0] not in space or isinstance(parameter := space[keys[0]], Categorical):
        return keys[0], None, None
    limits = parameter.limits
    return keys[0], (parameter.low, parameter.high), None if limits is None else (limits[0], limits[1])


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    from omegaconf import OmegaConf

    for key in config:
        value = OmegaConf.select(config, str(key), throw_on_missing=False)
        if OmegaConf.is_dict(value):
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield f"{prefix}{key}", value
