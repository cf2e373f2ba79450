"""A study as Python asks it: typed pandas frames, read from the store at each call, also while the sweep runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.analysis import accounts, columns, frames
from sweeper.analysis.borders import collect, judge, space_now
from sweeper.analysis.confirmation import gather, verdicts
from sweeper.search.space import Categorical, Parameter, SearchSpace
from sweeper.store import reads
from sweeper.store.columns import epoch_table
from sweeper.store.connection import Store, default_url
from sweeper.words.records import Direction, StudyRecord, StudyState

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from torch import nn

    from sweeper.analysis.diagnosis import Diagnosis
    from sweeper.retraining.ensemble import Built
    from sweeper.retraining.outcome import Outcome
    from sweeper.training.data import Data
    from sweeper.trial.handle import Trial


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
        return frames.trials(self._store, self._begun, columns.trial_columns(self._store, self._begun, numbers=numbers))

    def trials(self) -> pd.DataFrame:
        """Every trial by number."""
        return frames.trials(self._store, self._begun, columns.trial_columns(self._store, self._begun))

    def epochs(self) -> pd.DataFrame:
        """Every reported epoch by trial and epoch; `seconds` is an epoch's training time."""
        return frames.epochs(self._store, self._begun)

    def failures(self) -> pd.DataFrame:
        """The failed trials in the order of their ends, with message and traceback."""
        return frames.of_rows(reads.failures(self._store, self._begun.id), frames.FAILURE_KINDS)

    def workers(self) -> pd.DataFrame:
        """Every worker that there was; `ended` is missing while one lives, or died unseen.

        `seconds`: how long it lived; `utilisation`: the share of it in which it held one of its `trials`. `load`: of
        its device, at its last beat.
        """
        spent = accounts.of_workers(accounts.collect(self._store, self._begun))
        rows = [{**row, **spent.get(row["id"], {})} for row in reads.worker_rows(self._store, self._begun.id)]
        return frames.of_rows(rows, frames.WORKER_KINDS)

    def confirmed(self) -> pd.DataFrame:
        """The trials that were trained again with other seeds (`confirm`), the best mean first.

        `first` is a trial's own value, chosen among many and so optimistic; `mean` and `deviation` are of its `seeds`
        repeats. `probability`: that its true mean is the best of these; `standing`: wins, ties or loses.
        """
        found = verdicts(gather(reads.confirmed_trials(self._store, self.record)), self.direction)
        return frames.of_rows([verdict.row() for verdict in found], frames.CONFIRMED_KINDS)

    def ranges(self) -> pd.DataFrame:
        """Each parameter's range as it is now, its scale (linear, log or choices) and its hard limits."""
        now = space_now(self._store, self.record)
        return frames.of_rows(list(map(_range, now)), frames.RANGE_KINDS)

    def borders(self) -> pd.DataFrame:
        """The border verdict on each range as it is now, with the numbers behind it; `sentence` says it in words."""
        rows = collect(judge(self._store, self.record))
        return frames.of_rows(rows, frames.BORDER_KINDS)

    def diagnose(self, number: int | None = None) -> list[Diagnosis]:
        """What the curves of a trial say, or of all together: the most important first, nothing where all is well.

        Each has a `kind`, a `severity`, a `sentence`, a `cure`, its `source` and the `evidence` in numbers.
        """
        from sweeper.analysis import diagnosed

        if number is not None:
            return diagnosed.trial(self._store, self.record, number)[1]
        return diagnosed.study(self._store, self.record, *diagnosed.importance(self._store, self.record))

    def rerun(self, number: int, train: Callable[[Trial], object], *, device: str | None = None) -> Outcome:
        """Train a trial of `sweeper.run` again, in a fresh process, and compare every epoch: `outcome.matches`.

        `print(outcome)` says the first number that differs, and what has changed in versions, threads and device. For
        a study of a Hydra script it is the command `sweeper rerun`.
        """
        from sweeper.retraining import rerun

        outcome = rerun.of_function(rerun.Before.of(self._store, self._begun, number), train, device=device)
        rerun.note(self._store, self._begun, outcome)
        return outcome

    def ensemble(
        self,
        *,
        build: Callable[[Any], nn.Module] | None = None,
        data: Callable[[Any], Data] | None = None,
        top: int = 10,
        checkpoints: bool = False,
        averages: bool = False,
        folder: str | Path | None = None,
        test: bool | None = None,
        device: str | None = None,
    ) -> Built:
        """Average stored models of the best trials, chosen on the validation set; written to `ensemble` beside them.

        `build(params)` gives the model, `data(params)` a `sweeper.training.data.Data`; for a Hydra script both take the
        config, and are by default the script's. `checkpoints`, `averages`: other epochs of these trials and averages of
        their weights stand for election too. `test`: look at the test set; None: only if nobody has before.
        """
        from sweeper.retraining import ensemble
        from sweeper.retraining import parts as scripts

        if build is None or data is None:
            parts = scripts.parts(ensemble.script_of(self._begun))
        else:
            parts = scripts.Parts(build, data, build.__qualname__)
        place = None if folder is None else Path(folder)
        more: Any = {"checkpoints": checkpoints, "averages": averages, "folder": place, "test": test, "device": device}
        return ensemble.make(self._store, self.record, parts, top=top, **more)

    def report(self, file: str | Path | None = None) -> Path:
        """Write the study as one HTML page, by default `report.html` beside its trials, and say where it is.

        Raises ConfigError without plotly (`pip install 'sweeper-hpo[report]'`), or where the file cannot be written.
        """
        from sweeper.report.html import page

        place = page.default_file([self._begun]) if file is None else Path(file)
        page.write(self._store, [self.record], place)
        return place

    def to_optuna(self) -> optuna.Study:
        """A copy as an Optuna study in memory: for its plots, its importance, its dashboard."""
        from sweeper.search.optuna.copy import to_optuna

        curves: dict[int, list[tuple[int, float]]] = {}
        for number, epoch, value, _ in epoch_table(self._store, self._begun.id, ("number", "epoch", "value")):
            if value is not None:
                curves.setdefault(number, []).append((epoch, value))
        trials, _ = reads.changed_trials(self._store, self._begun.id, 0)  # as a sampler is told: hidden ones are FAIL
        return to_optuna(self.space, trials, self.direction, name=self.name, metric=self.metric, epochs=curves)


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
