"""A trial's epochs then and now, number by number: whether they are the same to the last bit, and where not.

JSON and the store keep every bit of Python's floats, so two numbers are the same when their shortest texts are: unlike
`==` that tells -0.0 from 0.0. A metric that was NaN or infinite is kept as None, on both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.words.numbers import counted

NAME_ROOM = len("instructions")
Metrics = Mapping[str, float | None]
MEASURED = frozenset({"monitor/samples_per_second", "monitor/memory_bytes"})
"""Never the same twice, so never compared."""

UNSEEDED = (
    "The environment is the same, as far as it is recorded: look for what the script does not seed with trial.seed, "
    "for an operation that is not deterministic on the device, and for data that has changed."
)


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of one epoch. `missing`: `then` or `now`, when only the other one has it."""

    epoch: int
    metric: str
    then: float | None
    now: float | None
    missing: str | None = None

    @property
    def matches(self) -> bool:
        return self.missing is None and repr(self.then) == repr(self.now)

    def as_row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("epoch", "metric", "then", "now", "missing", "matches")}


def compare(then: Mapping[int, Metrics], now: Mapping[int, Metrics], ignore: Collection[str] = ()) -> list[Compared]:
    """Every number of the epochs that there were, in the order of the report; later epochs do not count."""
    found = []
    for epoch in sorted(then):
        before, again = then[epoch], now.get(epoch, {})
        for metric in [name for name in dict.fromkeys([*before, *again]) if name not in {*ignore, *MEASURED}]:
            missing = "then" if metric not in before else "now" if metric not in again else None
            found.append(Compared(epoch, metric, before.get(metric), again.get(metric), missing))
    return found


@dataclass(frozen=True)
class Outcome:
    """What came of training a trial again; `str(outcome)` says it to a person.

    Attributes:
        value: the study's metric at the trial's last epoch, as it was.
        trained: epochs that the new training came to, at most those that there were.
        ending: how the new training broke off; None when it ended well.
        failure: the reason of the trial's own FAIL.
        environment: the differences, `{"name": …, "then": …, "now": …}`; None where it was not recorded then.
        changes: what has changed since the study began (script, config), one readable text each.
    """

    study: str
    number: int
    metric: str
    value: float | None
    compared: Sequence[Compared]
    epochs: int
    trained: int
    ending: str | None
    failure: str | None
    environment: Sequence[Mapping[str, Any]] | None
    changes: Sequence[str]
    seconds: float

    @property
    def matches(self) -> bool:
        return self.first is None

    @property
    def first(self) -> Compared | None:
        """The first number that differs."""
        return next((each for each in self.compared if not each.matches), None)

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(each.metric for each in self.compared))

    @property
    def differing(self) -> list[str]:
        """The metrics that differ anywhere in the epochs that were trained again."""
        return list(dict.fromkeys(c.metric for c in self.compared if not c.matches and c.epoch < self.trained))

    def as_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("study", "number", "matches", "epochs", "trained", "metrics")},
            "first_difference": None if self.first is None else self.first.as_row(),
            **{name: getattr(self, name) for name in ("differing", "environment", "changes", "ending", "failure")},
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        return "\n".join([self.headline(), *self._where(), *self._ending(), *self._why()])

    def headline(self) -> str:
        """The answer on one line."""
        head = f"trial {self.number} trained again: "
        if self.matches:
            value = "" if self.value is None else f" ({self.value:.4g})"
            which = "its only epoch" if self.epochs == 1 else f"all {self.epochs} epochs"
            verb = "matches" if self.epochs == 1 else "match"
            return f"{head}{which} of {counted(len(self.metrics), 'metric')} {verb} to the last bit{value}"
        assert self.first is not None
        if self.first.epoch >= self.trained:
            same = ", which match to the last bit" if self.trained else ""
            return f"{head}only {self.trained} of {counted(self.epochs, 'epoch')} came{same}"
        return f"{head}it differs from epoch {self.first.epoch} of {self.epochs} on, first in {self.first.metric}"

    def _where(self) -> list[str]:
        if self.first is None or self.first.epoch >= self.trained:
            return []
        lines = [f"  {side:<4}  {_shown(self.first, side)}" for side in ("then", "now")]
        same = [name for name in self.metrics if name not in self.differing]
        return [*lines, f"every epoch of {', '.join(same)} matches" if same else "no metric matches at every epoch"]

    def _ending(self) -> list[str]:
        if self.ending is None:
            return []
        again = f", as it failed then ({self.failure})" if self.failure else ""
        return [f"the training ended with {self.ending}{again}"]

    def _why(self) -> list[str]:
        """What has changed, also where all matches; and where nothing has and it differs, whom to suspect."""
        lines = [f"  {each['name']:<{NAME_ROOM}}  {each['then']} → {each['now']}" for each in self.environment or ()]
        found = ["the environment differs:", *lines] if lines else []
        if self.environment is None:
            found = ["its environment was not recorded: an older sweeper trained it"]
        if not self.matches and not found and not self.changes and self.ending is None:
            found = [UNSEEDED]
        return [*found, *self.changes]


def _shown(number: Compared, side: str) -> str:
    if number.missing == side:
        return "not reported"
    value = getattr(number, side)
    return "not finite" if value is None else repr(value)
