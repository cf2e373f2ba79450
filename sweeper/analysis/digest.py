"""What the page's plots are made of: the trials of a study as columns, its stages and ranges, the scale of its metric.

Everything is read once; the modules beside (`axes`, `curves`, `landscape`, `timeline`) pick from it what a plot shows,
as plain numbers, so that tests check numbers and not pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sweeper.analysis.accounts import Ledger, held
from sweeper.analysis.accounts import collect as ledger
from sweeper.analysis.borders import judge
from sweeper.analysis.columns import Columns, trial_columns
from sweeper.analysis.progress import Progress, snapshot
from sweeper.analysis.timeline import Clock, Timeline
from sweeper.analysis.timeline import collect as timeline
from sweeper.search.plan import Plan
from sweeper.search.space import Categorical, Int, Parameter, SearchSpace, as_text
from sweeper.search.verdict import Verdict
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.numbers import DECADES
from sweeper.words.records import StudyRecord, TrialState

FAR = 3.0
"""The metric's axis reaches so many times as far from the best as nine of ten trials do; others stand at its end."""
"""From so many decades on the axis is a logarithmic one."""
COUNTED = 12
"""Of whole numbers, so many at most, each stands for itself."""
JUDGED = 20_000
"""The border verdicts of a larger study would take longer than all else."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The axis of the metric: from `best` to `worst`, and what lies beyond stands at `worst`."""

    best: float
    worst: float
    log: bool

    def shown(self, value: float) -> float:
        low, high = sorted((self.best, self.worst))
        return min(max(value, low), high)


@dataclass(frozen=True)
class Digest:
    """One study, read at one moment."""

    study: StudyRecord
    progress: Progress
    columns: Columns
    spaces: tuple[SearchSpace, ...]
    """As it began, and after each move of a range."""
    moves: tuple[dict[str, Any], ...]
    verdicts: tuple[Verdict, ...]
    hidden: dict[int, str]
    clock: Clock
    timeline: Timeline
    ledger: Ledger

    @cached_property
    def stages(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in Plan.from_json(self.study.plan).stages)

    @cached_property
    def space(self) -> SearchSpace:
        """As it is now."""
        return self.spaces[-1]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those that can vary."""
        return tuple(each for each in self.space if len(getattr(each, "choices", "ab")) > 1)

    @cached_property
    def searched(self) -> list[int]:
        """The rows of the trials that count: no repeats of others, none that a person has hidden."""
        numbers, repeats = self.columns["number"], self.columns["repeats"]
        return [i for i, number in enumerate(numbers) if repeats[i] is None and number not in self.hidden]

    @cached_property
    def valued(self) -> list[int]:
        """Of these the rows that are over or paused and have a value."""
        states, values = self.columns["state"], self.columns["value"]
        out = (TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)
        return [i for i in self.searched if states[i] not in out and is_finite(values[i])]

    @cached_property
    def failed(self) -> list[int]:
        return [i for i in self.searched if self.columns["state"][i] == TrialState.FAIL]

    @cached_property
    def ranked(self) -> list[int]:
        """The rows with a value: the complete ones first, then those that got further, then the better ones."""
        states, values, epochs = (self.columns[name] for name in ("state", "value", "epochs_done"))
        sign = self.study.direction.sign
        return sorted(
            self.valued, key=lambda i: (states[i] != TrialState.COMPLETE, -(epochs[i] or 0), sign * values[i])
        )

    @cached_property
    def complete(self) -> list[int]:
        """The rows of the complete trials, the best first."""
        states, values, sign = self.columns["state"], self.columns["value"], self.study.direction.sign
        found = [i for i in self.valued if states[i] == TrialState.COMPLETE]
        return sorted(found, key=lambda i: (sign * values[i], self.columns["number"][i]))

    @cached_property
    def records(self) -> list[int]:
        """The rows of the complete trials that were the best when they ended, in that order."""
        values, numbers, sign = self.columns["value"], self.columns["number"], self.study.direction.sign
        found: list[int] = []
        for i in sorted(self.complete, key=lambda i: (self.timeline.ends.get(numbers[i], math.inf), numbers[i])):
            if not found or sign * values[i] < sign * values[found[-1]]:
                found.append(i)
        return found

    @cached_property
    def spent(self) -> list[tuple[float, float]]:
        """What all trials had cost when a new best one ended, in full trainings, and its value; then as it is now."""
        numbers, values, epochs = (self.columns[name] for name in ("number", "value", "epochs_done"))
        full, records, total = self.study.full_epochs, set(self.records), 0.0
        found: list[tuple[float, float]] = []
        for i in sorted(range(len(numbers)), key=lambda i: self.timeline.ends.get(numbers[i], math.inf)):
            total += epochs[i] / full if full else 1
            if i in records:
                found.append((total, values[i]))
        return [*found, (total, found[-1][1])] if found else []

    @cached_property
    def scale(self) -> Scale:
        return scale_of([self.columns["value"][i] for i in self.valued], self.study.direction.sign)

    def params(self, name: str) -> list[Any]:
        return self.columns[f"params.{name}"]

    def place(self, parameter: Parameter, row: int) -> float | None:
        """Where a trial stands on a parameter's axis, a choice at its index; None where it was not active."""
        value = self.params(parameter.name)[row]
        if not isinstance(parameter, Categorical):
            return None if value is None else float(value)
        if value is None and not self._is_active(parameter, row):
            return None
        texts = [as_text(choice) for choice in parameter.choices]
        return float(texts.index(as_text(value))) if as_text(value) in texts else None

    def _is_active(self, parameter: Parameter, row: int) -> bool:
        """Whether a missing value is the choice null, and not missing because the trial has no params at all."""
        params = {name: self.params(name)[row] for name in self.space.names}
        trained = self.columns["epochs_done"][row] or self.columns["value"][row] is not None
        begun = trained or any(value is not None for value in params.values())
        return bool(begun) and self.space.is_active(parameter, params)


def collect(store: Store, study: StudyRecord) -> Digest:
    """Pass a fresh `study`."""
    columns = trial_columns(store, study)
    known = held(store, study)
    clock, lanes = timeline(store, study, known)
    moves = reads.move_rows(store, study.id)
    stages = reads.stage_rows(store, study.id)
    began = stages[0]["ranges"] if stages else study.space
    return Digest(
        study=study,
        progress=snapshot(store, study),
        columns=columns,
        spaces=(SearchSpace.from_json(began), *(SearchSpace.from_json(row["space"]) for row in moves)),
        moves=tuple(moves),
        verdicts=tuple(judge(store, study)) if len(columns["number"]) <= JUDGED else (),
        hidden=reads.hidden(store, study.id, columns["number"]),
        clock=clock,
        timeline=lanes,
        ledger=ledger(store, study, known),
    )


def scale_of(values: Sequence[float], sign: int) -> Scale:
    """An axis that one exploded loss does not flatten.

    >>> scale_of([*range(1, 11), 1e9], 1).worst, scale_of([0.9, 0.8], -1).best
    (28.0, 0.9)
    """
    if not values:
        return Scale(0.0, 1.0, log=False)
    ordered = sorted(values, key=lambda value: sign * value)
    best, last, nine = ordered[0], ordered[-1], ordered[math.ceil(0.9 * len(ordered)) - 1]
    reach = FAR * abs(nine - best)
    worst = best + sign * min(abs(last - best), reach) if 0 < reach < math.inf else last
    low, high = sorted((best, worst))
    return Scale(best, worst, log=sign > 0 and low > 0 and math.log10(high / low) > DECADES)


def sample(order: Sequence[int], most: int) -> list[int]:
    """At most so many of some rows, which come the best first: the better half of that, and the others evenly.

    >>> sample(range(10), 4)
    [0, 1, 5, 9]
    """
    if len(order) <= most:
        return list(order)
    head = most // 2
    rest, tail = order[head:], most - head
    return [*order[:head], *(rest[(index + 1) * len(rest) // tail - 1] for index in range(tail))]


def is_counted(parameter: Parameter, low: float, high: float) -> bool:
    """Whether there are so few whole numbers from `low` to `high` that each stands for itself: a tick, or a row."""
    return isinstance(parameter, Int) and not parameter.log and high - low < COUNTED


def is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
