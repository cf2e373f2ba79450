"""Checkpoints that a disk has spoilt after a kill: noticed, passed over, and no number is another one."""

from __future__ import annotations

import os

import checker
import lesson
import pytest

import forks

TRIALS, EPOCHS = 2, 6
DIED_IN = 4
"""The epoch of trial 1 that a kill ends: those before it have their checkpoints, the newest two and the best."""


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "one bit is flipped": flip,
    "the second half is missing": lambda path: os.truncate(path, path.stat().st_size // 2),
    "all bytes are missing": lambda path: os.truncate(path, 0),
    "the file is missing": lambda path: path.unlink(),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert forks.run(lesson.run, folder, trials=TRIALS, epochs=EPOCHS) == 0
    return checker.read_store(folder / "sweeper.db", lesson.STUDY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "newest"), [*((damage, 1) for damage in DAMAGES), ("one bit is flipped", 2), ("one bit is flipped", 3)]
)
def test_the_newest_good_checkpoint_is_used(tmp_path, undisturbed, damage, newest):
    said = tmp_path / "said"
    hook = lesson.die(1, DIED_IN)
    assert forks.run(lesson.run, tmp_path, trials=TRIALS, epochs=EPOCHS, hook=hook, said=said) == -9
    left = checker.read_store(tmp_path / "sweeper.db", lesson.STUDY)
    files = {row["epoch"]: left.path(row) for row in left.checkpoints_of(1)}
    assert max(files) == DIED_IN - 1
    spoilt = sorted(files)[-newest:]
    for epoch in spoilt:
        DAMAGES[damage](files[epoch])

    assert forks.run(lesson.run, tmp_path, trials=TRIALS, epochs=EPOCHS, said=said) == 0
    left = checker.read_store(tmp_path / "sweeper.db", lesson.STUDY)
    verdict = checker.compare(checker.check(left, trials=TRIALS, epochs=EPOCHS), left, undisturbed)
    assert verdict, str(verdict)
    good = max(files.keys() - set(spoilt), default=-1)
    again = [row["epoch"] for row in left.epochs_of(1) if row["attempt"] == 2]
    assert again == list(range(good + 1, EPOCHS)), "it went on from the newest one that was good"
    assert said.read_text().count("Trying the checkpoint before it") == len(spoilt), said.read_text()
