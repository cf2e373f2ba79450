"""A trial trained again: by its script, by its function, and what a store that somebody sent may not do."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import forks
import sweeper
from sweeper.cli import app
from sweeper.machine import devices
from sweeper.retraining import rerun, trust
from sweeper.store import process, reads
from sweeper.store.connection import Store
from sweeper.words.errors import ConfigError, StoreError

SCRIPT = """
import random, time
import hydra, sweeper

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def train(cfg):
    if cfg.how == "return":
        return cfg.lr / 3
    trial = sweeper.current_trial()
    draw = random.Random(trial.seed)
    for epoch in trial.epochs(cfg.epochs, state={}):
        if cfg.how == "diverge" and epoch == 1:
            trial.report(objective=float("nan"))
        trial.report(train_loss=draw.random(), objective=cfg.lr + cfg.net.width + draw.random(), number=trial.number)

train()
"""
CONFIG = """
defaults:
  - net: small
  - _self_
  - override hydra/sweeper: sweeper
  - override hydra/launcher: basic
lr: 0.1
epochs: 3
how: report
hydra:
  sweeper:
    budget: 8
    params:
      how: choice(report, return, diverge)
      net: choice(small, large)
      lr: interval(0.01, 1)
"""
NETS = {"small": "width: 1\n", "large": "width: 10\n"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    """A folder with a script whose config has no seed, and a study of its ways to train."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "net").mkdir()
    for name, text in {"train.py": SCRIPT, "config.yaml": CONFIG}.items():
        (folder / name).write_text(text)
    for name, text in NETS.items():
        (folder / "net" / f"{name}.yaml").write_text(text)
    done = forks.script(folder / "train.py", "--multirun", "hydra.sweeper.search=random", "epochs=4", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(swept: Path, copied: Path) -> Path:
    tamper("UPDATE studies SET config = replace(config, ?, ?)", str(swept / "train.py"), str(copied / "train.py"))
    return copied


def tamper(statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect("runs/sweeper.db")) as raw, raw:
        raw.execute(statement, values)


def rows(statement: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect("runs/sweeper.db")) as raw:
        return raw.execute(statement).fetchall()


def number_of(how: str) -> str:
    """The first trial that trained in that way."""
    return str(rows(f"SELECT min(number) FROM trials WHERE params LIKE '%{how}%'")[0][0])


def ask(*words: str, how: str = "report", code: int = 0) -> str:
    """Train such a trial again; what the command says."""
    result = CliRunner().invoke(app, ["rerun", number_of(how), *words])
    assert result.exit_code == code, result.output
    return result.stdout if code in (0, 1) and result.stdout else result.stderr


# ---- a script --------------------------------------------------------------------------------------------------------


def test_every_epoch_matches(folder: Path) -> None:
    before = [rows(f"SELECT * FROM {table}") for table in ("trials", "epochs", "studies", "workers")]
    left = set(Path(tempfile.gettempdir()).glob("sweeper-rerun-*"))
    text = ask()
    assert text.startswith(
        f"trial {number_of('report')} trained again: all 4 epochs of 3 metrics match to the last bit ("
    )
    assert before == [rows(f"SELECT * FROM {table}") for table in ("trials", "epochs", "studies", "workers")]
    (event,) = rows("SELECT kind, number, message FROM events ORDER BY id DESC LIMIT 1")
    assert event == ("rerun", int(number_of("report")), text.splitlines()[0])
    assert set(Path(tempfile.gettempdir()).glob("sweeper-rerun-*")) <= left


def test_the_first_number_that_differs_is_told(folder: Path) -> None:
    ((text,),) = rows(f"SELECT metrics FROM epochs WHERE number = {number_of('report')} AND epoch = 2")
    metrics = json.loads(text)
    was, metrics["objective"] = metrics["objective"], metrics["objective"] + 1e-15
    tamper(f"UPDATE epochs SET metrics = ? WHERE number = {number_of('report')} AND epoch = 2", json.dumps(metrics))
    answer = json.loads(ask("--format", "json", code=1))
    assert answer["first_difference"]["epoch"] == 2
    assert (answer["first_difference"]["then"], answer["first_difference"]["now"]) == (metrics["objective"], was)
    assert answer["differing"] == ["objective"]
    assert answer["environment"] == answer["changes"] == []
    assert "it differs from epoch 2 of 4 on" in rows("SELECT message FROM events ORDER BY id DESC LIMIT 1")[0][0]
    assert ask("--ignore", "objective").startswith(
        f"trial {number_of('report')} trained again: all 4 epochs of 2 metrics match"
    )


def test_another_seed_and_another_environment(folder: Path) -> None:
    tamper("UPDATE trials SET seed = seed + 1")
    tamper("UPDATE workers SET environment = json_set(environment, '$.torch', '1.0')")
    text = ask(code=1)
    assert "it differs from epoch 0 of 4 on, first in train_loss" in text
    assert "the environment differs:\n  torch         1.0 → " in text


def test_what_an_older_sweeper_has_not_recorded(folder: Path) -> None:
    tamper("UPDATE workers SET environment = NULL")
    assert ask().endswith("its environment was not recorded: an older sweeper trained it\n")


def test_a_changed_script_and_config_are_told(folder: Path) -> None:
    (folder / "train.py").write_text(SCRIPT.replace("epochs, state", "epochs + 3, state"))
    (folder / "config.yaml").write_text(CONFIG + "more: 1\n")
    text = ask()
    assert "+    for epoch in trial.epochs(cfg.epochs + 3, state={}):" in text
    assert "+more: 1" in text


def test_a_trial_that_stopped_early_is_trained_as_far_as_it_came(folder: Path) -> None:
    tamper("DELETE FROM epochs WHERE epoch >= 2")
    tamper("UPDATE trials SET state = 'PAUSED', epochs_done = 2")
    assert "all 2 epochs of 3 metrics match" in ask("--folder", "kept")
    assert [json.loads(line).get("epoch") for line in Path("kept/rerun.jsonl").read_text().splitlines()].count(
        None
    ) == 3
    assert '"epoch": 2' not in Path("kept/rerun.jsonl").read_text()
    assert "must be new or empty" in ask("--folder", "kept", code=1)


def test_a_returned_float_is_compared(folder: Path) -> None:
    assert "its only epoch of 1 metric matches to the last bit" in ask(how="return")


def test_a_trial_that_failed_fails_again(folder: Path) -> None:
    text = ask(how="diverge")
    assert "all 2 epochs of 3 metrics match to the last bit" in text
    assert "as it failed then (diverged)" in text


def test_a_script_that_does_not_start_is_told(folder: Path) -> None:
    (folder / "train.py").write_text("import nothing_of_that_name\n")
    assert "ended with exit code 1 before its training began" in ask(code=1)


def test_ctrl_c_ends_the_training(folder: Path) -> None:
    (folder / "train.py").write_text(
        SCRIPT.replace("draw = ", "time.sleep(600 if sweeper.current_trial() else 0); draw = ")
    )
    code = "from sweeper.cli import main; main()"
    place = folder / "kept"
    driver = subprocess.Popen([sys.executable, "-c", code, "rerun", number_of("report"), "--folder", str(place)])
    deadline = time.monotonic() + 60
    while not (place / "rerun.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (child,) = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
    started = process.start_time(int(child))
    os.kill(driver.pid, signal.SIGINT)
    assert driver.wait(30) != 0
    assert not process.is_alive(int(child), started)


def test_the_printed_command_gives_the_seed_to_a_config_without_one(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["show", number_of("report"), "--format", "json"]).stdout
    command = shlex.split(json.loads(shown)["command"])
    names = dict(word.split("=") for word in command if word.isupper() or word.startswith(("OMP", "SWEEPER")))
    assert int(names["SWEEPER_SEED"]) == json.loads(shown)["seed"]
    overrides = command[command.index("train.py") + 1 :]
    alone = subprocess.run(
        [sys.executable, "train.py", *overrides],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        check=True,
    )
    last = json.loads(shown)["epochs"][-1]["metrics.train_loss"]
    assert f"epoch 3  train_loss {last:.4g}" in alone.stdout + alone.stderr


def test_a_seed_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_SEED", "lucky")
    with pytest.raises(ConfigError, match="SWEEPER_SEED is a whole number"):
        sweeper.current_trial()


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_script_that_is_gone(folder: Path) -> None:
    (folder / "train.py").rename("moved.py")
    assert "must be there to be run again" in ask(code=1)
    assert "match to the last bit" in ask("--script", "moved.py")


def test_a_script_elsewhere_must_be_named(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "train.py"
    other.write_text("open('ran', 'w')")
    tamper("UPDATE studies SET config = json_set(config, '$.script.path', ?)", str(other))
    assert "only those in the current folder are run" in ask(code=1)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "override",
    [
        "model._target_=os.system",
        "+x={_target_:os.system}",
        "hydra.run.dir=/tmp",
        "hydra/launcher=joblib",
        "+net@hydra.sweeper=large",
        "++hydra.searchpath=[/tmp]",
        "--config-dir=/tmp",
        "-cd",
        "x=${eval:1}",
        "x=$\\{eval:1}",
        "net=../../evil",
        "net='../evil'",
        "./net=../evil",
        "net=[small,../evil]",
        "net@place.here=../evil",
    ],
)
def test_an_override_of_a_store_only_sets_values(override: str) -> None:
    with pytest.raises(ConfigError, match="may only set values"):
        trust.overrides_of_trust(["lr=0.1", override])


@pytest.mark.parametrize("override", ["data.path=../data", "~net", "+a.b=[1,2]", "x='a b'", "x=1..2", "hydrant.size=3"])
def test_values_pass(override: str) -> None:
    assert trust.overrides_of_trust([override]) == [override]


def test_a_foreign_override_runs_nothing(folder: Path) -> None:
    tamper("UPDATE studies SET config = json_set(config, '$.fixed[0]', 'hydra.job.name=x')")
    assert "may only set values" in ask(code=1)


def test_a_trial_without_an_epoch_has_nothing_to_compare(folder: Path) -> None:
    tamper("DELETE FROM epochs")
    assert "must have reported an epoch" in ask(code=1)


@pytest.mark.parametrize("device", ["tpu", "cpu:1", "cuda:x", "cuda:"])
def test_an_unknown_device(folder: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpus", lambda: [])
    assert ("A device is" if device != "cuda:" else "GPUs here is none") in ask("--device", device, code=1)


def test_the_trials_own_gpu_is_found_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [devices.Gpu(index, f"GPU-{index}", "H200", 0, 0) for index in range(2)]
    monkeypatch.setattr(devices, "gpus", lambda: found)
    tamper("UPDATE workers SET device = 'cuda:0', slot = 'gpu 1', host = ?", process.host())
    store = Store("sqlite:///runs/sweeper.db")
    before = rerun.Before.of(store, reads.study(store), 1)
    slots = [before.slot(), before.slot("cuda:0"), before.slot("cpu")]
    assert [slot.environment.get("CUDA_VISIBLE_DEVICES") for slot in slots] == ["GPU-1", "GPU-0", None]
    assert [slot.device for slot in slots] == ["cuda:0", "cuda:0", "cpu"]
    assert {slot.threads for slot in slots} == {before.threads}
    with pytest.raises(ConfigError, match="cuda:0, cuda:1"):
        before.slot("cuda:2")
    store.close()


# ---- a function ------------------------------------------------------------------------------------------------------


def noisy(trial: sweeper.Trial) -> None:
    import random

    draw = random.Random(trial.seed)
    for _ in trial.epochs(3, state={}):
        trial.report(val_loss=trial.params["x"] + draw.random())


def forgetful(trial: sweeper.Trial) -> None:
    for epoch in trial.epochs(3, state={}):
        trial.report(val_loss=os.getpid() + epoch)


def broken(trial: sweeper.Trial) -> None:
    noisy(trial)
    raise ValueError("at the end")


@pytest.fixture
def study(tmp_path: Path, forked: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    return sweeper.run(
        noisy, study="demo", space={"x": "interval(0, 1)"}, epochs=3, budget=2, metric="val_loss", search="random"
    )


def test_a_function_is_run_again_in_a_fresh_process(study) -> None:
    outcome = study.rerun(1, noisy)
    assert outcome.matches
    assert str(outcome).startswith("trial 1 trained again: all 3 epochs of 1 metric match to the last bit")
    assert reads.event_rows(study._store, study.record.id)[-1]["kind"] == "rerun"


def test_another_function_differs_and_is_told(study) -> None:
    outcome = study.rerun(1, forgetful)
    assert (outcome.matches, outcome.first.epoch) == (False, 0)
    assert "+def forgetful(trial: sweeper.Trial)" in outcome.changes[0]


def test_a_function_that_fails(study) -> None:
    outcome = study.rerun(1, broken)
    assert outcome.matches
    assert "the training ended with ValueError: at the end" in str(outcome)


def test_the_command_line_says_how_a_function_is_run_again(study) -> None:
    result = CliRunner().invoke(app, ["rerun", "1"])
    assert result.exit_code == 1
    assert "load_study('demo').rerun(NUMBER, train)" in result.stderr


def test_a_script_is_no_function(folder: Path) -> None:
    with pytest.raises(ConfigError, match="sweeper rerun 1"):
        sweeper.load_study().rerun(1, noisy)
    with pytest.raises(StoreError, match="number"):
        sweeper.load_study().rerun(9, noisy)
