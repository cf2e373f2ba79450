from __future__ import annotations

import io
from pathlib import Path

import pytest

import filling
from sweeper.analysis import causes
from sweeper.report.terminal import causes as drawn
from sweeper.report.terminal import tables
from sweeper.store import corrections, fenced
from sweeper.words.records import Failure, TrialState


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Trial 0 KeyError, trials 1 to 3 a size that differs, trial 4 a timeout without a traceback; 3 has a log."""
    monkeypatch.chdir(tmp_path)
    store, study_id = filling.study(f"sqlite:///{tmp_path / 'sweeper.db'}")
    hand = filling.worker(store, study_id, log=str(tmp_path / "worker"))
    filling.fail(store, study_id, hand, "KeyError: 'x'")
    for size in (10, 2.5, 3e-7):
        filling.fail(store, study_id, hand, f"ValueError: {size} items do not fit")
    hung = filling.begin(store, study_id, hand, 1, 0.9)
    fenced.finish(store, hung, TrialState.FAIL, failure=Failure.TIMEOUT, message="it took longer than 5 s")
    log = tmp_path / "runs" / "digits" / "0003" / "train.log"
    log.parent.mkdir(parents=True)
    log.write_text("x\n")
    return store, filling.record(store)


def test_causes_are_told_apart_by_their_words_and_not_by_their_numbers(filled) -> None:
    found = causes.collect(*filled)
    assert [(cause["count"], cause["failure"], cause["numbers"]) for cause in found] == [
        (3, "error", [1, 2, 3]),
        (1, "error", [0]),
        (1, "timeout", [4]),
    ]
    assert found[0]["message"] == "ValueError: 3e-07 items do not fit"
    assert found[0]["traceback"].startswith("Traceback (most recent call last)")
    assert found[0]["told_by"] == 3


def test_a_cause_names_its_trials_log_or_else_its_workers(filled) -> None:
    logs = [cause["log"] for cause in causes.collect(*filled)]
    assert logs[0] == "runs/digits/0003/train.log"
    assert logs[1].endswith("worker")


def test_without_a_message_the_traceback_says_the_cause() -> None:
    assert causes._said({"message": None, "traceback": "Traceback\n  File\nKeyError: 'y'\n"}) == "KeyError: 'y'"
    assert causes._said({"message": None, "traceback": None}) == ""


def test_what_may_be_tried_again(filled) -> None:
    store, study = filled
    assert causes.numbers(store, study) == [0, 1, 2, 3, 4]
    assert causes.numbers(store, study, Failure.ERROR) == [0, 1, 2, 3]
    corrections.hide(store, study.id, [2], "wrong data")
    assert causes.numbers(store, study, Failure.ERROR) == [0, 1, 3]


def test_the_page_has_one_tail_for_each_cause(filled) -> None:
    stream = io.StringIO()
    tables.page(stream).print(drawn.draw(*filled, causes.collect(*filled)), crop=False)
    text = stream.getvalue()
    assert "3 × error: ValueError: 3e-07 items do not fit\ntrials 1, 2, 3\n" in text
    assert text.count("the traceback of trial") == 2
    assert "(24 lines above left out)" in text
    assert "log: runs/digits/0003/train.log" in text
    assert "1 × timeout: it took longer than 5 s\ntrial 4\n" in text
    assert "sweeper retry --reason error --study digits --store sqlite:///sweeper.db" in text


def test_many_trials_are_counted() -> None:
    assert drawn._listed(range(20)) == "0, 1, 2, 3, 4, 5, 6, 7, … and 12 more"
