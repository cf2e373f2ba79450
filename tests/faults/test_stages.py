"""A kill in the middle of a search that pauses trials and promotes them: one worker decides everything as before."""

from __future__ import annotations

import checker
import lesson
import pytest

import forks

HOW = {"trials": 6, "epochs": 9, "search": "coarse_to_fine"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert forks.run(lesson.run, folder, **HOW) == 0
    return checker.read_store(folder / "sweeper.db", lesson.STUDY)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["in the first stage", "after a promotion", "in the last epoch"])
def test_a_kill_changes_no_stage_and_no_bit(tmp_path, undisturbed, moment):
    promoted = next(row for row in undisturbed.trials if row["attempt"] > 1)
    last = promoted["epochs_done"] - 1
    epoch = {"in the first stage": 1, "after a promotion": last - 1, "in the last epoch": last}[moment]
    hook = lesson.die(promoted["number"], epoch)
    assert forks.run(lesson.run, tmp_path, **HOW, hook=hook) == -9
    assert forks.run(lesson.run, tmp_path, **HOW) == 0
    left = checker.read_store(tmp_path / "sweeper.db", lesson.STUDY)
    verdict = checker.compare(checker.Verdict(), left, undisturbed)
    assert verdict, str(verdict)
    assert left.integrity == "ok"
    for name in ("granted_epochs", "next_number"):
        assert left.study[name] == undisturbed.study[name]
    for row in left.trials:
        assert [report["epoch"] for report in left.epochs_of(row["number"])] == list(range(row["epochs_done"]))
    states = [[(row["number"], row["state"]) for row in store.trials] for store in (left, undisturbed)]
    assert states[0] == states[1]
