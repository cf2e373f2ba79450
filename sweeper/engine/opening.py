"""Opening a study: begin it, or take it up again after comparing it with what it was begun with.

A study's definition (space, plan, metric, direction, seed, composed config, script) is frozen at its start. Budget and
workers may change at every start; a changed definition stops with a diff and the two ways on.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.engine import loggers
from sweeper.engine.ancestor import Ancestor, first_params
from sweeper.engine.worker import at_work
from sweeper.search.plan import Plan
from sweeper.search.plans import make_plan
from sweeper.search.space import SearchSpace, differ_in_ranges_alone, with_ranges_set
from sweeper.store import claims, process, reads, writes
from sweeper.store.connection import Store
from sweeper.words import source
from sweeper.words.errors import ConfigError, StudyChanged, StudyTaken, SweeperError
from sweeper.words.laws import direction_of
from sweeper.words.records import Direction, StudyRecord, StudyState
from sweeper.words.settings import Settings

log = logging.getLogger("sweeper")

WAIT_SECONDS = 90.0
"""How long workers that lost their driver may take to leave: longer than their own grace."""


@dataclass(frozen=True)
class StudySettings:
    """What the person `asked` for, and what was read out of it, with the composed config: the study's definition."""

    asked: Settings
    plan: Plan
    space: SearchSpace
    config: dict[str, Any]
    from_study: Ancestor | None = None

    @classmethod
    def of(cls, asked: Settings, space: SearchSpace, config: dict[str, Any]) -> StudySettings:
        """Raises ConfigError for what no study could be, before anything is written."""
        asked = replace(asked, loggers=loggers.asked(asked.loggers, tensorboard=asked.tensorboard))
        ancestor = Ancestor.parse(asked.from_study)
        plan = make_plan(
            asked.search,
            epochs=asked.epochs,
            sampler=asked.sampler,
            borders=asked.borders,
            confirm=asked.confirm,
            from_study=ancestor.study if ancestor else None,
        )
        return cls(asked, plan, space, config, ancestor)

    def __post_init__(self) -> None:
        if not len(self.space):
            raise ConfigError(
                "A search space has at least one parameter, but this one has none: add some under "
                "hydra.sweeper.params, or sweep on the command line (optimizer.lr='interval(1e-5,1e-1)')."
            )

    @property
    def name(self) -> str:
        return self.asked.study

    @property
    def direction(self) -> Direction:
        return direction_of(self.asked.direction)

    @property
    def folder(self) -> Path:
        return Path(self.asked.folder) / self.name

    def definition(self) -> dict[str, Any]:
        return {
            "metric": self.asked.metric,
            "direction": str(self.direction),
            "seed": self.asked.seed,
            "space": self.space.to_json(),
            "plan": self.plan.to_json(),
        }


def open_study(store: Store, settings: StudySettings) -> StudyRecord:
    """Begin the study, or take it up again: compare it with what it was begun with, set its budget, free its trials.

    Raises StudyChanged with a diff when its config, space or script is another one, unless `on_change="keep"`.
    """
    found = reads.find_study(store, settings.name)
    changed = found is not None and settings.asked.on_change == "stop" and study_changes(found, settings)
    if found is not None and changed and not reads.has_good_trials(store, found.id):
        log.warning("the study %s is begun anew as it is asked for now: none of its trials was good", found.name)
        _create(store, settings, found)
        return reads.study(store, settings.name)
    if found is None:
        try:
            _create(store, settings, None)
            return reads.study(store, settings.name)
        except StudyTaken:  # another process began it in between
            found = reads.study(store, settings.name)
    _compare(found, settings)
    _reopen(store, found, settings)
    return reads.study(store, settings.name)


def _create(store: Store, settings: StudySettings, empty: StudyRecord | None) -> None:
    from sweeper.search.samplers import recipe

    for stage in settings.plan.stages:
        if stage.sampler is not None:
            recipe(stage.sampler)  # raises ConfigError for what is no sampler, before anything is written
    if empty is None and settings.folder.exists() and any(settings.folder.glob("[0-9][0-9][0-9][0-9]")):
        raise ConfigError(
            f"A study's folder holds its own trials alone, but {settings.folder} holds trials and the store "
            f"{store.address} knows no study {settings.name!r}: move the folder away or choose another name (study=…)."
        )
    definition = {
        **settings.definition(),
        "name": settings.name,
        "folder": str(settings.folder.absolute()),
        "config": settings.config,
        "budget": settings.asked.budget,
        "full_epochs": settings.plan.full_epochs,
        "budget_epochs": settings.plan.budget_epochs(settings.asked.budget),
        "plan": _with_first(store, settings).to_json(),
    }
    stages = [
        {
            "stage": index,
            "name": stage.name,
            "epochs": stage.epochs,
            "sampler": stage.sampler,
            "ranges": settings.space.to_json(),
        }
        for index, stage in enumerate(settings.plan.stages)
    ]
    if empty is None:
        writes.create_study(store, definition, stages)
    else:
        _wait_for_workers(store, empty)
        if others := reads.worker_rows(store, empty.id, alive=True):
            raise SweeperError(
                f"A study can be begun anew only when nobody works for it, but {len(others)} workers of another run "
                "do: stop them first, or choose another name."
            )
        writes.redefine_study(store, empty.id, definition, stages)


def _with_first(store: Store, settings: StudySettings) -> Plan:
    """The plan with what the first trials take over from an older study, frozen."""
    if settings.from_study is None:
        return settings.plan
    plan = settings.plan
    first = first_params(
        store,
        settings.from_study,
        settings.space,
        metric=settings.asked.metric,
        direction=settings.direction,
        seed=settings.asked.seed,
        budget=settings.asked.budget - plan.kept_epochs / (plan.full_epochs or 1),
    )
    return replace(plan, first=tuple(first))


def _compare(found: StudyRecord, settings: StudySettings) -> None:
    changes = study_changes(found, settings)
    if not changes:
        return
    if settings.asked.on_change == "keep":
        log.warning("the study %s goes on as it was begun, although it was changed:\n%s", found.name, changes)
        return
    raise StudyChanged(
        f"The study {found.name!r} was begun with other settings:\n{changes}\n\n"
        f"Two ways on: `{found.key('on_change')}=keep` goes on with the settings it was begun with (the script runs "
        f"as it is now); another name, as in {found.key('study')}=NEW_NAME, begins a new study."
    )


def study_changes(found: StudyRecord, settings: StudySettings) -> str:
    """What differs between a study as it was begun and as it is asked for now, as readable diffs; '' if nothing."""
    import yaml

    from sweeper.trial.overrides import difference

    before = {name: getattr(found, name) for name in settings.definition()}
    before["direction"] = str(found.direction)
    now = settings.definition()
    before["plan"], now["plan"] = (plan.as_asked().to_json() for plan in (Plan.from_json(found.plan), settings.plan))
    if _moves_ranges_alone(found, settings):
        before["space"] = settings.space.to_json()

    def text(value: Any) -> str:
        return str(yaml.safe_dump(value, sort_keys=False))

    parts = [difference(text(before), text(now), "study")]
    old, new = found.config, settings.config
    parts.append(difference(text(old.get("fixed", [])), text(new.get("fixed", [])), "overrides"))
    before_yaml, now_yaml = _by_choice(old), _by_choice(new)
    for where in dict.fromkeys([*before_yaml, *now_yaml]):
        parts.append(difference(before_yaml.get(where, ""), now_yaml.get(where, ""), f"config {where}".strip()))
    script_old, script_new = source.kept(old), source.kept(new)
    parts.append(difference(script_old.get("text", ""), script_new.get("text", ""), script_new.get("path", "script")))
    return "\n".join(dict.fromkeys(part for part in parts if part))


def _moves_ranges_alone(found: StudyRecord, settings: StudySettings) -> bool:
    """A range that the person changed between two runs is one more move of the ranges, not another study."""
    return differ_in_ranges_alone(SearchSpace.from_json(found.space), settings.space)


def _by_choice(config: dict[str, Any]) -> dict[str, str]:
    """Each variant's YAML by its choices, as `optimizer=sgd`."""
    return {
        " ".join(f"{key}={value}" for key, value in variant["choices"].items()): variant["yaml"]
        for variant in config.get("variants", [])
    }


def as_begun(study: StudyRecord, settings: StudySettings) -> StudySettings:
    """The settings with the space and the plan that the study was begun with (`on_change=keep`).

    Raises ConfigError where the plan names a class: that is taken from a person's own config, never from a store.
    """
    plan = Plan.from_json(study.plan)
    is_another = plan.as_asked() != settings.plan.as_asked()
    if is_another and any("_target_" in (stage.sampler or "") for stage in plan.stages):
        raise ConfigError(
            f"The study {study.name!r} was begun with samplers {[stage.sampler for stage in plan.stages]}; a class is "
            "never taken from a store, so on_change=keep needs them in your config, as they were."
        )
    return replace(settings, space=SearchSpace.from_json(study.space), plan=plan)


def _reopen(store: Store, found: StudyRecord, settings: StudySettings) -> None:
    keep, budget = settings.asked.on_change == "keep", settings.asked.budget
    plan = replace(Plan.from_json(found.plan), confirm=settings.plan.confirm)
    budget_epochs = plan.budget_epochs(budget)
    if plan.to_json() != found.plan:
        _check_confirm(found, plan, budget)
        writes.set_plan(store, found.id, plan.to_json(), f"confirm set to {settings.plan.confirm}")
    if budget_epochs != found.budget_epochs:
        writes.set_budget(store, found.id, budget, budget_epochs)
    if not keep and found.space != settings.space.to_json() and _moves_ranges_alone(found, settings):
        _set_ranges(store, found, settings.space)
    _wait_for_workers(store, found)
    writes.begin_run(store, found.id)
    if others := reads.worker_rows(store, found.id, alive=True):
        log.warning("%d workers of another run train for this study already; these come in addition", len(others))
    if found.state != StudyState.OPEN:
        writes.set_state(store, found.id, StudyState.OPEN, None)


def _check_confirm(found: StudyRecord, plan: Plan, budget: float) -> None:
    """Raises ConfigError where what is granted already leaves too little of the budget to confirm anything."""
    needed = found.granted_epochs + plan.kept_epochs
    if plan.confirm and needed > plan.budget_epochs(budget):
        full = plan.full_epochs or 1
        raise ConfigError(
            f"`budget` must pay for what confirms the best too, but of {budget:g} full trainings "
            f"{found.granted_epochs / full:g} are granted already, and confirm takes {plan.confirm.trainings}: "
            f"{found.key('budget')}={-(-needed // full)} or more."
        )


def _set_ranges(store: Store, found: StudyRecord, asked: SearchSpace) -> None:
    json, last = reads.current_space(store, found)
    now, before = SearchSpace.from_json(json), SearchSpace.from_json(found.space)
    new = with_ranges_set(now, before, asked)
    changed = [parameter.name for parameter in asked if parameter != before[parameter.name]]
    why = f"set by the person: {', '.join(f'{name} is {new[name].law}' for name in changed)}"
    log.warning("the study %s goes on in other ranges, %s", found.name, why)
    writes.move_ranges(
        store, found.id, last, kind="set", stage=0, space=new.to_json(), trials_told=found.next_number, reason=why,
        begun=asked.to_json(),
    )  # fmt: skip


def _wait_for_workers(store: Store, study: StudyRecord) -> None:
    """Give back what dead workers of this host held; wait until those that lost their driver have left.

    Raises SweeperError when one of them does not leave: it may still sit on a GPU.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    told = False
    while left := _driverless(store, study):
        if not told:
            log.warning("waiting for %d workers of an earlier run to hand back their trials", len(left))
            told = True
        if time.monotonic() > deadline:
            numbers = ", ".join(str(row["pid"]) for row in left)
            raise SweeperError(
                f"Workers of an earlier run must be gone before new ones start, but these processes go on: {numbers}. "
                f"End them (kill -9 {numbers.replace(',', '')}) and start the same command again."
            )
        time.sleep(0.2)


def _driverless(store: Store, study: StudyRecord) -> list[dict[str, Any]]:
    left = []
    for row in reads.worker_rows(store, study.id, alive=True):
        if row["host"] != process.host():
            continue
        if not process.is_alive(row["pid"], row["process_started"]):
            claims.end_worker(store, row["id"], "died")
        elif row["pid"] == os.getpid():
            if (store.address, study.name) not in at_work:  # it could not write that it ended
                claims.end_worker(store, row["id"], "left")
        elif not (row["driver_pid"] and process.is_alive(row["driver_pid"], row["driver_started"])):
            left.append(row)
    return left
