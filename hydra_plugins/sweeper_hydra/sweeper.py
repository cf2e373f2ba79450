"""Hydra's Sweeper plugin `sweeper`: launches workers, once, through any Hydra launcher; they take the trials.

Imported at every Hydra start, so nothing heavy is imported before a sweep begins; and no
`from __future__ import annotations`, which together with `@dataclass` breaks Hydra's plugin scan.
"""

import sys
from collections.abc import Mapping
from copy import copy
from dataclasses import field, make_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, get_args, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from sweeper.words.settings import Door, Settings, reference


def _hydra_type(hint: Any) -> Any:
    """Words, numbers and mappings are checked by Hydra; what may be more than one of these is ours to read."""
    kinds = set(get_args(hint) or [hint]) - {type(None), Path}  # in YAML a path is a word
    if get_origin(hint) is Mapping:
        return Dict[str, Any]
    if len(kinds) > 1 or not kinds <= {str, int, float, bool}:
        return Any
    (kind,) = kinds
    return Optional[kind] if type(None) in get_args(hint) else kind


def _fields() -> Any:
    hints = get_type_hints(Settings)
    for each in reference(Door.HYDRA):
        kind = Optional[str] if each.field == "study" else _hydra_type(hints[each.field])  # null in YAML is no mistake
        yield each.name, kind, field(default_factory=partial(copy, each.default))


HYDRAS_OWN = (("_target_", str, f"{__name__}.StudySweeper"), ("_recursive_", bool, False))
SweeperConf = make_dataclass("SweeperConf", [*HYDRAS_OWN, *_fields()], namespace={"__module__": __name__})
"""`hydra.sweeper`: the settings of `sweeper.words.settings`."""

ConfigStore.instance().store(group="hydra/sweeper", name="sweeper", node=SweeperConf, provider="sweeper")


class StudySweeper(Sweeper):
    """Opens the study, launches its workers, shows the store while they train, and says how it ended."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.hydra_context: Optional[HydraContext] = None
        self.task_function: Optional[TaskFunction] = None
        self.config: Optional[DictConfig] = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: List[str]) -> Any:
        from sweeper.sweep.multirun import Multirun
        from sweeper.words.errors import SweeperError

        assert self.hydra_context is not None
        assert self.config is not None
        try:
            given = {key: _plain(value) for key, value in self.settings.items()}
            given["study"] = given.get("study") or self.config.hydra.job.name  # null: as if it were not said
            asked = Settings.of_hydra(given)
            return Multirun(self.hydra_context, self.task_function, self.config, asked).run(arguments)
        except (SweeperError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
