"""A study as Python asks it: typed pandas frames, read from the store at each call, also while the sweep runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.confirmation import Standing, gather, verdicts
from sweeper.judgement import collect, judge
from sweeper.space import Categorical, Float, Parameter, SearchSpace
from sweeper.store import columns, reads
from sweeper.store.connection import Store, default_url
from sweeper.trial import Direction, Failure, StudyRecord, StudyState, TrialState

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from sweeper.handle import Trial
    from sweeper.outcome import Outcome

Kind = str | tuple[str, ...]
"""Of a column: float, int, bool, text, time, object, or the values of a category."""

STATES = tuple(map(str, TrialState))
FAILURES = tuple(map(str, Failure))
TRIAL_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("number", "stage", "epochs_done", "target_epochs", "seed", "attempt", "repeats"), "int"),
    **dict.fromkeys(("value", "seconds"), "float"),
    **dict.fromkeys(("host", "device", "message", "hidden"), "text"),
    **dict.fromkeys(("created", "started", "finished"), "time"),
    "state": STATES,
    "failure": FAILURES,
}
EPOCH_KINDS: dict[str, Kind] = {
    "number": "int", "epoch": "int", "value": "float", "seconds": "float", "reported": "time"
}  # fmt: skip
FAILURE_KINDS: dict[str, Kind] = {
    "number": "int", "failure": FAILURES, "message": "text", "epochs_done": "int", "traceback": "text"
}  # fmt: skip
WORKER_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("id", "pid"), "int"),
    **dict.fromkeys(("host", "device", "engine", "log"), "text"),
    **dict.fromkeys(("started", "beat", "ended"), "time"),
    "ending": "text",
}
CONFIRMED_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("number", "seeds", "failed", "open"), "int"),
    **dict.fromkeys(("first", "mean", "deviation", "probability"), "float"),
    "standing": tuple(map(str, Standing)),
}
RANGE_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("name", "kind", "scale"), "text"),
    **dict.fromkeys(("low", "high", "step", "limit_low", "limit_high"), "float"),
    "choices": "object",
    "when": "text",
}

BORDER_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("parameter", "verdict", "edge", "scale"), "text"),
    **dict.fromkeys(("low", "high"), "object"),
    **dict.fromkeys(("widen_low", "widen_high"), "float"),
    "best": "object",
    "position": "float",
    **dict.fromkeys(("top", "at_edge"), "int"),
    **dict.fromkeys(("expected", "p_value"), "float"),
    **dict.fromkeys(("trials", "failed", "tried"), "int"),
    "sentence": "text",
}


class Study:
    """A read view of one study. Columns of frames: `params.<name>`, `metrics.<name>`; times are UTC."""

    def __init__(self, store: Store, record: StudyRecord) -> None:
        self._store = store
        self._begun = record

    def __repr__(self) -> str:
        return f"Study(name={self.name!r}, store={self._store.address!r})"

    @property
    def name(self) -> str:
        return self._begun.name

    @property
    def direction(self) -> Direction:
        return self._begun.direction

    @property
    def metric(self) -> str:
        return self._begun.metric

    @cached_property
    def space(self) -> SearchSpace:
        return SearchSpace.from_json(self._begun.space)

    @property
    def record(self) -> StudyRecord:
        """The study's row as it is now: its state, its budget."""
        return reads.study(self._store, self.name)

    @property
    def state(self) -> StudyState:
        return StudyState(self.record.state)

    def best(self, top: int = 1) -> pd.DataFrame:
        """The `top` best complete trials, the best first; the columns are those of `trials()`."""
        numbers = [record.number for record in reads.best(self._store, self._begun, top)]
        return self._trials(columns.trial_columns(self._store, self._begun, numbers=numbers))

    def trials(self) -> pd.DataFrame:
        """Every trial by number."""
        return self._trials(columns.trial_columns(self._store, self._begun))

    def epochs(self) -> pd.DataFrame:
        """Every reported epoch by trial and epoch; `seconds` is an epoch's training time."""
        return _frame(columns.epoch_columns(self._store, self._begun), EPOCH_KINDS)

    def failures(self) -> pd.DataFrame:
        """The failed trials in the order of their ends, with message and traceback."""
        return _frame(_pick(reads.failures(self._store, self._begun.id), FAILURE_KINDS), FAILURE_KINDS)

    def workers(self) -> pd.DataFrame:
        """Every worker that there was; `ended` is missing while one lives, or died unseen."""
        return _frame(_pick(reads.worker_rows(self._store, self._begun.id), WORKER_KINDS), WORKER_KINDS)

    def confirmed(self) -> pd.DataFrame:
        """The trials that were trained again with other seeds (`confirm`), the best mean first.

        `first` is a trial's own value, chosen among many and so optimistic; `mean` and `deviation` are of its `seeds`
        repeats. `probability`: that its true mean is the best of these; `standing`: wins, ties or loses.
        """
        found = verdicts(gather(reads.confirmed_trials(self._store, self.record)), self.direction)
        return _frame(_pick([verdict.row() for verdict in found], CONFIRMED_KINDS), CONFIRMED_KINDS)

    def ranges(self) -> pd.DataFrame:
        """Each parameter's range as it is now, its scale (linear, log or choices) and its hard limits."""
        now = SearchSpace.from_json(reads.current_space(self._store, self.record)[0])
        return _frame(_pick(list(map(_range, now)), RANGE_KINDS), RANGE_KINDS)

    def borders(self) -> pd.DataFrame:
        """The border verdict on each range as it is now, with the numbers behind it; `sentence` says it in words."""
        rows = collect(judge(self._store, self.record))
        return _frame(_pick(rows, BORDER_KINDS), BORDER_KINDS)

    def rerun(self, number: int, train: Callable[[Trial], Any], *, device: str | None = None) -> Outcome:
        """Train a trial of `sweeper.run` again, in a fresh process, and compare every epoch: `outcome.matches`.

        `print(outcome)` says the first number that differs, and what has changed in versions, threads and device. For
        a study of a Hydra script it is the command `sweeper rerun`.
        """
        from sweeper import rerun

        outcome = rerun.of_function(rerun.Before.of(self._store, self._begun, number), train, device=device)
        rerun.note(self._store, self._begun, outcome)
        return outcome

    def report(self, file: str | Path | None = None) -> Path:
        """Write the study as one HTML page, by default `report.html` beside its trials, and say where it is.

        Raises ConfigError without plotly (`pip install 'sweeper[report]'`), or where the file cannot be written.
        """
        from sweeper.report import page

        place = page.default_file([self._begun]) if file is None else Path(file)
        page.write(self._store, [self.record], place)
        return place

    def to_optuna(self) -> optuna.Study:
        """A copy as an Optuna study in memory: for its plots, its importance, its dashboard."""
        from sweeper.sampling import to_optuna

        curves: dict[int, list[tuple[int, float]]] = {}
        for number, epoch, value, _ in reads.epoch_table(self._store, self._begun.id, ("number", "epoch", "value")):
            if value is not None:
                curves.setdefault(number, []).append((epoch, value))
        trials, _ = reads.changed_trials(self._store, self._begun.id, 0)  # as a sampler is told: hidden ones are FAIL
        return to_optuna(self.space, trials, self.direction, name=self.name, metric=self.metric, epochs=curves)

    def _trials(self, found: columns.Columns) -> pd.DataFrame:
        why = reads.hidden(self._store, self._begun.id, found["number"])
        found["hidden"] = [why.get(number) for number in found["number"]]
        kinds = {f"params.{parameter.name}": _kind(parameter) for parameter in self.space}
        return _frame(found, {**TRIAL_KINDS, **kinds})


def load_study(name: str | None = None, store: str | None = None) -> Study:
    """The study of that name, or the newest one, of the store at an SQLAlchemy URL (runs/sweeper.db where None).

    Raises StoreError with the names that there are.
    """
    opened = Store(store or default_url())
    return Study(opened, reads.study(opened, name))


def _range(parameter: Parameter) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": parameter.name,
        "kind": type(parameter).__name__.lower(),
        "when": " and ".join(map(str, parameter.when)) or None,
    }
    if isinstance(parameter, Categorical):
        return {**row, "scale": "choices", "choices": list(parameter.choices)}
    low, high = parameter.limits or (None, None)
    scale = {"scale": "log" if parameter.log else "linear", "limit_low": low, "limit_high": high}
    return {**row, **scale, "low": parameter.low, "high": parameter.high, "step": parameter.step}


def _kind(parameter: Parameter) -> Kind:
    if not isinstance(parameter, Categorical):
        return "float" if isinstance(parameter, Float) else "int"
    types = {type(choice) for choice in parameter.choices if choice is not None}
    known = {frozenset({bool}): "bool", frozenset({int}): "int", frozenset({str}): "text"}
    if types <= {int, float} and float in types:
        return "float"
    return known.get(frozenset(types), "object")


# ---- frames ----------------------------------------------------------------------------------------------------------


def _pick(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind]) -> columns.Columns:
    return {name: [row.get(name) for row in rows] for name in kinds}


def _frame(found: columns.Columns, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """A frame whose columns have the same types whatever is in it; metrics are floats."""
    import pandas as pd

    return pd.DataFrame({name: _typed(values, kinds.get(name, "float")) for name, values in found.items()})


def _typed(values: list[Any], kind: Kind) -> Any:
    """Whole numbers and truths with something missing are pandas' own `Int64` and `boolean`."""
    import pandas as pd

    if isinstance(kind, tuple):
        return pd.Categorical(values, categories=list(kind))
    if kind == "time":
        microseconds = (pd.Series(values, dtype="float64") * 1e6).round().astype("Int64")
        return pd.to_datetime(microseconds, unit="us", utc=True).astype("datetime64[us, UTC]")
    missing = any(value is None for value in values)
    dtypes = {
        "float": "float64",
        "int": "Int64" if missing else "int64",
        "bool": "boolean" if missing else "bool",
        "text": "str",
        "object": "object",
    }
    return pd.Series(values, dtype=dtypes[kind])
