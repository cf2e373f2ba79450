"""Whole sweeps as a person starts them: a script, `--multirun`, other launchers, changes of mind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import forks
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.records import Failure, TrialState

APP = Path(__file__).parent.parent / "apps" / "tiny.py"
HERE = "hydra/launcher=basic"
"""One worker, in the very process: where the test is not about the workers' processes."""


def sweep(folder: Path, *overrides: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = forks.script(APP, "--multirun", *overrides, folder=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def sweep_afresh(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """As a person does it, with all its imports."""
    command = [sys.executable, str(APP), "--multirun", *overrides]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def trials(folder: Path, study: str = "tiny"):
    store = Store(f"sqlite:///{folder}/runs/sweeper.db")
    try:
        return reads.all_trials(store, reads.study(store, study).id)
    finally:
        store.close()


def epochs(folder: Path, number: int, study: str = "tiny"):
    store = Store(f"sqlite:///{folder}/runs/sweeper.db")
    try:
        return reads.epoch_reports(store, reads.study(store, study).id, number)
    finally:
        store.close()


def reports_so_far(folder: Path) -> int:
    try:
        return sum(record.epochs_done for record in trials(folder))
    except Exception:
        return 0


def assert_sound(folder: Path, budget: int, epochs_per_trial: int) -> None:
    records = trials(folder)
    assert [record.number for record in records] == list(range(budget))
    assert {record.state for record in records} == {TrialState.COMPLETE}
    for record in records:
        assert [report.epoch for report in epochs(folder, record.number)] == list(range(epochs_per_trial))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder with a sweep of two worker processes, and what it said."""
    folder = tmp_path_factory.mktemp("swept")
    return folder, sweep_afresh(folder)


def test_a_sweep_from_end_to_end(swept):
    folder, done = swept
    assert_sound(folder, 6, 4)
    assert "complete" in done.stdout
    assert "\x1b[" not in done.stdout
    assert "sqlite:///runs/sweeper.db" in done.stdout
    for record in trials(folder):
        place = folder / "runs" / "tiny" / f"{record.number:04d}"
        config = yaml.safe_load((place / ".hydra" / "config.yaml").read_text())
        assert config["optimizer"]["lr"] == record.params["optimizer.lr"]
        assert config["optimizer"]["name"] == record.params["optimizer"]
        assert ("optimizer.momentum" in record.params) == (record.params["optimizer"] == "sgd")
        hydra = yaml.safe_load((place / ".hydra" / "hydra.yaml").read_text())["hydra"]
        assert hydra["runtime"]["output_dir"] == str(place)
        assert hydra["job"]["num"] == record.number
        assert f"depth={record.params['depth']}" in yaml.safe_load((place / ".hydra" / "overrides.yaml").read_text())


def test_the_same_command_says_that_it_is_complete_and_a_bigger_budget_runs_the_rest(tmp_path):
    sweep(tmp_path, HERE, "budget=3")
    before = trials(tmp_path)
    again = sweep(tmp_path, HERE, "budget=3")
    assert "complete" in again.stdout
    assert "budget=" in again.stdout
    assert trials(tmp_path) == before
    sweep(tmp_path, HERE, "budget=5")
    assert trials(tmp_path)[:3] == before
    assert_sound(tmp_path, 5, 4)


def test_the_number_of_workers_does_not_change_the_parameters(swept, tmp_path):
    sweep(tmp_path, HERE)
    assert [r.params for r in trials(tmp_path)] == [r.params for r in trials(swept[0])]


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_any_hydra_launcher_runs_workers(tmp_path, launcher):
    if launcher != "basic":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher.removesuffix('_local')}_launcher")
    start = sweep if launcher == "basic" else sweep_afresh  # whose own processes begin with their imports anyway
    start(tmp_path, f"hydra/launcher={launcher}", "budget=4")
    assert_sound(tmp_path, 4, 4)


def test_an_exception_fails_the_trial_and_too_many_stop_the_sweep(tmp_path):
    done = sweep(tmp_path, HERE, "fail=error", "hydra.sweeper.max_failures=3", code=1)
    assert done.stderr.count("error:") == 1
    assert "3 trials in a row failed" in done.stderr
    assert "ValueError: broken on purpose" in done.stderr
    assert "Traceback" not in done.stderr
    records = trials(tmp_path)
    assert {(record.state, record.failure) for record in records} == {(TrialState.FAIL, Failure.ERROR)}
    assert len(records) == 3
    assert "broken on purpose" in (tmp_path / "runs" / "tiny" / "0000" / "train.log").read_text()


def test_a_diverged_trial_is_no_error(tmp_path):
    sweep(tmp_path, HERE, "fail=diverge", "budget=3", "hydra.sweeper.max_failures=1")
    assert [record.failure for record in trials(tmp_path)] == [Failure.DIVERGED] * 3


def test_a_worker_that_dies_is_replaced_and_its_trial_goes_on(tmp_path):
    sweep(tmp_path, "fail=exit")
    assert_sound(tmp_path, 6, 4)
    assert [record.attempt for record in trials(tmp_path)][1] == 2


@pytest.mark.parametrize(("how", "limit"), [("hang", "timeout"), ("hang", "epoch_timeout"), ("deadlock", "timeout")])
def test_a_hanging_trial_is_ended_and_the_sweep_goes_on(tmp_path, how, limit):
    sweep(tmp_path, f"fail={how}", f"hydra.sweeper.{limit}=1.5", "budget=4")
    records = trials(tmp_path)
    assert [record.failure for record in records] == [None, Failure.TIMEOUT, None, None]
    assert "timeout of 1.5 s" in str(records[1].message)
    assert [record.attempt for record in records] == [1, 1, 1, 1]


def test_a_metric_of_an_unknown_name(tmp_path):
    done = sweep(tmp_path, HERE, "hydra.sweeper.metric=val_los", "hydra.sweeper.max_failures=1", code=1)
    assert "'val_los'" in done.stderr
    assert "val_loss" in done.stderr


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lr=interval(1,0)", ["optimizer.lr", "low < high"]),
        ("optimizer.lr=tag(log,interval(0,1))", ["optimizer.lr", "low > 0"]),
        ("dept=range(1,3)", ["`dept`", "did you mean depth"]),
        (
            "optimizer.momentun=interval(0,1)",
            ["`optimizer.momentun`", "did you mean optimizer.momentum", "optimizer=sgd"],
        ),
        ("optimizer=sgd,lion", ["optimizer", "lion", "adam, sgd"]),
        ("hydra.sweeper.search=bayes", ["random, sobol, bayesian"]),
        ("hydra.sweeper.sampler=cmaess", ["cmaess", "cmaes"]),
        ("budget=0", ["`budget`", "0"]),
        ("study=../x", ["'../x'", "A-Z"]),
        ("hydra.sweeper.store=mysql://x", ["SQLite or PostgreSQL"]),
        ("hydra.sweeper.direction=up", ["minimize or maximize"]),
        ("workers=0", ["workers"]),
        ("hydra.sweeper.max_failures=0", ["`max_failures`", "0"]),
    ],
)
def test_bad_input_gets_one_clear_line(tmp_path, override, words):
    done = sweep(tmp_path, override, code=1)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_changed_study_stops_with_a_diff_and_two_ways_on(tmp_path):
    sweep(tmp_path, HERE, "budget=2")
    done = sweep(tmp_path, HERE, "budget=3", "seconds=0.02", code=1)
    assert "-seconds: 0.01" in done.stderr
    assert "+seconds: 0.02" in done.stderr
    assert "on_change=keep" in done.stderr
    assert "study=" in done.stderr
    assert len(trials(tmp_path)) == 2
    sweep(tmp_path, HERE, "budget=3", "seconds=0.02", "hydra.sweeper.on_change=keep")
    config = yaml.safe_load((tmp_path / "runs" / "tiny" / "0002" / ".hydra" / "config.yaml").read_text())
    assert config["seconds"] == 0.01


def test_a_study_whose_trials_all_failed_is_begun_anew_when_its_cause_is_mended(tmp_path):
    sweep(tmp_path, HERE, "fail=error", "hydra.sweeper.max_failures=2", code=1)
    assert [record.failure for record in trials(tmp_path)] == [Failure.ERROR] * 2
    done = sweep(tmp_path, HERE, "budget=4")
    assert "begun anew" in done.stdout + done.stderr
    assert_sound(tmp_path, 4, 4)


def test_advice_names_the_keys_that_the_config_has(tmp_path):
    done = sweep(tmp_path, HERE, "budget=2")
    assert "with budget=" in done.stdout
    done = sweep(tmp_path, HERE, "budget=3", "seconds=0.02", code=1)
    assert "`hydra.sweeper.on_change=keep`" in done.stderr  # the app has no shorthand for it
    assert "study=NEW_NAME" in done.stderr
    assert "hydra.sweeper.study" not in done.stderr


def test_a_study_without_a_name_is_called_as_its_job(tmp_path):
    sweep(tmp_path, HERE, "budget=1", "hydra.sweeper.study=null")
    assert (tmp_path / "runs" / "tiny" / "0000").is_dir()


def test_a_key_that_names_the_study_reaches_the_trials_too(tmp_path):
    sweep(tmp_path, HERE, "budget=1", "hydra.sweeper.study=${fail}", "fail=nothing")
    config = yaml.safe_load((tmp_path / "runs/nothing/0000/.hydra/config.yaml").read_text())
    assert config["fail"] == "nothing"


def test_a_terminal_that_closes_ends_the_sweep_in_good_order(tmp_path):
    """On a real terminal: its death is told twice, and whatever is printed after it fails."""
    import pty

    master, slave = pty.openpty()
    slow = ("seconds=0.2", "epochs=5", "budget=6")
    start = ["setsid", "--ctty", sys.executable, str(APP), "--multirun", *slow]
    running = subprocess.Popen(start, cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    forks.until(lambda: reports_so_far(tmp_path) > 2, "it trains")
    os.close(master)
    for _ in range(2):
        running.send_signal(signal.SIGHUP)
    running.wait(60)
    store = Store(f"sqlite:///{tmp_path}/runs/sweeper.db")
    forks.until(lambda: not reads.worker_rows(store, reads.study(store).id, alive=True), "the workers leave")
    assert {row["ending"] for row in reads.worker_rows(store, reads.study(store).id)} == {"left"}
    sweep(tmp_path, HERE, *slow)
    assert_sound(tmp_path, 6, 5)


def test_editing_a_config_file_does_not_change_a_study_that_has_begun(tmp_path):
    script = tmp_path / "tiny.py"
    shutil.copy(APP, script)
    shutil.copy(APP.parent / "bowl.py", tmp_path)
    shutil.copytree(APP.parent / "tiny_conf", tmp_path / "tiny_conf")
    running = forks.start(forks.main, script, ["--multirun", "seconds=0.2", "workers=1"], tmp_path)
    forks.until(lambda: reports_so_far(tmp_path) > 0, "it trains", running)
    (tmp_path / "tiny_conf" / "optimizer" / "sgd.yaml").write_text("name: edited\nlr: 0.1\nmomentum: 0.9\n")
    assert forks.ended(running) == 0
    names = {
        yaml.safe_load(file.read_text())["optimizer"]["name"]
        for file in (tmp_path / "runs" / "tiny").glob("[0-9]*/.hydra/config.yaml")
    }
    assert "edited" not in names


SLOW = ("seconds=0.15", "epochs=5", "budget=5")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep(folder, HERE, *SLOW)
    return trials(folder)


@pytest.mark.parametrize("accident", ["ctrl-c", "driver killed", "worker killed", "all killed"])
def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path, undisturbed, accident):
    running = forks.start(forks.main, APP, ["--multirun", *SLOW], tmp_path)
    forks.until(lambda: reports_so_far(tmp_path) > 2, "it trains", running)
    interrupt(tmp_path, running.pid, accident)
    code = forks.ended(running)
    if accident == "worker killed":
        assert code == 0
    else:
        assert code == (130 if accident == "ctrl-c" else -signal.SIGKILL)
        assert len([r for r in trials(tmp_path) if r.state is TrialState.COMPLETE]) < 5
        sweep(tmp_path, *SLOW)
    assert_sound(tmp_path, 5, 5)
    assert len(list((tmp_path / "runs" / "tiny").glob("[0-9]*"))) == 5
    assert [r.params for r in trials(tmp_path)] == [r.params for r in undisturbed]
    assert [r.value for r in trials(tmp_path)] == [r.value for r in undisturbed]


def interrupt(folder: Path, driver: int, accident: str) -> None:
    store = Store(f"sqlite:///{folder}/runs/sweeper.db")
    workers = [row["pid"] for row in reads.worker_rows(store, reads.study(store).id, alive=True)]
    assert workers
    if accident == "ctrl-c":
        os.kill(driver, signal.SIGINT)
    elif accident == "driver killed":
        os.kill(driver, signal.SIGKILL)
    elif accident == "worker killed":
        os.kill(workers[0], signal.SIGKILL)
    else:
        for pid in (driver, *workers):
            os.kill(pid, signal.SIGKILL)
