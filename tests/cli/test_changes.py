from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import filling
import sweeper
from asking import ask
from sweeper.store import reads
from sweeper.words.records import Failure, StudyState, TrialState

MAIN = "from sweeper.cli import main; main()"


def in_process(*words: str, after: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.argv[0] = 'sweeper'\ntry:\n    {MAIN}\nfinally:\n    {after or 'pass'}"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


# ---- best and trials -------------------------------------------------------------------------------------------------


def test_best_is_a_table(filled: str) -> None:
    lines = ask("best", "--top", "2", "--store", filled).stdout.splitlines()
    assert lines[0].split() == ["trial", "val_loss", "val_accuracy", "lr", "depth", "activation", "optimizer"]
    assert [line.split()[:2] for line in lines[2:]] == [["1", "0.123"], ["3", "0.300"]]


def test_json_and_csv_keep_every_digit(filled: str) -> None:
    (row,) = json.loads(ask("best", "--store", filled, "--format", "json").stdout)
    assert (row["number"], row["value"], row["params.optimizer.lr"]) == (1, 0.123456789, 0.001234567 * 2)
    assert row["params.optimizer.period"] is None
    rows = list(csv.DictReader(io.StringIO(ask("trials", "--store", filled, "--format", "csv").stdout)))
    assert [row["number"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert float(rows[1]["metrics.val_loss"]) == 0.123456789
    assert rows[0]["started"].endswith("+00:00")


def test_trials_by_state(filled: str) -> None:
    words = ["trials", "--store", filled, "--state", "FAIL", "--state", "running", "--format", "json"]
    assert [row["state"] for row in json.loads(ask(*words).stdout)] == ["FAIL", "RUNNING"]
    assert "has no PRUNED trial" in ask("trials", "--store", filled, "--state", "PRUNED").stdout


def test_a_table_of_many_trials_shows_the_newest(url: str) -> None:
    filling.many(url, 300)
    result = ask("trials", "--store", url)
    assert len(result.stdout.splitlines()) == 102
    assert result.stdout.splitlines()[-1].split()[0] == "299"
    assert "--last 0" in result.stderr
    assert len(ask("trials", "--store", url, "--last", "0").stdout.splitlines()) == 302
    assert len(json.loads(ask("trials", "--store", url, "--format", "json").stdout)) == 300


# ---- show, status, export --------------------------------------------------------------------------------------------


def test_show_has_curve_checkpoint_and_command(filled: str, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "digits" / "0001" / "train.log"
    log.parent.mkdir(parents=True)
    log.write_text("epoch 0\n")
    text = ask("show", "1", "--store", filled).stdout
    assert "the best of the study" in text
    assert "val_loss      █▆▃▁  0.309 → 0.123" in text
    assert "epoch=0003.pt  1.23 MB  best  missing on the disk" in text
    assert "log: runs/digits/0001/train.log" in text
    assert "python 'train it.py' data=digits seed=3 optimizer=adam optimizer.lr=0.002469134 model.depth=2" in text


def test_show_a_failed_trial(filled: str) -> None:
    text = ask("show", "2", "--store", filled).stdout
    assert "error: ValueError: no such file" in text
    assert "… 17 lines above" in text
    assert "line 29" in text
    assert "line 3\n" not in text


def test_show_as_json_and_csv(filled: str) -> None:
    trial = json.loads(ask("show", "1", "--store", filled, "--format", "json").stdout)
    assert trial["params"]["model.depth"] == 2
    assert len(trial["epochs"]) == 4
    rows = list(csv.DictReader(io.StringIO(ask("show", "1", "--store", filled, "--format", "csv").stdout)))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]


def test_show_a_trial_without_parameters(url: str) -> None:
    store, study_id = filling.study(url)
    filling.claims.claim(store, study_id, filling.worker(store, study_id))
    assert "has not proposed them" in ask("show", "0", "--store", url).stdout


def test_status_says_how_it_stands(filled: str) -> None:
    text = ask("status", "--store", filled).stdout
    for word in ("digits", "running", "4/8 trials", "1 error", "ValueError: no such file", "trial 4", "left"):
        assert word in text
    assert "% useful" in text
    stands = json.loads(ask("status", "--store", filled, "--format", "json").stdout)
    assert (stands["done"], stands["budget"], stands["best"]["number"]) == (4, 8, 1)
    (row,) = csv.DictReader(io.StringIO(ask("status", "--store", filled, "--format", "csv").stdout))
    assert (row["trials.COMPLETE"], row["failures.error"]) == ("3", "1")


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_export(filled: str, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"trials.{ending}"
    assert "5 trials" in ask("export", str(file), "--store", filled).stdout
    text = file.read_text()
    rows = json.loads(text) if ending == "json" else list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 5
    assert float(rows[1]["value"]) == 0.123456789
    ask("export", str(file), "--epochs", "--store", filled)
    assert len(list(tmp_path.glob(f"*.{ending}"))) == 1


def test_export_refuses_what_it_cannot_write(filled: str) -> None:
    assert ".parquet" in ask("export", "trials.xlsx", "--store", filled, code=1).stderr
    assert "make it first" in ask("export", "nowhere/trials.csv", "--store", filled, code=1).stderr


def test_studies_the_newest_first(filled: str) -> None:
    filling.study(filled, "second", budget=3)
    lines = ask("studies", "--store", filled).stdout.splitlines()
    assert lines[0].split() == ["study", "state", "trials", "metric", "best", "of", "created", "(UTC)"]
    assert lines[2].split()[:6] == ["second", "empty", "0/3", "val_loss", "-", "-"]
    assert lines[3].split()[:7] == ["digits", "running", "4/8", "val_loss", "0.123", "trial", "1"]
    rows = json.loads(ask("studies", "--store", filled, "--format", "json").stdout)
    assert [(row["study"], row["best"], row["best_number"]) for row in rows] == [
        ("second", None, None),
        ("digits", 0.123456789, 1),
    ]
    assert rows[1]["created"].endswith("+00:00")
    (first, _) = csv.DictReader(io.StringIO(ask("studies", "--store", filled, "--format", "csv").stdout))
    assert (first["study"], first["best"]) == ("second", "")


def test_a_store_without_studies(url: str) -> None:
    filling.Store(url, create=True)
    assert "No study yet" in ask("studies", "--store", url).stdout


def test_the_version() -> None:
    assert ask("--version").stdout == f"sweeper {sweeper.__version__}\n"


# ---- failures, workers, events ---------------------------------------------------------------------------------------


def test_failures_by_cause(filled: str) -> None:
    text = ask("failures", "--store", filled).stdout
    assert "1 × error: ValueError: no such file\ntrial 2\n" in text
    assert "line 29" in text
    (cause,) = json.loads(ask("failures", "--store", filled, "--format", "json").stdout)
    assert (cause["count"], cause["failure"], cause["numbers"]) == (1, "error", [2])
    (row,) = csv.DictReader(io.StringIO(ask("failures", "--store", filled, "--format", "csv").stdout))
    assert (row["count"], row["message"]) == ("1", "ValueError: no such file")


def test_workers_and_events(filled: str) -> None:
    (worker,) = json.loads(ask("workers", "--store", filled, "--format", "json").stdout)
    assert (worker["trial"], worker["ending"], worker["device"]) == (4, "alive", "cpu")
    assert (worker["trials"], worker["load"]) == (5, None)
    assert worker["seconds_idle"] + worker["utilisation"] * worker["seconds"] == pytest.approx(worker["seconds"])
    assert "alive" in ask("workers", "--store", filled).stdout
    ask("pause", "--store", filled)
    found = json.loads(ask("events", "--store", filled, "--format", "json").stdout)
    assert [event["kind"] for event in found] == ["created", "failed", "paused"]
    assert all(event["user"] and event["time"].endswith("+00:00") for event in found)
    assert "trial 2: error: ValueError: no such file" in ask("events", "--store", filled).stdout
    assert len(ask("events", "--store", filled, "--last", "1").stdout.splitlines()) == 3
    assert len(ask("events", "--store", filled, "--last", "0").stdout.splitlines()) == 5


# ---- changes ---------------------------------------------------------------------------------------------------------


def record(url: str):
    return reads.study(filling.Store(url))


@pytest.mark.parametrize("words", [["2"], ["2", "2"], ["--all"], ["--reason", "error"]])
def test_retry_puts_failed_trials_back(filled: str, words: list[str]) -> None:
    assert "trial 2 waits" in ask("retry", *words, "--store", filled).stdout
    assert reads.trial(filling.Store(filled), 1, 2)["state"] == "WAITING"
    assert "no failed trial" in ask("retry", "--all", "--store", filled).stdout


def test_retry_refuses_what_did_not_fail(filled: str) -> None:
    assert "trial 1 is COMPLETE" in ask("retry", "1", "2", "--store", filled, code=1).stderr
    assert "0..4" in ask("retry", "9", "--store", filled, code=1).stderr
    assert "no failed trial of reason killed" in ask("retry", "--reason", "killed", "--store", filled).stdout
    assert reads.trial(filling.Store(filled), 1, 2)["state"] == "FAIL"


def test_retry_of_a_timeout_says_that_its_seconds_count(url: str) -> None:
    store, study_id = filling.study(url)
    lease = filling.begin(store, study_id, filling.worker(store, study_id), 1, 0.9)
    filling.fenced.finish(store, lease, TrialState.FAIL, failure=Failure.TIMEOUT, message="too long")
    assert "larger timeout" in ask("retry", "--all", "--store", url).stdout


def test_a_retried_trial_goes_on_to_its_end(url: str, tmp_path: Path) -> None:
    """Trial 1 fails once in its third epoch; the same call takes it up there, within the same budget."""
    trained: list[tuple[int, int]] = []

    def train(trial: sweeper.Trial) -> None:
        for epoch in trial.epochs(4, state={"generator": torch.Generator()}):
            if trial.number == 1 and epoch == 2 and (1, 2) not in trained:
                trained.append((1, 2))
                raise ValueError("wrong data")
            trained.append((trial.number, epoch))
            trial.report(loss=trial.params["x"] / (epoch + 1))

    def run() -> sweeper.Study:
        space = {"x": "interval(0.0, 1.0)"}
        return sweeper.run(
            train,
            study="demo",
            space=space,
            search="random",
            epochs=4,
            budget=3,
            metric="loss",
            store=url,
            folder=tmp_path,
        )

    assert run().trials()["state"].tolist() == ["COMPLETE", "FAIL", "COMPLETE"]
    before = record(url)
    ask("retry", "1", "--store", url)
    del trained[:]
    trained.append((1, 2))
    study = run()
    assert trained == [(1, 2), (1, 2), (1, 3)]
    assert study.trials()["state"].tolist() == ["COMPLETE"] * 3
    assert study.trials()["attempt"].tolist() == [1, 2, 1]
    assert study.epochs().groupby("number")["epoch"].apply(list).tolist() == [[0, 1, 2, 3]] * 3
    assert record(url).granted_epochs == before.granted_epochs == 12


def test_a_sweep_is_paused_retried_and_stopped_while_it_runs(url: str, tmp_path: Path) -> None:
    """The commands are given from within the training, as from another terminal; the pause ends by itself."""
    failed: list[int] = []

    def resume() -> None:  # not by `ask`, which two threads cannot use at once
        filling.writes.set_state(filling.Store(url), 1, StudyState.OPEN)

    def train(trial: sweeper.Trial) -> float:
        if trial.number == 0 and not failed:
            failed.append(0)
            raise ValueError("wrong data")
        if trial.number == 1:
            ask("pause", "--store", url)
            threading.Timer(0.2, resume).start()
        if trial.number == 2:
            ask("retry", "0", "--store", url)
            ask("set", "budget=9", "--store", url)
        if trial.number == 4:
            ask("stop", "--store", url)
        return trial.params["x"]

    with pytest.raises(sweeper.SweeperError, match="asked for by"):
        sweeper.run(train, study="demo", space={"x": "interval(0.0, 1.0)"}, budget=4, store=url, folder=tmp_path)
    states = [trial.state for trial in reads.all_trials(filling.Store(url), 1)]
    assert states == [TrialState.COMPLETE] * 5
    kinds = [event["kind"] for event in reads.event_rows(filling.Store(url), 1) if event["worker_id"] is None]
    assert kinds == ["created", "failed", "paused", "open", "retried", "budget", "stopped"]  # and a trial taken up


def test_pause_resume_stop(filled: str) -> None:
    assert "trial 4 trains to the end, then their workers wait" in ask("pause", "--store", filled).stdout
    assert record(filled).state == StudyState.PAUSED
    assert "is open: 1 worker goes on" in ask("resume", "--store", filled).stdout
    assert "then their workers leave" in ask("stop", "--store", filled).stdout
    assert record(filled).state == StudyState.STOPPED
    assert "sweeper resume opens it" in ask("pause", "--store", filled, code=1).stderr


def test_what_stands_so_already_is_no_event(filled: str) -> None:
    for command in ("pause", "pause", "resume", "resume"):
        ask(command, "--store", filled)
    kinds = [event["kind"] for event in reads.event_rows(filling.Store(filled), 1)]
    assert kinds == ["created", "failed", "paused", "open"]


def test_set_a_budget(filled: str) -> None:
    assert "room for 75 more" in ask("set", "budget=80", "--store", filled).stdout
    assert (record(filled).budget, record(filled).budget_epochs) == (80, 320)
    assert "no new trial begins" in ask("set", "budget=2.5", "--store", filled).stdout
    assert (record(filled).budget, record(filled).budget_epochs) == (2.5, 10)
    hand = filling.worker(filling.Store(filled), 1)
    assert filling.claims.claim(filling.Store(filled), 1, hand, grant_epochs=4) == "wait"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("workers=0", "at least 1"),
        ("workers=2.5", "whole number"),
        ("seed=3", "changes budget=NUMBER and workers=NUMBER"),
        ("budget", "above 0"),
        ("budget=many", "above 0"),
        ("budget=-1", "above 0"),
        ("budget=nan", "above 0"),
        ("budget=0.1", "one full training at least"),
    ],
)
def test_set_refuses_what_it_cannot(filled: str, change: str, word: str) -> None:
    assert word in ask("set", change, "--store", filled, code=1).stderr
    assert word in ask("set", "budget=80", change, "--store", filled, code=1).stderr
    assert record(filled).budget == 8


def test_set_workers_of_a_running_sweep(filled: str) -> None:
    said = ask("set", "workers=3", "budget=80", "--store", filled).stdout
    assert "budget of digits is 80 full trainings" in said
    assert "digits has 3 workers from now on (before: 1): 2 more start" in said
    assert (record(filled).workers, record(filled).budget) == (3, 80)
    assert "1 worker (3 asked for)" in ask("status", "--store", filled).stdout
    assert json.loads(ask("status", "--store", filled, "--format", "json").stdout)["workers_asked"] == 3
    event = json.loads(ask("events", "--store", filled, "--format", "json").stdout)[-1]
    assert (event["kind"], event["message"]) == ("workers", "workers set to 3")
    assert event["user"]
    assert event["time"]


def test_workers_are_not_set_where_nobody_hears_it(filled: str) -> None:
    store = filling.Store(filled)
    filling.claims.end_worker(store, 1, "left")
    assert "no worker of digits is alive" in ask("set", "budget=9", "workers=3", "--store", filled, code=1).stderr
    filling.worker(store, 1, engine="submitit_slurm")
    said = ask("set", "workers=3", "--store", filled, code=1).stderr
    assert "those of digits are of the engine submitit_slurm" in said
    assert "hydra.sweeper.workers=3" in said
    assert (record(filled).workers, record(filled).budget) == (None, 8)


def test_resume_ends_the_pause_of_a_device(filled: str) -> None:
    store = filling.Store(filled)
    filling.pause_device(store, 1, "gpu 1 of node", "RuntimeError: CUDA error")
    said = ask("status", "--store", filled).stdout
    assert "paused  gpu 1 of node, for about 5 min: 3 trials in a row failed there, the last with: RuntimeError" in said
    assert "1 worker goes on, gpu 1 of node tries again" in ask("resume", "--store", filled).stdout
    assert "paused" not in ask("status", "--store", filled).stdout
    before = len(json.loads(ask("events", "--store", filled, "--format", "json").stdout))
    ask("resume", "--store", filled)
    assert len(json.loads(ask("events", "--store", filled, "--format", "json").stdout)) == before


def test_a_worker_of_a_paused_device_is_shown_as_such(filled: str) -> None:
    store = filling.Store(filled)
    filling.pause_device(store, 1, f"cpu of {filling.process.host()}", "RuntimeError: CUDA error")
    (worker,) = json.loads(ask("workers", "--store", filled, "--format", "json").stdout)
    assert worker["ending"] == "paused"


def test_hide_and_unhide(filled: str) -> None:
    ask("hide", "1", "--why", "wrong data", "--store", filled)
    assert json.loads(ask("best", "--store", filled, "--format", "json").stdout)[0]["number"] == 3
    assert "COMPLETE hidden" in ask("trials", "--store", filled).stdout
    rows = json.loads(ask("trials", "--store", filled, "--format", "json").stdout)
    assert [row["hidden"] for row in rows] == [None, "wrong data", None, None, None]
    shown = ask("show", "1", "--store", filled).stdout
    assert "hidden: wrong data" in shown
    assert "the best of the study" not in shown
    ask("export", "trials.json", "--store", filled)
    assert json.loads(Path("trials.json").read_text())[1]["hidden"] == "wrong data"
    ask("unhide", "1", "--store", filled)
    assert json.loads(ask("best", "--store", filled, "--format", "json").stdout)[0]["number"] == 1
    assert "these are not: 1" in ask("unhide", "1", "--store", filled, code=1).stderr


# ---- little or nothing in the store ----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["table", "json", "csv"])
@pytest.mark.parametrize("command", ["status", "best", "trials", "failures", "workers", "events"])
def test_a_study_without_trials(url: str, command: str, format: str) -> None:
    filling.study(url)
    text = ask(command, "--store", url, "--format", format).stdout
    if format == "json":
        json.loads(text)
    elif format == "csv":
        assert len(list(csv.reader(io.StringIO(text)))) >= 1
    else:
        assert "digits" in text


def test_a_study_with_failures_alone(url: str) -> None:
    store, study_id = filling.study(url)
    filling.fail(store, study_id, filling.worker(store, study_id), "KeyError: \x1b[31m'x'\x1b[0m")
    assert "has no complete trial yet" in ask("best", "--store", url).stdout
    assert "KeyError: 'x'" in ask("status", "--store", url).stdout
    assert "FAIL error" in ask("trials", "--store", url).stdout
    assert "error: KeyError: 'x'" in ask("show", "0", "--store", url).stdout


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_errors_are_one_line_and_exit_1(url: str) -> None:
    assert ask("best", "--store", url, code=1).stderr.startswith("error: There is no store at ")
    filling.study(url)
    assert "it holds: digits" in ask("best", "--study", "other", "--store", url, code=1).stderr
    assert "has no trial yet" in ask("show", "0", "--store", url, code=1).stderr
    filling.running_study(f"{url}2")
    assert "0..4" in ask("show", "9", "--store", f"{url}2", code=1).stderr


@pytest.mark.parametrize(
    "words",
    [
        ["best", "--nonsense"], ["nonsense"], ["show"], ["trials", "--state", "LOST"],
        ["retry"], ["retry", "1", "--all"], ["retry", "--all", "--reason", "error"], ["retry", "--reason", "lost"],
        ["hide", "1"], ["hide", "1", "--why", " "], ["hide", "--why", "x"], ["set"],
    ],
)  # fmt: skip
def test_usage_errors_exit_2(words: list[str]) -> None:
    ask(*words, code=2)


def test_the_environment_names_the_store(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_STORE", filled)
    assert json.loads(ask("best", "--format", "json").stdout)[0]["number"] == 1


def test_a_closed_pipe_is_quiet(url: str) -> None:
    filling.many(url, 5000)
    reading, writing = os.pipe()
    os.close(reading)
    words = ["trials", "--store", url, "--format", "csv"]
    done = subprocess.run([sys.executable, "-c", MAIN, *words], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.stderr == b""


# ---- speed -----------------------------------------------------------------------------------------------------------


ASK_ALL = """
import json, sys
from sweeper.cli import main

store, *questions = map(json.loads, sys.argv[1:])
for words in questions:
    sys.argv = ["sweeper", *words, "--store", store]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
    heavy = {"torch", "optuna", "pandas", "hydra"} & set(sys.modules)
    assert not heavy, (words, heavy)
"""


def test_questions_import_nothing_heavy(filled: str) -> None:
    questions = [
        ["best", "--top", "3"], ["status"], ["show", "1"], ["export", "t.csv"], ["failures"], ["events"],
        ["studies"], ["trials", "--where", "lr < 1", "--sort", "-lr"], ["best", "--command"],
        ["best", "--where", "lr < 1"],
        ["curves"], ["curves", "1", "3"], ["compare", "1", "3"], ["sql"], ["sql", "select * from v_best"],
        ["export", "t.json", "--where", "lr < 1"],
        ["retry", "2"], ["pause"], ["set", "budget=9"], ["hide", "1", "--why", "x"],
    ]  # fmt: skip
    words = [json.dumps(each) for each in (filled, *questions)]
    done = subprocess.run([sys.executable, "-c", ASK_ALL, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_imports_neither_the_store_nor_rich() -> None:
    done = in_process("--help", after="print({'sqlalchemy', 'rich'} & set(sys.modules), file=sys.stderr)")
    assert "best" in done.stdout
    assert done.stderr.strip() == "set()"


def test_the_best_is_found_by_an_index(url: str) -> None:
    store, _ = filling.many(url, 5000)
    study = filling.record(store)
    (plan,) = filling.plans(store, reads.best, study, 5)
    assert "ix_trials_state (study_id=? AND state=? AND value>?)" in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE FOR ORDER BY" not in plan
    losses = [trial.value for trial in reads.best(store, study, 5)]
    assert losses == sorted(losses)
