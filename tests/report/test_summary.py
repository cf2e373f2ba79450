from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import filling
from sweeper.report.terminal.summary import final_summary
from sweeper.store import writes
from sweeper.trial.command import train_command
from sweeper.words.records import StudyState


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return f"sqlite:///{tmp_path / 'sweeper.db'}"


def summary(store, command: str | None = None) -> str:
    stream = io.StringIO()
    final_summary(store, filling.record(store), command, stream)
    return stream.getvalue()


def test_a_complete_study(url: str) -> None:
    store, study_id = filling.study(url, budget=4)
    hand = filling.worker(store, study_id)
    for loss in (0.5, 0.1, 0.3):
        filling.complete(store, study_id, hand, loss)
    filling.fail(store, study_id, hand)
    text = summary(store, "python train.py optimizer.lr=0.1")
    assert "digits is complete: 4 of 4 trials (3 complete, 1 failed), 5.0 s of training." in text
    assert "1 error; the last is trial 3, error: ValueError: no such file" in text
    assert "python train.py optimizer.lr=0.1\n" in text
    assert "budget=6 runs exactly the rest" in text
    assert "sweeper best --study digits --store sqlite:///sweeper.db" in text
    assert "\x1b" not in text


def test_a_stopped_study(url: str) -> None:
    store, study_id = filling.study(url)
    writes.set_state(store, study_id, StudyState.STOPPED, "5 trials in a row failed")
    text = summary(store)
    assert "was stopped: 5 trials in a row failed: 0 of 8 trials" in text
    assert "Train" not in text


# ---- the command that trains again -----------------------------------------------------------------------------------


@pytest.fixture
def study(url: str):
    store, _ = filling.study(url)
    return filling.record(store)


def test_groups_come_first_and_the_seed_goes_beside_the_config(study) -> None:
    params = {"optimizer.lr": 0.1, "optimizer": "sgd", "model.activation": "leaky relu", "model.depth": 2}
    command = train_command(study, params, 7)
    assert command is not None
    assert shlex.split(command) == [
        "SWEEPER_SEED=7", "python", "train it.py", "data=digits", "seed=3", "optimizer=sgd", "optimizer.lr=0.1",
        "model.activation='leaky relu'", "model.depth=2",
    ]  # fmt: skip


def test_threads_and_seed_come_first(study) -> None:
    command = train_command(study, {"model.depth": 2}, 0, 4)
    assert command == "OMP_NUM_THREADS=4 SWEEPER_SEED=0 python 'train it.py' data=digits seed=3 model.depth=2"


def test_a_key_that_was_added_is_added_again(study) -> None:
    config = {**study.config, "added": ["extra"]}
    command = train_command(replace(study, config=config), {"extra": None}, None)
    assert command is not None
    assert command.endswith("seed=3 ++extra=null")


@pytest.mark.parametrize("config", [{}, {"script": {"path": "a.py"}}, {"variants": []}])
def test_a_python_study_has_no_command(study, config: dict) -> None:
    assert train_command(replace(study, config=config), {"lr": 1}, 0) is None


def test_the_script_is_named_from_here(study, tmp_path: Path) -> None:
    config = {**study.config, "script": {"path": str(tmp_path / "experiments" / "digits.py")}}
    command = train_command(replace(study, config=config), {}, None)
    assert command is not None
    assert command.startswith("python experiments/digits.py ")
