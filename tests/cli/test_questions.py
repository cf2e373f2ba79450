"""The command line's questions: some trials of many, trials side by side, SQL, and the formats."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import filling
from asking import ask
from sweeper.report import formats
from sweeper.report.terminal import watch
from sweeper.store import fenced
from sweeper.sweep.study import load_study
from sweeper.words.records import EpochReport, Failure, TrialState


@pytest.fixture(autouse=True)
def _by_default(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store need not be named."""
    monkeypatch.setenv("SWEEPER_STORE", url)


def told(*words: str) -> list[dict]:
    return json.loads(ask(*words, "--format", "json").stdout)


def numbers(*words: str) -> list[int]:
    return [row["number"] for row in told(*words)]


# ---- some of the trials ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--where", "lr > 0.003"], [2, 3, 4]),
        (["--where", "params.optimizer.lr > 0.003 and state == 'COMPLETE'"], [3]),
        (["--where", "optimizer == 'adam'", "--state", "COMPLETE"], [1, 3]),
        (["--where", "failure is not None"], [2]),
        (["--sort", "val_loss"], [1, 3, 4, 0, 2]),
        (["--sort", "-value"], [0, 4, 3, 1, 2]),
        (["--sort", "optimizer", "--sort", "-lr"], [3, 1, 4, 2, 0]),
        (["--top", "2"], [1, 3]),
        (["--sort", "-lr", "--top", "2"], [4, 3]),
        (["--where", "lr > 0.002", "--last", "2"], [3, 4]),
        (["--last", "2", "--sort", "-number"], [4, 3]),
        (["--stage", "search"], [0, 1, 2, 3, 4]),
        (["--stage", "0", "--top", "1"], [1]),
    ],
)
def test_trials_are_chosen_and_ordered(filled: str, words: list[str], found: list[int]) -> None:
    assert numbers("trials", *words) == found


def test_what_is_missing_comes_last_both_ways(filled: str) -> None:
    assert numbers("trials", "--sort", "period")[-2:] == numbers("trials", "--sort", "-period")[-2:] == [1, 3]


def test_a_table_shows_what_was_asked_by(filled: str) -> None:
    head = ask("trials", "--where", "train_loss > 0", "--sort", "device").stdout.splitlines()[0].split()
    assert {"train_loss", "device"} <= set(head)
    assert head.count("lr") == 1
    assert "seconds" in ask("best", "--where", "seconds > 0").stdout.splitlines()[0].split()


def test_a_sorted_table_of_many_is_bounded(url: str) -> None:
    filling.many(url, 300)
    result = ask("trials", "--sort", "-number")
    assert result.stdout.splitlines()[2].split()[0] == "299"
    assert len(result.stdout.splitlines()) == 102
    assert "the first 100; all of them: --last 0" in result.stderr
    assert len(ask("trials", "--sort", "-number", "--last", "0").stdout.splitlines()) == 302
    newest = ask("trials", "--where", "number < 200")
    assert newest.stdout.splitlines()[-1].split()[0] == "199"


def test_the_best_where(filled: str) -> None:
    assert numbers("best", "--where", "optimizer == 'sgd'") == [0]
    assert numbers("best", "--where", "lr > 0", "--top", "9") == [1, 3, 0]
    ask("hide", "1", "--why", "x")
    assert numbers("best", "--where", "lr > 0", "--top", "9") == [3, 0]
    assert "no complete trial where lr > 9" in ask("best", "--where", "lr > 9").stdout


def test_where_of_failures_workers_and_events(filled: str) -> None:
    assert [row["numbers"] for row in told("failures", "--where", "lr > 0.003")] == [[2]]
    assert told("failures", "--where", "lr < 0.003") == []
    assert "no failed trial where lr < 0.003" in ask("failures", "--where", "lr < 0.003").stdout
    assert len(told("workers", "--where", "ending == 'alive' and engine == 'local'")) == 1
    assert "no worker where trial == 77" in ask("workers", "--where", "trial == 77").stdout
    assert {row["kind"] for row in told("events", "--where", "kind == 'created'")} == {"created"}
    assert "there are: id, host" in ask("workers", "--where", "gpu == 1", code=1).stderr


def test_export_some(filled: str) -> None:
    ask("export", "some.json", "--where", "optimizer == 'adam'", "--sort", "-lr")
    assert [row["number"] for row in json.loads(Path("some.json").read_text())] == [3, 1]
    assert "8 epochs" in ask("export", "some.csv", "--where", "optimizer == 'adam'", "--epochs").stdout
    assert {row["number"] for row in csv.DictReader(io.StringIO(Path("some.csv").read_text()))} == {"1", "3"}


def test_the_stage_of_those_that_confirm(url: str) -> None:
    stages = [{"name": "coarse", "sampler": "random", "epochs": 4}, {"name": "fine", "sampler": "random", "epochs": 4}]
    plan = {"search": "x", "stages": stages, "confirm": {"top": 1, "seeds": 1}}
    store, study = filling.study(url, plan=plan)
    hand = filling.worker(store, study)
    filling.complete(store, study, hand, 0.5)
    filling.complete(store, study, hand, 0.4)
    with store.write() as connection:
        trials = filling.schema.trials
        connection.execute(trials.update().where(trials.c.number == 1).values(repeats=0))
    assert (numbers("trials", "--stage", "coarse"), numbers("trials", "--stage", "fine")) == ([0], [])
    assert numbers("trials", "--stage", "confirm") == numbers("trials", "--stage", "2") == [1]
    assert "coarse, fine, confirm, but got 'finest'" in ask("trials", "--stage", "finest", code=1).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trials", "--where", "lr = 1"], "`==` compares"),
        (["trials", "--where", "rate < 1"], "params.optimizer.lr, params.model.depth"),
        (["trials", "--sort", "rate"], "rate is of none"),
        (["trials", "--stage", "fine"], "is one of search, but got 'fine'"),
        (["best", "--where", "__import__('os')"], "cannot be read|holds"),
        (["export", "t.csv", "--where", "lr"], "compare it with something"),
        (["curves", "--metric", "loss"], "train_loss, val_accuracy"),
        (["curves", "9"], "0..4"),
        (["compare", "1"], "Two trials or more"),
        (["compare", "1", "1"], "Two trials or more"),
        (["compare", "1", "9"], "0..4"),
        (["sql", "delete from trials"], "only asks"),
        (["sql", "select lod from v_best"], "no such column: lod"),
    ],
)
def test_what_is_wrong_is_one_line(filled: str, words: list[str], said: str) -> None:
    error = ask(*words, code=1).stderr
    assert any(each in error for each in said.split("|"))
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["best", "--command", "--format", "json"], ["status", "--watch", "--format", "json"], ["trials", "--top", "0"],
        ["curves", "1", "--where", "lr < 1"], ["compare"], ["compare", "one", "two"], ["trials", "--format", "xlsx"],
    ],
)  # fmt: skip
def test_usage_errors_exit_2(filled: str, words: list[str]) -> None:
    ask(*words, code=2)


# ---- the line that trains the winner ---------------------------------------------------------------------------------


def test_the_command_of_the_best_is_all_that_is_said(filled: str) -> None:
    result = ask("best", "--command")
    assert result.stdout.count("\n") == 1
    assert "python 'train it.py' data=digits seed=3 optimizer=adam optimizer.lr=0.002469134" in result.stdout
    assert result.stderr == ""
    assert result.stdout.strip() in ask("show", "1").stdout
    lines = ask("best", "--command", "--top", "2").stdout.splitlines()
    assert ["model.depth=2" in lines[0], "model.depth=4" in lines[1]] == [True, True]
    assert "model.depth=1" in ask("best", "--command", "--where", "optimizer == 'sgd'").stdout


def test_the_winner_is_the_one_that_was_confirmed(filled: str) -> None:
    store = filling.Store(filled)
    ask("set", "budget=20")
    for again, value in ((1, 0.9), (1, 0.8), (3, 0.3), (3, 0.31)):
        lease = filling.complete(store, 1, 1, value)
        with store.write() as connection:
            trials, studies = filling.schema.trials, filling.schema.studies
            connection.execute(trials.update().where(trials.c.number == lease.number).values(repeats=again))
            connection.execute(studies.update().values(confirmed=10_000))
    assert "model.depth=4" in ask("best", "--command").stdout


def test_there_may_be_no_command(url: str) -> None:
    store, study = filling.study(url, config={"script": None})
    assert "no such complete trial" in ask("best", "--command", code=1).stderr
    filling.complete(store, study, filling.worker(store, study), 0.5)
    said = ask("best", "--command", code=1)
    assert "sweeper.load_study('digits').rerun(0, function)" in said.stderr
    assert said.stdout == ""
    with store.write() as connection:
        connection.execute(filling.schema.studies.update().values(config={}))
    assert "imported from Optuna, which knows no script: sweeper show 0" in ask("best", "--command", code=1).stderr


# ---- side by side ----------------------------------------------------------------------------------------------------


def test_curves_are_on_one_scale(filled: str) -> None:
    text = ask("curves", "0", "1").stdout
    assert "val_loss, bars from 0.123 to 1.25" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["trial", "state", "curve", "first", "last", "least", "at", "epoch"] in lines
    assert ["epoch", "trial", "0", "trial", "1"] in lines
    assert ["3", "0.500", "0.123"] in lines


def test_curves_of_other_lengths_have_gaps(filled: str) -> None:
    rows = ask("curves", "1", "4").stdout.splitlines()
    assert rows[-1].split() == ["3", "0.123"]
    assert rows[-3].split() == ["1", "0.247", "0.400"]


def test_curves_in_full_are_a_row_for_each_epoch(filled: str) -> None:
    rows = told("curves", "1", "4")
    assert [(row["number"], row["epoch"]) for row in rows] == [(1, 0), (1, 1), (1, 2), (1, 3), (4, 0), (4, 1)]
    assert rows[3]["metrics.val_loss"] == rows[3]["value"] == 0.123456789
    assert "metrics.train_loss" in rows[0]
    flat = list(csv.DictReader(io.StringIO(ask("curves", "1", "4", "--format", "csv").stdout)))
    assert [row["epoch"] for row in flat] == ["0", "1", "2", "3", "0", "1"]


def test_curves_of_the_best_or_of_some(filled: str) -> None:
    assert {row["number"] for row in told("curves", "--top", "2")} == {1, 3}
    assert {row["number"] for row in told("curves", "--where", "optimizer == 'sgd'")} == {0, 2, 4}
    text = ask("curves", "1", "--metric", "train_loss", "--metric", "val_accuracy").stdout
    assert "train_loss, bars" in text
    assert "val_accuracy, bars" in text
    assert "least" not in text
    assert "at epoch" in ask("curves", "1").stdout


def test_long_curves_are_thinned_in_a_table_alone(url: str) -> None:
    store, study = filling.study(url, epochs=300)
    lease = filling.begin(store, study, filling.worker(store, study), 0, 1.0, grant=300)
    for epoch in range(300):
        fenced.report(store, lease, EpochReport(0, epoch, {"val_loss": 300.0 - epoch}, 0.1), 300.0 - epoch)
    fenced.finish(store, lease, TrialState.COMPLETE, value=1.0, seconds=30.0)
    lines = ask("curves").stdout.splitlines()
    assert len(lines[3].split()[2]) == 40
    assert "20 of 300 epochs" in lines[-1]
    assert lines[-2].split() == ["299", "1.00"]
    assert len(told("curves")) == 300


def test_curves_of_nothing(url: str) -> None:
    store, study = filling.study(url)
    assert "has no such trial" in ask("curves").stdout
    assert told("curves") == []
    filling.begin(store, study, filling.worker(store, study), 0, 1.0)
    assert "No epoch of these trials was reported yet" in ask("curves", "0").stdout
    assert ask("curves", "0", "--format", "csv").stdout == "number,epoch,value\n"


def test_compare_says_what_differs(filled: str) -> None:
    lines = [line.split() for line in ask("compare", "0", "1").stdout.splitlines()]
    depth = next(line for line in lines if line and line[0] == "depth")
    assert depth == ["depth", "1", "├─●─────────┤", "2", "├────●──────┤", "1", "…", "4"]
    assert ["optimizer", "sgd", "adam", "sgd", "|", "adam"] in lines
    assert ["period", "3", "├───●───────┤", "-", "1", "…", "9"] in lines
    assert ["the", "same:", "model.activation", "relu"] in lines
    assert ["val_loss", "0.500", "0.123"] in lines
    assert not any(line[:1] == ["state"] for line in lines)


def test_compare_in_full(filled: str) -> None:
    found = told("compare", "0", "1", "2")
    (lr,) = [row for row in found["parameters"] if row["name"] == "optimizer.lr"]
    assert lr["values"] == [0.001234567 * (number + 1) for number in range(3)]
    assert lr["range"] == [1e-5, 0.1]
    assert lr["positions"][0] == pytest.approx(0.5228, abs=1e-3)
    (state,) = [row for row in found["results"] if row["name"] == "state"]
    assert (state["values"], state["differ"]) == (["COMPLETE", "COMPLETE", "FAIL"], True)
    assert [len(each["epochs"]) for each in found["curves"]] == [4, 4, 1]
    rows = list(csv.DictReader(io.StringIO(ask("compare", "0", "1", "--format", "csv").stdout)))
    assert list(rows[0])[:6] == ["kind", "name", "differ", "trial.0", "trial.1", "position.0"]
    assert float(rows[0]["trial.1"]) == 0.001234567 * 2


def test_compare_says_where_they_were_trained(filled: str) -> None:
    store = filling.Store(filled)
    other = filling.worker(store, 1)
    with store.write() as connection:
        table = filling.schema.workers
        for worker, version in ((1, "2.1"), (other, "2.2")):
            then = {"torch": version, "threads": 1}
            connection.execute(table.update().where(table.c.id == worker).values(environment=then))
    filling.complete(store, 1, other, 0.2)
    assert ["torch", "2.1", "2.2"] in [line.split() for line in ask("compare", "1", "5").stdout.splitlines()]


@pytest.mark.parametrize("columns", ["80", "160"])
@pytest.mark.parametrize("words", ["compare 0 1", "compare 0 1 2", "curves 0 1 2 3 4", "show 1", "show 2", "sql"])
def test_no_line_is_wider_than_the_terminal(
    filled: str, monkeypatch: pytest.MonkeyPatch, words: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    copied = ("SWEEPER_SEED=", "/", "runs/")  # commands and paths are to be copied whole
    lines = ask(*words.split()).stdout.splitlines()
    assert not [line for line in lines if len(line) > int(columns) and not line.startswith(copied)]


# ---- show ------------------------------------------------------------------------------------------------------------


def test_show_has_the_places_in_the_ranges(filled: str) -> None:
    lines = ask("show", "1").stdout.splitlines()
    assert "model.depth       2        ├────●──────┤   1 … 4" in lines
    assert "optimizer         adam                     sgd | adam" in lines
    rows = json.loads(ask("show", "1", "--format", "json").stdout)["places"]
    assert [(row["parameter"], row["position"]) for row in rows][1:3] == [
        ("model.depth", 0.375),
        ("model.activation", None),
    ]


def test_a_value_outside_its_range_stands_beside_it(filled: str) -> None:
    store = filling.Store(filled)
    space = [{**each, "low": 3} if each["name"] == "model.depth" else each for each in filling.SPACE]
    row = {"study_id": 1, "move": 1, "stage": 0, "kind": "narrowed", "space": space, "trials": 3, "reason": "x"}
    with store.write() as connection:
        connection.execute(filling.schema.moves.insert().values(row))
    assert "●├───────────┤  3 … 4, outside it now" in ask("show", "1").stdout


def test_show_has_the_end_of_the_log_of_a_failure(filled: str, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "digits" / "0002" / "train.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {i} \x1b[31mred\x1b[0m\n" for i in range(5000)))
    text = ask("show", "2").stdout
    assert "the end of its log" in text
    assert "line 4999 red\n" in text
    assert "line 4980" not in text
    assert "log_end" in json.loads(ask("show", "2", "--format", "json").stdout)
    assert "the end of its log" not in ask("show", "1").stdout


# ---- SQL -------------------------------------------------------------------------------------------------------------


def test_sql_in_each_format(filled: str) -> None:
    query = "select number, value, params, null as gap from v_best order by rank limit 2"
    lines = ask("sql", query).stdout.splitlines()
    assert lines[2].split()[:3] == ["1", "0.123", "optimizer.lr=0.00247"]
    assert told("sql", query)[0]["params"]["model.depth"] == 2
    assert "2001-09-09 01:46:40" in ask("sql", "select 1e9 as created").stdout
    assert told("sql", "select 1e9 as created") == [{"created": 1e9}]
    assert told("sql", query)[0]["value"] == 0.123456789
    assert ask("sql", query, "--format", "csv").stdout.splitlines()[0] == "number,value,params,gap"
    assert "gives no row" in ask("sql", "select * from v_best where 0").stdout
    assert ask("sql", "select number from v_best where 0", "--format", "csv").stdout == "number\n"


def test_sql_without_a_query_names_the_views(filled: str) -> None:
    assert "v_best\n  study, rank, number" in ask("sql").stdout
    assert [row["view"] for row in told("sql")] == ["v_trials", "v_epochs", "v_best"]


# ---- formats ---------------------------------------------------------------------------------------------------------

TELLING = ["trials", "best", "show 1", "curves", "compare 1 3", "status", "workers", "events", "sql"]


@pytest.mark.parametrize("words", ["trials", "status", "export t.parquet"])
def test_parquet_needs_pyarrow(filled: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    asked = words.split() if "export" in words else [*words.split(), "--format", "parquet"]
    result = ask(*asked, code=1)
    assert "pip install 'sweeper-hpo[parquet]'" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("words", TELLING)
def test_parquet_is_typed(filled: str, words: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(ask(*words.split(), "--format", "parquet").stdout_bytes))
    assert table.num_columns == len(ask(*words.split(), "--format", "csv").stdout.splitlines()[0].split(","))
    if words == "trials":
        assert str(table.schema.field("params.optimizer.lr").type) == "double"
        assert "timestamp" in str(table.schema.field("started").type)


def test_parquet_is_not_for_a_terminal(
    filled: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = sys.modules["sweeper.cli.app"]
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(
        commands, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True), stderr=sys.stderr)
    )
    ask("trials", "--format", "parquet", code=1)
    assert "> FILE.parquet" in capsys.readouterr().err


# ---- watching, completion --------------------------------------------------------------------------------------------


def test_watching_ends_with_the_study_and_by_ctrl_c(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", pause)
    assert "4 done before" in ask("status", "--watch").stdout
    assert len(looks) == 2
    store = filling.Store(filled)
    with store.write() as connection:
        connection.execute(filling.schema.trials.update().values(state="COMPLETE", finished=1.0))
        connection.execute(filling.schema.studies.update().values(granted_epochs=32))
    ask("status", "-w")
    assert len(looks) == 2


def completed(*words: str, store: str = "") -> list[str]:
    code = "import sys; sys.argv[0] = 'sweeper'; from sweeper.cli import main; main()"
    asked = {"_SWEEPER_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    environment = {**os.environ, **asked, **({"SWEEPER_STORE": store} if store else {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_studies_and_trials(filled: str) -> None:
    assert completed("sweeper", "best", "--study", "d") == ["digits"]
    assert completed("sweeper", "show", "") == ["0", "1", "2", "3", "4"]
    assert completed("sweeper", "show", "", store="sqlite:///nowhere.db") == []


# ---- what the curves say ---------------------------------------------------------------------------------------------


def overfit(url: str) -> None:
    """Trial 0 of a study overfits, with monitors; trial 1 diverged at its first epoch."""
    store, study_id = filling.study(url, epochs=8)
    hand = filling.worker(store, study_id)
    lease = filling.begin(store, study_id, hand, 0, 0.0, grant=8)
    for epoch in range(8):
        metrics = {"train_loss": 2.0 / (epoch + 1) ** 2, "val_loss": 1.5 + 0.1 * epoch, "monitor/lr": 0.01}
        fenced.report(store, lease, EpochReport(0, epoch, metrics, 0.25), metrics["val_loss"])
    fenced.finish(store, lease, TrialState.COMPLETE, value=2.2, seconds=1.5)
    lost = filling.begin(store, study_id, hand, 1, 1e9)
    fenced.finish(store, lost, TrialState.FAIL, failure=Failure.DIVERGED, message="Diverged: train_loss is nan")
    store.close()


def test_a_trial_is_diagnosed_in_every_format_and_on_its_sheet(url: str) -> None:
    overfit(url)
    text = ask("diagnose", "0").stdout
    assert text.startswith(
        "trial 0 of digits\n\nbad  It overfits: the loss is 0.0312 in training and 2.2 in validation"
    )
    assert "\n  try: more examples" in text
    assert "\n  after CS231n" in text
    (row,) = told("diagnose", "0")
    assert row["kind"] == "overfitting"
    assert row["evidence"]["lowest"] == 1.5
    assert ask("diagnose", "0", "--format", "csv").stdout.splitlines()[0] == "kind,severity,sentence,cure,source"
    sheet = ask("show", "0").stdout
    assert "what the curves say\nIt overfits" in sheet
    assert told("show", "0")["findings"] == [row]
    assert "It diverged after 1 epoch" in ask("diagnose", "1").stdout


def test_a_trial_that_goes_well_and_one_that_there_is_not(filled: str) -> None:
    assert ask("diagnose", "4").stdout == ("trial 4 of digits\n2 epochs: too few to say anything by the curves.\n")
    assert "A trial's number is in 0..4, but got 9." in ask("diagnose", "9", code=1).stderr


def test_a_study_is_diagnosed_as_a_whole(url: str) -> None:
    overfit(url)
    text = ask("diagnose").stdout
    assert text.startswith("study digits\n\nbad  Trial 0, the best: it overfits")
    assert [row["kind"] for row in told("diagnose")] == ["overfitting"]
    study = load_study("digits", url)
    assert [finding.kind for finding in study.diagnose()] == ["overfitting"]
    assert [finding.kind for finding in study.diagnose(1)] == ["diverged"]


def test_a_study_without_a_fault_or_a_trial_says_so(url: str) -> None:
    filling.study(url)
    assert "Nothing to mend" in ask("diagnose").stdout


def test_the_views_are_listed_without_padding(filled):
    assert max(map(len, ask("sql").stdout.splitlines())) < 400
