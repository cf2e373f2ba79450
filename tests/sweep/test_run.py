"""`sweeper.run`: a study in plain Python, in this process or in several, resumed, extended, changed.

Functions that run in another process are defined inside the tests, so that they travel by value.
"""

from __future__ import annotations

import os
import signal
import threading

import pytest

import sweeper
from sweeper.engine.crew import WorkerTask, run_workers, worker_settings
from sweeper.engine.opening import open_study
from sweeper.machine import devices
from sweeper.machine.supervisor import Supervisor
from sweeper.store import reads
from sweeper.store.connection import Store, default_url
from sweeper.words.errors import ConfigError, SpaceError, StoreError, StudyChanged, SweeperError
from sweeper.words.records import Failure, TrialState

SPACE = {"x": "interval(0, 1)", "optimizer": ["sgd", "adam"]}


@pytest.fixture
def run(tmp_path):
    """`run(train, …)`: `sweeper.run` in a folder of its own."""

    def in_folder(train, **more):
        values = {"study": "demo", "space": SPACE, "budget": 4, "epochs": 3, "metric": "val_loss", "max_failures": 2}
        values["search"] = "random"  # one stage, whose trials are the same for any number of workers
        return sweeper.run(train, folder=tmp_path, **{**values, **more})

    return in_folder


def train(trial):
    for epoch in trial.epochs(3, state={}):
        trial.report(val_loss=trial.params["x"] + 1 / (epoch + 1))


def params(study):
    return {n: dict(row) for n, row in study.trials().set_index("number").filter(like="params.").iterrows()}


# ---- one process -----------------------------------------------------------------------------------------------------


def test_a_study_runs_to_its_end_and_answers(run, tmp_path):
    study = run(train)
    trials = study.trials()
    assert list(trials["number"]) == [0, 1, 2, 3]
    assert set(trials["state"]) == {"COMPLETE"}
    assert study.best()["value"].item() == trials["value"].min()
    assert len(study.epochs()) == 12
    assert (tmp_path / "sweeper.db").exists()
    assert sorted(path.name for path in (tmp_path / "demo").glob("0*")) == ["0000", "0001", "0002", "0003"]


def test_with_one_worker_it_is_this_very_process(run):
    pids = set()
    run(lambda trial: (pids.add(os.getpid()), train(trial)))
    assert pids == {os.getpid()}


def test_a_returned_float_is_enough(run):
    study = run(lambda trial: trial.params["x"], metric="objective", epochs=None)
    assert len(study.trials()) == 4
    assert (study.trials()["value"] == study.trials()["params.x"]).all()


def test_maximize(run):
    study = run(lambda trial: trial.params["x"], metric="objective", epochs=None, direction="maximize")
    assert study.best()["value"].item() == study.trials()["value"].max()


@pytest.mark.parametrize("search", ["random", "sobol", "bayesian"])
def test_every_search_keeps_to_the_space(run, search):
    study = run(train, search=search, budget=12)
    assert study.trials()["params.x"].between(0, 1).all()
    assert set(study.trials()["params.optimizer"]) <= {"sgd", "adam"}


def test_a_study_in_another_store(run, tmp_path):
    url = f"sqlite:///{tmp_path / 'elsewhere' / 'my.db'}"
    run(train, store=url)
    assert sweeper.load_study("demo", store=url).name == "demo"
    assert not (tmp_path / "sweeper.db").exists()


# ---- again -----------------------------------------------------------------------------------------------------------


def test_a_complete_study_returns_at_once(run):
    numbers = []

    def once(trial):
        numbers.append(trial.number)
        train(trial)

    first, second = run(once), run(once)
    assert numbers == [0, 1, 2, 3]
    assert params(first) == params(second)


def test_a_larger_budget_runs_exactly_the_rest(run, tmp_path):
    numbers = []

    def count(trial):
        numbers.append(trial.number)
        train(trial)

    run(count, budget=2)
    run(count, budget=5)
    assert numbers == [0, 1, 2, 3, 4]
    record = reads.study(Store(default_url(tmp_path)), "demo")
    assert (record.budget, record.granted_epochs) == (5, 15)


def test_a_study_in_two_parts_is_the_study_in_one(run):
    def go(trial):
        train(trial)

    run(go, study="parts", budget=2)
    assert params(run(go, study="parts", budget=4)) == params(run(go, study="whole", budget=4))


def test_a_smaller_budget_ends_a_study_without_harm(run):
    run(train, budget=4)
    assert len(run(train, budget=2).trials()) == 4


def test_a_script_that_breaks_in_the_middle_goes_on(run):
    broken = []

    def fragile(trial):
        for epoch in trial.epochs(3, state={}):
            if trial.number == 1 and epoch == 1 and not broken:
                broken.append(True)
                raise StoreError("The store cannot be used: the disk is full")
            trial.report(val_loss=trial.params["x"])

    with pytest.raises(StoreError, match="disk is full"):
        run(fragile)
    study = run(fragile)
    assert list(study.trials()["state"]) == ["COMPLETE"] * 4
    assert list(study.epochs().groupby("number").size()) == [3, 3, 3, 3]


def test_ctrl_c_hands_back_and_is_not_taken_for_the_end(run):
    def interrupted(trial):
        for epoch in trial.epochs(3, state={}):
            trial.report(val_loss=0.5)
            if (trial.number, epoch) == (1, 1) and not os.environ.get("SWEEPER_TEST_AGAIN"):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises((KeyboardInterrupt, SweeperError)):
        run(interrupted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPER_TEST_AGAIN", "1")
        study = run(interrupted)
    assert list(study.trials()["state"]) == ["COMPLETE"] * 4
    assert list(study.epochs().groupby("number").size()) == [3, 3, 3, 3]


# ---- changes ---------------------------------------------------------------------------------------------------------


def test_a_changed_function_or_space_stops_with_both_ways_on(run):
    run(train, budget=1)

    def other(trial):
        train(trial)

    with pytest.raises(StudyChanged, match=r"(?s)\+ *def other\(trial\):.*on_change=keep.*study=NEW_NAME"):
        run(other, budget=2)
    with pytest.raises(StudyChanged, match=r"name: y"):
        run(train, budget=2, space={**SPACE, "y": "interval(0, 2)"})


def test_keep_goes_on_with_the_space_of_the_beginning(run):
    run(train, budget=1)
    study = run(train, budget=6, space={"x": "interval(5, 6)"}, on_change="keep")
    assert len(study.trials()) == 6
    assert study.trials()["params.x"].between(0, 1).all()


def test_the_number_of_workers_and_the_budget_are_no_change(run):
    run(train, budget=1, workers=1)
    run(train, budget=1, workers=2, keep=5, max_failures=9)


# ---- failures --------------------------------------------------------------------------------------------------------


def test_failures_stop_the_study_with_one_message_and_the_same_call_goes_on(run):
    mended = []

    def fail(trial):
        if not mended:
            raise ValueError("no data")
        train(trial)

    with pytest.raises(SweeperError, match=r"'demo' was stopped: 2 trials in a row failed.*ValueError: no data"):
        run(fail)
    mended.append(True)
    assert list(run(fail).trials()["state"]) == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"study": "../up"}, ConfigError, "name"),
        ({"space": {}}, ConfigError, "at least one parameter"),
        ({"space": {"x": "interval(1, 0)"}}, SpaceError, "x"),
        ({"space": {"x": 0.5, "y": "interval(0, 1)"}}, ConfigError, "x.*0.5"),
        ({"search": "grid"}, ConfigError, "random, sobol, bayesian"),
        ({"sampler": "nonsense"}, ConfigError, "nonsense"),
        ({"direction": "up"}, ConfigError, "minimize or maximize"),
        ({"budget": 0}, ConfigError, "budget"),
        ({"budget": -1}, ConfigError, "budget"),
        ({"budget": float("nan")}, ConfigError, "budget"),
        pytest.param({"budget": "many"}, ConfigError, "budget"),
        ({"budget": 0.5, "epochs": None}, ConfigError, "budget"),
        ({"epochs": 0}, ConfigError, "epochs"),
        pytest.param({"workers": 0}, ConfigError, "workers"),
        pytest.param({"keep": 0}, ConfigError, "keep"),
        ({"on_change": "ignore"}, ConfigError, "stop or keep"),
        ({"store": "sweeper.db"}, StoreError, "URL"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_setting_is_told_before_anything_begins(run, tmp_path, wrong, error, words):
    with pytest.raises(error, match=words):
        run(lambda trial: pytest.fail("it began"), **wrong)
    stores = list(tmp_path.glob("sweeper.db"))
    assert not stores or reads.study_names(Store(default_url(tmp_path))) == []


# ---- several processes -----------------------------------------------------------------------------------------------


@pytest.fixture
def remote():
    """A training function that travels to other processes by value."""

    def train(trial):
        import os

        (trial.folder / "pid").write_text(str(os.getpid()))
        for epoch in trial.epochs(3, state={}):
            trial.report(val_loss=trial.params["x"] + 1 / (epoch + 1))

    return train


def test_two_workers_train_the_same_trials_as_one(run, remote, tmp_path):
    two = run(remote, study="two", budget=10, workers=2)
    pids = {path.read_text() for path in (tmp_path / "two").glob("*/pid")}
    one = run(remote, study="one", budget=10, workers=1)
    assert params(two) == params(one)
    assert list(two.trials()["value"]) == list(one.trials()["value"])
    assert set(two.trials()["state"]) == {"COMPLETE"}
    assert str(os.getpid()) not in pids
    assert sorted(path.name for path in (tmp_path / "two" / "workers").iterdir()) == ["0", "1"]
    assert list(two.workers()["ending"]) == ["finished", "finished"]


def test_a_worker_that_is_killed_is_started_again_and_its_trial_goes_on(run, forked, tmp_path):
    folder = str(tmp_path)

    def fragile(trial):
        import os
        import signal
        from pathlib import Path

        for epoch in trial.epochs(3, state={}):
            mark = Path(folder) / "killed"
            if trial.number == 1 and epoch == 1 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            trial.report(val_loss=trial.params["x"])

    study = run(fragile, workers=2)
    assert (tmp_path / "killed").exists()
    assert list(study.trials()["state"]) == ["COMPLETE"] * 4
    assert study.trials().set_index("number")["attempt"][1] == 2
    assert list(study.epochs().groupby("number").size()) == [3, 3, 3, 3]
    assert "died" in set(study.workers()["ending"])


def test_a_trial_that_always_kills_its_worker_is_given_up_before_the_worker_is(store, settings, forked):
    def deadly(trial):
        import os
        import signal

        if trial.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        trial.report(val_loss=trial.params["x"])

    asked = settings(budget=4, max_failures=2)
    study = open_study(store, asked)
    slots = tuple(devices.slots(1, gpus=[]))
    task = WorkerTask(worker_settings(store, asked, engine="local"), deadly, slots)
    run_workers(Supervisor(slots), task, store.path.parent)
    states = [(record.state, record.failure) for record in reads.all_trials(store, study.id)]
    complete = (TrialState.COMPLETE, None)
    assert states == [complete, (TrialState.FAIL, Failure.KILLED), complete, complete]


def test_a_process_that_an_error_has_spoiled_is_replaced(store, settings, forked):
    def spoil(trial):
        import torch

        def broken():
            raise RuntimeError("CUDA error: device-side assert triggered")

        if trial.number == 1:
            torch.cuda.is_initialized, torch.cuda.synchronize = (lambda: True), broken
            broken()
        trial.report(val_loss=trial.params["x"])

    asked = settings(budget=3)
    study = open_study(store, asked)
    slots = tuple(devices.slots(1, gpus=[]))
    task = WorkerTask(worker_settings(store, asked, engine="local"), spoil, slots)
    run_workers(Supervisor(slots), task, store.path.parent)
    assert [record.state[0] for record in reads.all_trials(store, study.id)] == ["C", "F", "C"]
    assert [row["ending"] for row in reads.worker_rows(store, study.id)] == ["spent", "finished"]


def test_workers_come_and_go_while_a_sweep_runs(run, forked, tmp_path):
    url = default_url(tmp_path)

    def resizing(trial):
        import time

        from sweeper.store import reads, writes
        from sweeper.store.connection import Store

        store = Store(url)
        study = reads.study(store).id

        def set_workers(number, enough):
            writes.set_workers(store, study, number)
            deadline = time.monotonic() + 60
            while not enough(len(reads.worker_rows(store, study, alive=True))):
                assert time.monotonic() < deadline, "it never happened"
                time.sleep(0.05)

        for epoch in trial.epochs(3, state={}):
            if trial.number == 0 and epoch == 0:
                set_workers(3, lambda alive: alive == 3)
                set_workers(1, lambda alive: alive <= 2)  # the one that waits here may have to go itself
            trial.report(val_loss=trial.params["x"] + 1 / (epoch + 1))

    study = run(resizing, workers=2)
    assert list(study.trials()["state"]) == ["COMPLETE"] * 4
    assert list(study.epochs().groupby("number").size()) == [3, 3, 3, 3]
    assert len(study.workers()) >= 3
    assert "left" in set(study.workers()["ending"])
    assert "died" not in set(study.workers()["ending"])


def test_a_function_that_cannot_travel_is_told(run):
    lock = threading.Lock()

    def locked(trial):
        with lock:
            train(trial)

    with pytest.raises(Exception, match=r"pickle|lock"):
        run(locked, workers=2)


def test_workers_that_fail_to_start_are_told(run, monkeypatch):
    """As when memory is short: every process dies at once."""
    monkeypatch.setattr("sweeper.machine.supervisor.CHILD", "import os; os._exit(9)")
    with pytest.raises(SweeperError, match=r"exit code 9.*worker\.log"):
        run(train, workers=2)
