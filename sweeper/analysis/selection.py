"""Which trials a question is about, and in which order: `--state --stage --where --sort --top --last`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.analysis import condition
from sweeper.analysis.columns import Columns, trial_columns
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.errors import ConfigError
from sweeper.words.records import StudyRecord, TrialState

CONFIRM = "confirm"
"""The stage of the trials that repeat the best ones with other seeds."""


@dataclass(frozen=True)
class Selection:
    """`last`: the newest so many of those that are meant; `top`: the first so many in the order.

    `sort`: columns, each with a - before it for the largest first; without any, `top` means the best first.
    """

    states: Sequence[TrialState] = ()
    stages: Sequence[str] = ()
    where: str | None = None
    sort: Sequence[str] = ()
    top: int | None = None
    last: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the store alone can answer."""
        return not (self.stages or self.where or self.sort or self.top)

    def of(self, store: Store, study: StudyRecord) -> Columns:
        """The columns of those trials, `hidden` the last of them; raises ConfigError."""
        last = self.last if self.is_plain else None
        return self.among(study, marked(store, study, trial_columns(store, study, states=self.states, last=last)))

    def among(self, study: StudyRecord, found: Columns) -> Columns:
        """The same, of columns that were read already, by number."""
        rows = list(range(len(found["number"])))
        if self.stages:
            rows = _of_stages(study, self.stages, found)
        if self.where is not None:
            holds = set(condition.rows_where(self.where, found))
            rows = [row for row in rows if row in holds]
        if self.last:
            rows = rows[-self.last :]
        for name in reversed(self.sort):
            rows = _sorted(rows, found[condition.column(name.removeprefix("-"), found)], name.startswith("-"))
        if self.top and not self.sort:
            rows = _sorted(rows, found["value"], study.direction.sign < 0)
        return {name: [values[row] for row in rows[: self.top]] for name, values in found.items()}

    def used(self, columns: Columns) -> list[str]:
        """The columns that it filters or sorts by: a table shows them too."""
        sorts = [condition.column(name.removeprefix("-"), columns) for name in self.sort]
        return list(dict.fromkeys([*(condition.names_in(self.where, columns) if self.where else ()), *sorts]))


def rows_where(rows: Sequence[Mapping[str, Any]], where: str | None) -> list[Mapping[str, Any]]:
    """Those of some rows, which have the same names, for which a condition holds; raises ConfigError."""
    if where is None or not rows:
        return list(rows)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return [rows[index] for index in condition.rows_where(where, columns)]


def failed_where(store: Store, study: StudyRecord, where: str) -> set[int]:
    """The numbers of the failed trials for which a condition holds."""
    return set(Selection(states=(TrialState.FAIL,), where=where).of(store, study)["number"])


def best_where(store: Store, study: StudyRecord, where: str, top: int) -> list[int]:
    """The numbers of the best complete trials for which a condition holds; neither hidden nor repeats."""
    found = Selection(states=(TrialState.COMPLETE,), where=where).of(store, study)
    counted = zip(found["number"], found["value"], found["hidden"], found["repeats"], strict=True)
    valued = [(value, n) for n, value, why, again in counted if value is not None and why is None and again is None]
    return [number for _, number in sorted(valued, key=lambda each: (study.direction.sign * each[0], each[1]))[:top]]


def _of_stages(study: StudyRecord, asked: Sequence[str], found: Columns) -> list[int]:
    """Rows by the stages' names or numbers, counted as `sweeper stages` does."""
    names = [str(stage["name"]) for stage in study.plan["stages"]]
    known = [*names, *([CONFIRM] if study.plan.get("confirm") else [])]
    chosen = set()
    for each in asked:
        if each not in known and not (each.isdecimal() and int(each) < len(known)):
            raise ConfigError(f"A stage of {study.name} is one of {', '.join(known)}, but got {each!r}.")
        chosen.add(known.index(each) if each in known else int(each))
    stages = zip(found["stage"], found["repeats"], strict=True)
    where = [len(names) if again is not None else stage for stage, again in stages]
    return [row for row, stage in enumerate(where) if stage in chosen]


def _sorted(rows: Sequence[int], values: Sequence[Any], descending: bool) -> list[int]:
    """What is missing comes last, whatever the direction; numbers, texts and others each among themselves."""
    known = [row for row in rows if values[row] is not None]
    try:
        ordered = sorted(known, key=lambda row: values[row], reverse=descending)
    except TypeError:
        ordered = sorted(known, key=lambda row: (type(values[row]).__name__, str(values[row])), reverse=descending)
    return [*ordered, *(row for row in rows if values[row] is None)]


def marked(store: Store, study: StudyRecord, columns: Columns) -> Columns:
    """The trials' columns with `hidden` as the last."""
    why = reads.hidden(store, study.id, columns["number"])
    return {**columns, "hidden": [why.get(number) for number in columns["number"]]}
