from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import filling
from sweeper.store import corrections, fenced, writes
from sweeper.sweep.study import Study, load_study
from sweeper.words.errors import StoreError
from sweeper.words.records import Direction, StudyState

UTC = "datetime64[us, UTC]"
DTYPES = {
    "number": "int64",
    "stage": "int64",
    "value": "float64",
    "epochs_done": "int64",
    "seconds": "float64",
    "params.optimizer.lr": "float64",
    "params.model.depth": "int64",
    "params.model.activation": "str",
    "params.optimizer": "str",
    "metrics.val_loss": "float64",
    "created": UTC,
    "started": UTC,
    "finished": UTC,
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sweeper.db'}"


@pytest.fixture
def study(url: str) -> Study:
    filling.running_study(url)
    return load_study(store=url)


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


def test_a_study_knows_what_it_was_begun_with(study: Study) -> None:
    assert (study.name, study.metric, study.direction) == ("digits", "val_loss", Direction.MINIMIZE)
    assert study.space.names[0] == "optimizer.lr"


def test_the_state_is_read_anew(study: Study) -> None:
    assert study.state is StudyState.OPEN
    writes.set_state(study._store, study.record.id, StudyState.PAUSED)
    assert study.state is StudyState.PAUSED


def test_trials_are_typed(study: Study) -> None:
    frame = study.trials()
    assert DTYPES.items() <= dtypes(frame).items()
    assert dtypes(frame)["params.optimizer.period"] == "Int64"  # conditional, so missing in some trials
    assert isinstance(frame["state"].dtype, pd.CategoricalDtype)
    assert "diverged" in frame["failure"].cat.categories
    assert frame["number"].tolist() == [0, 1, 2, 3, 4]
    assert frame["state"].tolist() == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "RUNNING"]
    assert frame["params.optimizer.period"].isna().tolist() == [False, True, False, True, False]
    assert frame["metrics.val_accuracy"].notna().all()


def test_times_are_utc(study: Study) -> None:
    first = study.trials()["started"].iloc[0]
    assert str(first.tz) == "UTC"
    assert abs((pd.Timestamp.now(tz="UTC") - first).total_seconds()) < 60
    assert study.trials()["finished"].isna().tolist()[-1]


def test_the_best_come_first(study: Study) -> None:
    assert study.best(2)["number"].tolist() == [1, 3]
    assert list(study.best().columns) == list(study.trials().columns)
    assert study.best()["value"].iloc[0] == 0.123456789


def test_epochs(study: Study) -> None:
    frame = study.epochs()
    assert dtypes(frame)["reported"] == UTC
    assert frame.groupby("number")["epoch"].count().to_dict() == {0: 4, 1: 4, 2: 1, 3: 4, 4: 2}
    assert {"metrics.train_loss", "metrics.val_loss", "metrics.val_accuracy"} <= set(frame)


def test_failures_workers_and_ranges(study: Study) -> None:
    failures = study.failures()
    assert failures["message"].tolist() == ["ValueError: no such file"]
    assert failures["failure"].tolist() == ["error"]
    assert study.workers()["device"].tolist() == ["cpu"]
    assert study.workers()[["trials", "utilisation"]].values.tolist() == [[5, pytest.approx(1.0, abs=0.5)]]
    ranges = study.ranges().set_index("name")
    assert ranges.loc["optimizer.lr", ["scale", "low", "limit_high"]].tolist() == ["log", 1e-5, 10]
    assert ranges.loc["optimizer", "choices"] == ["sgd", "adam"]
    assert ranges.loc["optimizer.period", "when"] == "optimizer=sgd"


@pytest.mark.parametrize("ask", ["trials", "best", "epochs", "failures", "workers"])
def test_an_empty_study_has_its_columns(url: str, ask: str) -> None:
    store, _ = filling.study(url)
    empty = getattr(Study(store, filling.record(store)), ask)()
    assert len(empty) == 0
    assert len(empty.columns) > 4
    if ask in ("trials", "best"):
        assert DTYPES.items() <= dtypes(empty).items()
        assert dtypes(empty)["params.optimizer.period"] == "int64"


def test_choices_have_the_type_of_their_values(url: str) -> None:
    choices = {"size": [16, 32], "share": [0.5, 1], "flag": [True, False], "mixed": [1, "a"], "name": [None, "relu"]}
    space = [{"type": "categorical", "name": name, "choices": values} for name, values in choices.items()]
    store, study_id = filling.study(url, space=space)
    hand = filling.worker(store, study_id)
    lease = filling.begin(store, study_id, hand, 0, 0.0)
    fenced.set_params(store, lease, {name: values[0] for name, values in choices.items()})
    found = dtypes(load_study(store=url).trials())
    kinds = {"size": "int64", "share": "float64", "flag": "bool", "mixed": "object", "name": "str"}
    assert {f"params.{name}": kind for name, kind in kinds.items()}.items() <= found.items()


def test_the_newest_study_is_the_default(url: str) -> None:
    filling.study(url, "first")
    filling.study(url, "second")
    assert load_study(store=url).name == "second"
    assert load_study("first", url).name == "first"
    with pytest.raises(StoreError, match="second, first"):
        load_study("third", url)


def test_a_copy_for_optuna(study: Study) -> None:
    copied = study.to_optuna()
    assert copied.best_trial.user_attrs["number"] == 1
    assert len(copied.trials[0].intermediate_values) == 4


def test_a_hidden_trial_shows_its_mark_and_is_no_best_one(study: Study) -> None:
    corrections.hide(study._store, study.record.id, [1], "wrong data")
    assert study.trials()["hidden"].fillna("").tolist() == ["", "wrong data", "", "", ""]
    assert study.best()["number"].tolist() == [3]
    copied = study.to_optuna()
    assert copied.best_trial.user_attrs["number"] == 3
    assert copied.trials[1].user_attrs["message"] == "hidden: wrong data"
