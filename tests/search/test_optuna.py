from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState
from typer.testing import CliRunner, Result

import filling
import sweeper
from sweeper.cli import app, dashboard
from sweeper.engine import intake
from sweeper.report.html.server import HOST
from sweeper.search.optuna import LiveStorage, database
from sweeper.search.optuna.inference import space_of
from sweeper.search.space import Categorical, Float, Int, SearchSpace, When
from sweeper.store import claims, corrections, fenced, reads, writes
from sweeper.store.connection import Store
from sweeper.store.news import news
from sweeper.words.errors import ConfigError, StoreError, StudyTaken
from sweeper.words.records import EpochReport, Failure, TrialState

has_dashboard = importlib.util.find_spec("optuna_dashboard") is not None


@pytest.fixture(autouse=True)
def _no_news_of_optuna(monkeypatch):
    monkeypatch.delenv("SWEEPER_STORE", raising=False)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sweeper.db'}"


@pytest.fixture
def filled(url):
    """Three complete trials (the best is 1), one failed, one running at epoch 2 of 4."""
    store, study_id = filling.running_study(url)
    yield SimpleNamespace(store=store, id=study_id, record=filling.record(store))
    store.close()


def live(url: str, name: str = "digits") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=sweeper.optuna_storage(url))


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def ask(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result


# ---- the live storage ------------------------------------------------------------------------------------------------


def test_optuna_loads_a_study(url, filled):
    study = live(url)
    assert (study.best_value, study.best_trial.number) == (0.123456789, 1)
    assert (study.direction.name, study.metric_names) == ("MINIMIZE", ["val_loss"])
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "RUNNING"]
    assert [trial.number for trial in study.trials] == list(range(5))
    assert list(study.trials[4].intermediate_values) == [0, 1]
    assert study.user_attrs["state"] == "OPEN"
    for trial in study.trials:
        trial._validate()


def test_our_words_stand_in_the_attributes(url, filled):
    failed, running = live(url).trials[2], live(url).trials[4]
    assert failed.user_attrs["failure"] == "error"
    assert failed.user_attrs["message"] == "ValueError: no such file"
    assert (running.user_attrs["state"], running.user_attrs["epochs"]) == ("RUNNING", 2)
    assert 0 < running.user_attrs["metrics.val_accuracy"] < 1


def test_dates_are_local_and_real(url, filled):
    trial = live(url).trials[0]
    row = reads.trial(filled.store, filled.id, 0)
    assert trial.datetime_start == datetime.fromtimestamp(row["started"])
    assert trial.datetime_complete == datetime.fromtimestamp(row["finished"])


def test_an_open_study_of_optuna_sees_what_comes(url, filled):
    study = live(url)
    assert len(study.trials) == 5
    hand = filling.worker(filled.store, filled.id)
    lease = filling.begin(filled.store, filled.id, hand, 1, 0.4)
    before = study.trials
    assert [len(before), len(before[5].intermediate_values)] == [6, 1]
    fenced.report(filled.store, lease, EpochReport(5, 1, {"val_loss": 0.1}, 0.1), 0.1)
    assert study.trials[5].intermediate_values[1] == 0.1
    fenced.finish(filled.store, lease, TrialState.COMPLETE, value=0.01)
    assert (study.best_value, study.best_trial.number) == (0.01, 5)
    assert (before[5].state.name, len(before[5].intermediate_values)) == ("RUNNING", 1)  # what was handed out stays


def test_a_second_look_reads_only_what_is_new(filled):
    first = news(filled.store, filled.id, 0)
    again = news(filled.store, filled.id, max(told.revision for told in first))
    assert [told.record.number for told in again] == [4]  # it runs
    assert not [plan for plan in filling.plans(filled.store, news, filled.id, 3) if "SCAN" in plan]


def test_paused_is_running_and_hidden_is_failed(url, filled):
    hand = filling.worker(filled.store, filled.id)
    lease = filling.begin(filled.store, filled.id, hand, 4, 0.2)
    fenced.finish(filled.store, lease, TrialState.PAUSED, value=0.2)
    corrections.hide(filled.store, filled.id, [1], "wrong data")
    study = live(url)
    assert (study.trials[5].state.name, study.trials[5].user_attrs["state"]) == ("RUNNING", "PAUSED")
    assert (study.trials[1].state.name, study.trials[1].user_attrs["hidden"]) == ("FAIL", "wrong data")
    assert study.best_trial.number == reads.best(filled.store, filled.record)[0].number == 3


def test_at_the_end_of_a_study_a_paused_trial_is_pruned(url):
    store, study_id = filling.study(url, budget=2)
    hand = filling.worker(store, study_id)
    lease = filling.begin(store, study_id, hand, 4, 0.2)
    fenced.finish(store, lease, TrialState.PAUSED, value=0.2)
    study = live(url)
    assert states(study) == ["RUNNING"]
    filling.complete(store, study_id, hand, 0.5)
    assert states(study) == ["PRUNED", "COMPLETE"]
    assert study.trials[0].value == 0.2
    assert study.trials[0].datetime_complete == datetime.fromtimestamp(reads.trial(store, study_id, 0)["finished"])
    store.close()


def test_a_repeat_is_not_counted_twice(url, filled):
    seen = reads.newest_revision(filled.store, filled.id)
    assert claims.confirm(filled.store, filled.id, [1], seeds=2, stage=0, epochs=4, seen=seen)
    hand = filling.worker(filled.store, filled.id)
    filling.complete(filled.store, filled.id, hand, 0.001)
    study = live(url)
    assert states(study)[5:] == ["PRUNED", "WAITING"]
    assert study.trials[5].user_attrs["repeats"] == 1
    assert study.best_value == 0.123456789


def test_ranges_that_moved_are_one_range(url, filled):
    study = live(url)
    assert study.trials[0].distributions["model.depth"] == IntDistribution(1, 4)
    wider = [{**each, "high": 6} if each["name"] == "model.depth" else each for each in filling.SPACE]
    writes.move_ranges(
        filled.store, filled.id, 0, kind="widened", stage=0, space=wider, trials_told=5, reason="its edge"
    )
    lease = filling.begin(filled.store, filled.id, filling.worker(filled.store, filled.id), 0, 0.4)
    fenced.set_params(filled.store, lease, {**filling.params(5), "model.depth": 6})
    assert {trial.distributions["model.depth"] for trial in study.trials} == {IntDistribution(1, 6)}
    assert study.trials[5].params["model.depth"] == 6


def test_a_number_that_is_lost_stays_a_number(url, filled):
    with filled.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM epochs WHERE number = 2")
        connection.exec_driver_sql("DELETE FROM trials WHERE number = 2")
    study = live(url)
    assert [trial.number for trial in study.trials] == list(range(5))
    assert "lost" in study.trials[2].user_attrs["message"]
    assert study.get_trials(deepcopy=False)[3].user_attrs["epochs"] == 4


def test_a_study_defined_anew_is_read_anew(url):
    store, study_id = filling.study(url)
    hand = filling.worker(store, study_id)
    filling.fail(store, study_id, hand)
    study = live(url)
    assert states(study) == ["FAIL"]
    begun = reads.study(store)
    names = "name metric direction seed folder plan config budget full_epochs budget_epochs".split()
    definition = {name: getattr(begun, name) for name in names}
    space = [{"type": "float", "name": "x", "low": 0.0, "high": 1.0}]
    writes.redefine_study(
        store,
        study_id,
        {**definition, "space": space},
        [{"stage": 0, "name": "s", "epochs": 4, "sampler": "random", "ranges": space}],
    )
    assert states(study) == ["WAITING"]
    store.close()


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_is_ours(url, direction):
    store, study_id = filling.study(url, direction=direction)
    hand = filling.worker(store, study_id)
    for loss in (0.5, 0.2, 0.9, 0.2, 0.9):
        filling.complete(store, study_id, hand, loss)
    best = reads.best(store, reads.study(store))[0]
    assert (live(url).best_trial.number, live(url).best_value) == (best.number, best.value)
    store.close()


def test_studies_of_one_store_stay_apart(url):
    for name, losses in (("first", [0.5, 0.4]), ("second", [0.3])):
        store, study_id = filling.study(url, name)
        for loss in losses:
            filling.complete(store, study_id, filling.worker(store, study_id), loss)
    storage = sweeper.optuna_storage(url)
    assert optuna.get_all_study_names(storage) == ["first", "second"]
    assert {summary.study_name: summary.n_trials for summary in optuna.get_all_study_summaries(storage)} == {
        "first": 2,
        "second": 1,
    }
    first, second = (optuna.load_study(study_name=name, storage=storage) for name in ("first", "second"))
    assert (first.best_value, second.best_value) == (0.4, 0.3)
    ids = [trial._trial_id for study in (first, second) for trial in study.trials]
    assert len(set(ids)) == 3
    assert [storage.get_trial(each).number for each in ids] == [0, 1, 0]


def test_an_unknown_study_is_a_key_error(url, filled):
    with pytest.raises(KeyError, match="digits"):
        live(url, "other")
    with pytest.raises(KeyError):
        sweeper.optuna_storage(url).get_trial(999)
    with pytest.raises(StoreError, match="no store"):
        sweeper.optuna_storage(url.replace("sweeper.db", "none.db"))


def test_an_empty_study(url):
    filling.study(url)
    study = live(url)
    assert study.trials == []
    with pytest.raises(ValueError, match="No trials are completed"):
        study.best_value  # noqa: B018


def test_every_write_is_refused(url, filled):
    study, storage = live(url), sweeper.optuna_storage(url)
    before = reads.newest_revision(filled.store, filled.id)
    first = study.trials[0]._trial_id
    for write in (
        lambda: study.ask(),
        lambda: study.enqueue_trial({}),
        lambda: study.set_user_attr("a", 1),
        lambda: study.set_metric_names(["x"]),
        lambda: study.add_trial(study.trials[0]),
        lambda: optuna.create_study(storage=storage, study_name="new"),
        lambda: optuna.delete_study(study_name="digits", storage=storage),
        lambda: storage.set_trial_param(first, "x", 0.5, FloatDistribution(0, 1)),
        lambda: storage.set_trial_state_values(first, OptunaState.COMPLETE, [0.0]),
        lambda: storage.set_trial_intermediate_value(first, 0, 0.5),
        lambda: storage.set_trial_user_attr(first, "a", 1),
        lambda: storage.set_trial_system_attr(first, "a", 1),
        lambda: storage.set_study_system_attr(filled.id, "a", 1),
        lambda: storage.create_new_study([StudyDirection.MINIMIZE]),
    ):
        with pytest.raises(StoreError, match=r"only reads the store .* `sweeper export --to"):
            write()
    assert reads.newest_revision(filled.store, filled.id) == before


def test_plots_and_importance(url):
    store, study_id = filling.study(url, budget=30)
    hand = filling.worker(store, study_id)
    for number in range(12):
        filling.complete(store, study_id, hand, 1 / (number + 1))
    study = live(url)
    importance = optuna.importance.get_param_importances(study, params=["optimizer.lr", "model.depth"])
    assert importance["optimizer.lr"] > importance["model.depth"]
    plots = optuna.visualization
    for plot in (plots.plot_optimization_history, plots.plot_intermediate_values, plots.plot_parallel_coordinate,
                 plots.plot_slice, plots.plot_timeline, plots.plot_edf, plots.plot_param_importances):  # fmt: skip
        assert plot(study).data
    assert plots.plot_contour(study, ["optimizer.lr", "model.depth"]).data
    assert len(study.trials_dataframe()) == 12
    store.close()


def test_threads_may_share_it(url, filled):
    study, lengths = live(url), []
    threads = [threading.Thread(target=lambda: lengths.append(len(study.trials))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [5] * 4


# ---- to Optuna and back ----------------------------------------------------------------------------------------------


def test_an_export_is_a_plain_study(filled, tmp_path):
    assert database.write(filled.store, filled.record, tmp_path / "optuna.db") == 5
    study = optuna.load_study(study_name="digits", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    ours = LiveStorage(filled.store).get_all_trials(filled.id)
    assert (study.best_value, study.best_trial.number, study.metric_names) == (0.123456789, 1, ["val_loss"])
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "PRUNED"]  # nobody trains it there
    for mine, theirs in zip(ours[:4], study.trials[:4], strict=True):
        for part in ("number", "params", "distributions", "value", "intermediate_values", "user_attrs"):
            assert getattr(mine, part) == getattr(theirs, part)
        assert (mine.datetime_start, mine.datetime_complete) == (theirs.datetime_start, theirs.datetime_complete)
    assert study.trials[4].value == 0.4
    study.optimize(lambda trial: trial.suggest_float("optimizer.lr", 1e-5, 0.1, log=True), n_trials=1)
    assert len(study.trials) == 6


def test_an_export_overwrites_nothing(filled, tmp_path):
    (tmp_path / "optuna.db").write_text("mine")
    with pytest.raises(ConfigError, match="new file"):
        database.write(filled.store, filled.record, tmp_path / "optuna.db")
    assert (tmp_path / "optuna.db").read_text() == "mine"
    with pytest.raises(ConfigError, match="make it first"):
        database.write(filled.store, filled.record, tmp_path / "none" / "optuna.db")


def test_a_study_comes_back_as_it_was(url, filled, tmp_path):
    odd = [*filling.SPACE, {"type": "categorical", "name": "sizes", "choices": [[1, 2], [3]]}]
    store, study_id = filling.study(url, "odd", space=odd)
    lease = filling.begin(store, study_id, filling.worker(store, study_id), 3, 0.5)
    fenced.set_params(store, lease, {**filling.params(0), "sizes": [3]})
    fenced.finish(store, lease, TrialState.COMPLETE, value=0.5, seconds=7.0)
    failed = filling.begin(store, study_id, filling.worker(store, study_id), 1, 0.9)
    fenced.finish(store, failed, TrialState.FAIL, failure=Failure.DIVERGED, message="NaN")
    database.write(store, reads.study(store, "odd"), tmp_path / "optuna.db")
    record = intake.read(str(tmp_path / "optuna.db")).add(store, "back")
    mine, back = (reads.all_trials(store, each) for each in (study_id, record.id))
    assert dict(back[0].params) == dict(mine[0].params)
    assert back[0].metrics == mine[0].metrics
    assert (back[0].value, back[0].epochs_done, back[0].seconds) == (0.5, 3, 7.0)
    assert (back[1].state, back[1].failure, back[1].message) == (TrialState.FAIL, Failure.DIVERGED, "NaN")
    assert reads.curve(store, record.id, 0) == reads.curve(store, study_id, 0)
    assert SearchSpace.from_json(record.space)["optimizer.period"].when == (When("optimizer", ("sgd",)),)
    store.close()


def foreign(path: Path, name: str = "theirs", **more) -> optuna.Study:
    """A study of Optuna's: conditional parameters, curves from step 1, every state."""
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name=name, **more)

    def trial(optimizer, layers, value, steps=(1, 2, 3), state=OptunaState.COMPLETE, **rest) -> FrozenTrial:
        params = {"lr": 0.01 * layers, "optimizer": optimizer, "layers": layers, "width0": 16}
        params |= {f"width{i}": 32 for i in range(1, layers)} | ({"momentum": 0.9} if optimizer == "sgd" else {})
        kinds = {
            "lr": FloatDistribution(1e-4, 1, log=True),
            "optimizer": CategoricalDistribution(["sgd", "adam"]),
            "layers": IntDistribution(1, 3),
            "momentum": FloatDistribution(0.5, 0.99),
        }
        known = {name: kinds.get(name, IntDistribution(8, 64, log=True)) for name in params}
        curve = {step: value + 1 / step for step in steps}
        told = value if state is OptunaState.COMPLETE else None
        rest = {"user_attrs": {"accuracy": 0.5, "note": "x"}, **rest}
        return create_trial(
            state=state, params=params, distributions=known, value=told, intermediate_values=curve, **rest
        )

    study.add_trials([
        trial("sgd", 1, 0.5), trial("adam", 2, 0.25), trial("sgd", 3, 0.75), trial("adam", 1, 0.5),
        trial("adam", 1, 0.9, (1,), OptunaState.PRUNED),
        trial("sgd", 2, 0.9, (), OptunaState.FAIL, system_attrs={"fail_reason": "boom"}),
        trial("sgd", 1, 0.9, (1, 2), OptunaState.RUNNING),
    ])  # fmt: skip
    study.enqueue_trial({"lr": 0.1})
    return study


def test_a_foreign_study_is_asked_like_any_other(url, tmp_path):
    study = foreign(tmp_path / "optuna.db")
    answer = ask("import", str(tmp_path / "optuna.db"), "--store", url)
    assert "8 trials of theirs in theirs" in answer.stdout
    (best,) = json.loads(ask("best", "--store", url, "--format", "json").stdout)
    assert (best["number"], best["value"], best["metrics.accuracy"]) == (1, study.best_value, 0.5)
    trials = sweeper.load_study(store=url).trials()
    assert trials["state"].tolist() == ["COMPLETE"] * 4 + ["PRUNED", "FAIL", "PRUNED", "FAIL"]
    assert trials["failure"].dropna().tolist() == ["error", "killed"]
    assert trials["epochs_done"].tolist() == [3, 3, 3, 3, 1, 0, 2, 0]
    assert sweeper.load_study(store=url).epochs()["epoch"].tolist()[:3] == [0, 1, 2]
    assert ask("status", "--store", url).stdout.count("imported from")
    for question in ("borders", "stages", "failures", "workers", "events", "trials"):
        ask(question, "--store", url)
    assert "width1" in ask("show", "2", "--store", url).stdout
    assert live(url, "theirs").best_value == study.best_value


def test_an_imported_study_is_paused_and_its_books_balance(url, tmp_path):
    foreign(tmp_path / "optuna.db", direction="maximize")
    ask("import", str(tmp_path / "optuna.db"), "--store", url)
    record = reads.study(Store(url))
    assert (record.state, str(record.direction), record.metric) == ("PAUSED", "maximize", "objective")
    assert (record.budget, record.full_epochs, record.granted_epochs, record.budget_epochs) == (8, 3, 24, 24)
    assert "✗ budget" not in CliRunner().invoke(app, ["doctor", "--store", url]).stdout


def test_conditions_are_read_from_the_trials(tmp_path):
    space = space_of(foreign(tmp_path / "optuna.db").trials)
    assert space["momentum"].when == (When("optimizer", ("sgd",)),)
    assert space["width1"].when == (When("layers", (2, 3)),)
    assert space["width2"].when == (When("layers", (3,)),)
    assert space["width0"].when == space["lr"].when == ()
    assert space["lr"] == Float("lr", 1e-4, 1, log=True)


def test_ranges_that_changed_are_joined():
    def trial(x, n, c):
        kinds = {"x": x, "n": n, "c": c, "one": FloatDistribution(2, 2)}
        params = {"x": x.low, "n": n.low, "c": c.choices[0], "one": 2.0}
        return create_trial(params=params, distributions=kinds, value=0.0)

    space = space_of([
        trial(FloatDistribution(0.1, 1, step=0.1), IntDistribution(2, 8, step=2), CategoricalDistribution([1, "a"])),
        trial(FloatDistribution(0, 0.5), IntDistribution(1, 5), CategoricalDistribution(["b", True])),
    ])  # fmt: skip
    assert space["x"] == Float("x", 0.0, 1.0)
    assert space["n"] == Int("n", 1, 8)
    assert space["c"] == Categorical("c", (1, "a", "b", True))
    assert space["one"] == Categorical("one", (2.0,))


def test_an_import_says_what_it_cannot_take(url, filled, tmp_path):
    file = tmp_path / "optuna.db"
    foreign(file)
    foreign(file, "second one")
    with pytest.raises(ConfigError, match=r"--study NAME.*theirs, second one"):
        intake.read(str(file))
    with pytest.raises(ConfigError, match="has no 'third'"):
        intake.read(str(file), "third")
    with pytest.raises(ConfigError, match="--as NAME"):
        intake.read(str(file), "second one").add(filled.store)
    with pytest.raises(StudyTaken, match="--as NAME"):
        intake.read(str(file), "theirs").add(filled.store, "digits")
    with pytest.raises(ConfigError, match="is a study store"):
        intake.read(str(filled.store.path))
    with pytest.raises(ConfigError, match="there is no file"):
        intake.read(str(tmp_path / "none.db"))
    (tmp_path / "notes.txt").write_text("some\nnotes\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        intake.read(str(tmp_path / "notes.txt"))
    (tmp_path / "nothing.log").touch()
    with pytest.raises(ConfigError, match="cannot be read"):
        intake.read(str(tmp_path / "nothing.log"))
    optuna.create_study(storage=f"sqlite:///{file}", study_name="pareto", directions=["minimize", "maximize"])
    with pytest.raises(ConfigError, match="one metric"):
        intake.read(str(file), "pareto")
    optuna.create_study(storage=f"sqlite:///{file}", study_name="empty")
    with pytest.raises(ConfigError, match="has parameters"):
        intake.read(str(file), "empty").add(filled.store)
    assert reads.study_names(filled.store) == ["digits"]


def test_a_journal_is_read_too(url, tmp_path):
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    study = optuna.create_study(storage=storage, study_name="logged")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    record = intake.read(str(tmp_path / "journal.log")).add(Store(url, create=True))
    assert (record.name, record.next_number, record.full_epochs) == ("logged", 3, None)


def test_values_that_are_no_numbers(url, tmp_path):
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'o.db'}", study_name="odd")
    kinds = {"x": FloatDistribution(0, 1)}
    curve = {0: math.nan, 1: math.inf, 2: 0.5}
    study.add_trials([
        create_trial(params={"x": 0.1}, distributions=kinds, value=math.inf),
        create_trial(params={"x": 0.2}, distributions=kinds, value=0.5, intermediate_values=curve),
    ])  # fmt: skip
    store = Store(url, create=True)
    record = intake.read(str(tmp_path / "o.db")).add(store)
    diverged, complete = reads.all_trials(store, record.id)
    assert (diverged.state, diverged.failure) == (TrialState.FAIL, Failure.DIVERGED)
    assert (complete.state, complete.value) == (TrialState.COMPLETE, 0.5)
    assert reads.curve(store, record.id, 1) == {1: None, 2: None, 3: 0.5}
    store.close()


def test_export_and_import_are_commands(url, filled, tmp_path):
    file = str(tmp_path / "optuna.db")
    assert ask("export", "--to", file, "--store", url).stdout == f"5 trials of digits in {file}\n"
    assert "5 trials of digits in copy" in ask("import", file, "--as", "copy", "--store", url).stdout
    assert json.loads(ask("best", "--study", "copy", "--store", url, "--format", "json").stdout)[0]["value"] == (
        0.123456789
    )
    ask("export", "--store", url, code=2)
    ask("export", "x.csv", "--to", file, "--store", url, code=2)
    ask("export", "--to", file, "--epochs", "--store", url, code=2)


# ---- the dashboard ---------------------------------------------------------------------------------------------------


@pytest.fixture
def served(filled):
    pytest.importorskip("optuna_dashboard")
    with dashboard.server(filled.store, 0) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


def fetch(url: str, **more) -> dict:
    with urllib.request.urlopen(urllib.request.Request(url, **more), timeout=60) as answer:
        return json.loads(answer.read())


def test_optunas_dashboard_shows_the_study(served, filled):
    (summary,) = fetch(f"{served}/api/studies")["study_summaries"]
    assert (summary["study_name"], summary["study_id"]) == ("digits", filled.id)
    found = fetch(f"{served}/api/studies/{filled.id}")
    assert (len(found["trials"]), found["best_trials"][0]["number"]) == (5, 1)
    assert found["objective_names"] == ["val_loss"]


@pytest.mark.parametrize("more", [{"method": "DELETE"}, {"headers": {"Host": "evil.example"}}])
def test_optunas_dashboard_only_shows_and_only_here(served, filled, more):
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(f"{served}/api/studies/{filled.id}", **more)
    assert refused.value.code == 403
    assert "This dashboard" in json.loads(refused.value.read())["reason"]


def test_a_taken_port_is_said(served, filled):
    port = int(served.rpartition(":")[2])
    with pytest.raises(ConfigError, match="--port"):
        dashboard.server(filled.store, port)


def test_without_the_package_the_cure_is_said(url, filled, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["dashboard", "--optuna", "--store", url])
    assert (result.exit_code, "pip install 'sweeper-hpo[dashboard]'" in result.output) == (1, True)


@pytest.mark.skipif(not has_dashboard, reason="needs optuna-dashboard")
def test_ctrl_c_ends_the_dashboard(url, filled):
    code = "from sweeper.cli import main; main()"
    words = [sys.executable, "-c", code, "dashboard", "--optuna", "--port", "0", "--store", url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        line = running.stdout.readline()
        assert f"/dashboard/studies/{filled.id}" in line
        time.sleep(0.1)
        os.kill(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, "")
