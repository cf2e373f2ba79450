"""The settings of a sweep: each stands here once, with its name, type, default and meaning.

Both doors fill the record, `sweeper.run(…)` and `hydra.sweeper`, and it travels to the workers as it is. What is a word
or a number is checked here; what has a grammar of its own (space, search, sampler, borders, confirm, from_study,
loggers, check) is read by its room. Hydra imports this at every start, through the plugin: nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from sweeper.words.errors import ConfigError
from sweeper.words.laws import check_budget, check_keep, check_name, direction_of
from sweeper.words.metrics import OBJECTIVE


class Door(StrEnum):
    """Where a person gives settings: `sweeper.run(…)`, or `hydra.sweeper`."""

    PYTHON = "python"
    HYDRA = "hydra"


def _is(
    default: Any, meaning: str, *, steers: bool = True, doors: tuple[Door, ...] = tuple(Door), **at_a_door: Any
) -> Any:
    """`steers`: no trial's training depends on it, so it is no part of what makes a study the same.

    `at_a_door`: `hydra_name`, `hydra_default`, where one door differs.
    """
    return field(default=default, metadata={"meaning": meaning, "steers": steers, "doors": doors, **at_a_door})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a person asks of a sweep. Raises ConfigError.

    A new setting is a field here. Tests ask for it where people read, too: among the keywords of `sweeper.run`, and in
    conf/config.yaml.
    """

    study: str = _is(MISSING, "its name; the same name again resumes it", hydra_default="${hydra.job.name}")
    space: Mapping[str, Any] = _is(
        MISSING,
        "what is searched, by name: in Hydra's grammar (`interval(0, 1)`), as mappings (`{interval: [0, 1]}`), or in "
        "Python as `sweeper.Float` and friends",
        hydra_name="params",
        hydra_default={},
        steers=False,
    )
    search: str | Mapping[str, Any] = _is("coarse_to_fine", "the plan: a name, or stages like those of conf/search/")
    epochs: int | None = _is(None, "of a full training; none: trials have none, or decide themselves", steers=False)
    budget: float = _is(20, "full trainings to spend; a total, up to which a study that is run again goes on")
    metric: str = _is(OBJECTIVE, f"the reported number to improve; `{OBJECTIVE}`: what the training returns")
    direction: str = _is("minimize", "of the metric: minimize or maximize")
    store: str | None = _is(None, "the database, an SQLAlchemy URL; none: `sweeper.db` in `folder`")
    folder: str | Path = _is("runs", "trials train in `FOLDER/STUDY/NUMBER/`")  # noqa: RUF009
    workers: int | None = _is(
        1,
        "trials at the same time, each in a process on a device slot of its own (in Python 1 is this process); none: "
        "one a GPU, else one per two cores",
        hydra_default=None,
    )
    seed: int = _is(0, "of the study; a trial's own follows from it and the trial's number", steers=False)
    sampler: str | Mapping[str, Any] | None = _is(
        None, "instead of the search's own: tpe, gp, cmaes, … or a `_target_`"
    )
    borders: str | None = _is(
        None, "`warn`, or `widen` ranges, within their limits, where the best crowd an edge; none: as the search has it"
    )
    confirm: bool | Mapping[str, int] | None = _is(
        None,
        "at the end train the best `top` trials again, with `seeds` other seeds each, within the budget: "
        "`{top: 3, seeds: 5}`, which is true; none: as the search has it",
    )
    from_study: str | Mapping[str, str] | None = _is(
        None, "an older study, NAME or `{study: NAME, store: URL}`, whose best settings come first"
    )
    max_failures: int | None = _is(5, "so many failed trials in a row stop the study; none: no number does")
    keep: int = _is(2, "how many of a trial's newest checkpoints stay, beside the best")
    timeout: float | None = _is(None, "seconds that a trial may take; then it is FAIL `timeout`")
    epoch_timeout: float | None = _is(None, "seconds that one epoch may take; then its trial is FAIL `timeout`")
    loggers: Any = _is(  # noqa: RUF009
        None,
        "who hears of each epoch besides: tensorboard, mlflow, wandb, mappings with settings (`{name: wandb, project: "
        "digits}`) or a `_target_`, in Python functions of (trial, report) and `sweeper.engine.loggers.Logger`s too",
    )
    tensorboard: bool = _is(False, "TensorBoard's files in each trial's folder", doors=(Door.HYDRA,))
    check: bool | str | None = _is(
        False, "look script and space over before the first trial: quick (seconds), full, false", doors=(Door.HYDRA,)
    )
    on_change: str = _is(
        "stop", "where the study was begun with another definition: stop and show both, or keep the old"
    )

    def __post_init__(self) -> None:
        check_name(self.study)
        direction_of(self.direction)
        check_budget(self.budget)
        check_keep(self.keep)
        for name in ("max_failures", "timeout", "epoch_timeout"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise ConfigError(f"`{name}` must be above 0, or null for no limit, but got {value!r}.")
        if self.on_change not in ("stop", "keep"):
            raise ConfigError(f"`on_change` is stop or keep, but got {self.on_change!r}.")

    @classmethod
    def of_hydra(cls, given: Mapping[str, Any]) -> Settings:
        """Read `hydra.sweeper`, plain and resolved; what it does not say has its default."""
        return cls(**{each.field: given.get(each.name, each.default) for each in reference(Door.HYDRA)})


class Setting(NamedTuple):
    """A setting as one door has it. `default` MISSING: it must be given; `field`: its name in the record."""

    name: str
    type: str
    default: Any
    meaning: str
    field: str
    steers: bool


def reference(door: Door) -> Iterator[Setting]:
    """The settings that a door has, in the record's order: what docs, tests and the doors themselves are made of."""
    for each in fields(Settings):
        if door in (told := each.metadata)["doors"]:
            name, default = told.get(f"{door}_name", each.name), told.get(f"{door}_default", each.default)
            yield Setting(name, str(each.type), default, told["meaning"], each.name, told["steers"])
