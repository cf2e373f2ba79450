from __future__ import annotations

import csv
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from sweeper.cli import app
from sweeper.store import reads

filling = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "report" / "filling.py")))

MAIN = "from sweeper.cli import main; main()"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("SWEEPER_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'sweeper.db'}"


@pytest.fixture
def filled(url: str) -> str:
    filling.running_study(url)
    return url


def ask(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result


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
    assert "python 'train it.py' data=digits optimizer=adam optimizer.lr=0.002469134 model.depth=2" in text


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


# ---- little or nothing in the store ----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["table", "json", "csv"])
@pytest.mark.parametrize("command", ["status", "best", "trials"])
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


@pytest.mark.parametrize("words", [["best", "--nonsense"], ["nonsense"], ["show"], ["trials", "--state", "LOST"]])
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


@pytest.mark.parametrize("words", [["best", "--top", "3"], ["status"], ["show", "1"], ["export", "t.csv"]])
def test_questions_import_nothing_heavy(filled: str, words: list[str]) -> None:
    heavy = "print(sorted({'torch', 'optuna', 'pandas', 'hydra'} & set(sys.modules)), file=sys.stderr)"
    done = in_process(*words, "--store", filled, after=heavy)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"


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
