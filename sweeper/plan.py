"""The plan: how a study spends its budget, stage by stage. Pure functions of settings and history.

A stage has its epochs per trial and its sampler. The budget is in full trainings (the epochs of the last stage); it is
granted in epochs when a trial is claimed. Where a study does not know its epochs, one trial costs one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweeper.errors import ConfigError

SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"stages": [{"name": "search", "sampler": "random"}]},
    "sobol": {"stages": [{"name": "search", "sampler": "sobol"}]},
    "bayesian": {"stages": [{"name": "search", "sampler": "tpe"}]},
}
"""The built-in plans; `conf/search/` shows them as YAML to copy and change."""

STAGE_KEYS = frozenset({"name", "sampler"})


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the plan. `epochs`: what a trial of this stage may train to (None: the script decides)."""

    name: str
    sampler: str | dict[str, Any]
    epochs: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    search: str
    stages: tuple[Stage, ...]

    @property
    def full_epochs(self) -> int | None:
        return self.stages[-1].epochs

    def budget_epochs(self, budget: float) -> int:
        """A budget in full trainings as epochs: what may be granted at most."""
        if not isinstance(budget, int | float) or not (math.isfinite(budget) and budget > 0):
            raise ConfigError(f"`budget` is a number of full trainings above 0, but got {budget!r}.")
        epochs = math.floor(budget * (self.full_epochs or 1) + 1e-9)
        if epochs < min(stage.epochs or 1 for stage in self.stages):
            raise ConfigError(f"`budget` must pay for one trial at least, but got {budget} full trainings.")
        return epochs

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        return cls(value["search"], tuple(Stage(**stage) for stage in value["stages"]))


def make_plan(search: str | Mapping[str, Any], *, epochs: int | None = None, sampler: Any = None) -> Plan:
    """The plan of a search's name, or of a mapping like those in `conf/search/`.

    `sampler` replaces the last stage's (a name, or a mapping with `_target_`). Raises ConfigError.
    """
    name, mapping = _settings(search)
    if epochs is not None and epochs < 1:
        raise ConfigError(f"`epochs` must be at least 1, but got {epochs}.")
    unknown = set(mapping) - {"name", "stages"}
    stages = mapping.get("stages")
    if unknown or not stages or not isinstance(stages, Sequence):
        raise ConfigError(
            f"A search has the keys name and stages (a list, at least one), but {name!r} has {sorted(mapping)}."
        )
    stages = [_stage(name, stage, epochs) for stage in stages]
    if sampler is not None:
        name = _sampler_name(sampler)
        stages[-1] = Stage(stages[-1].name, _plain(sampler), stages[-1].epochs)
    return Plan(name, tuple(stages))


def _sampler_name(sampler: Any) -> str:
    """`gp`, or a class without its module: what a person calls a search by that sampler."""
    name = _plain(sampler)
    text = name if isinstance(name, str) else str(name.get("_target_", name.get("name", "custom")))
    return text.rpartition(".")[2]


def _settings(search: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    if isinstance(search, Mapping):
        return str(search.get("name", "custom")), search
    if search not in SEARCHES:
        raise ConfigError(f"`search` is one of {', '.join(SEARCHES)}, or a mapping with stages, but got {search!r}.")
    return search, SEARCHES[search]


def _stage(search: str, stage: Mapping[str, Any], epochs: int | None) -> Stage:
    if not isinstance(stage, Mapping) or set(stage) - STAGE_KEYS or "sampler" not in stage:
        raise ConfigError(
            f"A stage has the keys {', '.join(sorted(STAGE_KEYS))}, and a sampler, but one of search {search!r} has "
            f"{', '.join(sorted(map(str, stage))) or 'none'}."
        )
    return Stage(str(stage.get("name", "search")), _plain(stage["sampler"]), epochs)


def _plain(sampler: Any) -> str | dict[str, Any]:
    if isinstance(sampler, str):
        return sampler
    if isinstance(sampler, Mapping):
        return dict(sampler)
    raise ConfigError(f"A sampler is a name or a mapping with _target_, but got {sampler!r}.")
