"""What every journal of a trial keeps: the store's, fenced by a lease, and the folder's of a script that runs alone."""

from __future__ import annotations

import pytest

from sweeper.engine.journal import StoreJournal
from sweeper.engine.leave import Leave
from sweeper.store import claims, fenced, reads
from sweeper.trial import checkpoint
from sweeper.trial.handle import FolderJournal, Trial
from sweeper.words.records import EpochReport, Lease


class InStore:
    """A trial in a store; `open()` claims it anew, as a worker does that takes it up."""

    def __init__(self, store, study, worker, folder):
        self.store, self.study, self.worker, self.folder = store, study, worker, folder
        self.lease = None

    def open(self):
        if self.lease is not None:
            fenced.release(self.store, self.lease)
        record = claims.claim(self.store, self.study.id, self.worker)
        self.lease = Lease(record.study_id, record.number, record.attempt, self.worker)
        return StoreJournal(self.store, self.lease, record, self.folder, Leave(), 60.0)

    def pointers(self):
        return {row["epoch"]: row["sha256"] for row in reads.checkpoint_rows(self.store, self.study.id, 0)}


class InFolder:
    def __init__(self, folder):
        self.folder = folder

    def open(self):
        return FolderJournal(self.folder)


@pytest.fixture(params=["store", "folder"])
def place(request, tmp_path, store, begin, hire):
    folder = tmp_path / "0000"
    folder.mkdir()
    if request.param == "folder":
        return InFolder(folder)
    study = begin(store)
    return InStore(store, study, hire(store, study), folder)


def saved(place, epoch, value=0.5):
    return checkpoint.save(place.folder / "checkpoints", epoch, {"plain": {"epoch": epoch}}, metric="m", value=value)


def report(journal, epoch, value=0.5):
    journal.report(EpochReport(0, epoch, {"m": value}, 1.0), value)


def test_a_new_journal_knows_nothing(place):
    journal = place.open()
    assert list(journal.checkpoints()) == []
    assert (journal.last, journal.value) == (None, None)


def test_a_pointer_is_found_again_by_this_journal_and_by_the_next(place):
    journal = place.open()
    report(journal, 0)
    new = saved(place, 0)
    journal.point_to(new, [])
    assert list(journal.checkpoints()) == [new]
    again = place.open()
    assert list(again.checkpoints()) == [new]
    assert again.last.epoch == 0
    checkpoint.verify(again.checkpoints()[0])


def test_what_is_forgotten_is_gone(place):
    journal = place.open()
    for epoch in range(3):
        report(journal, epoch)
        journal.point_to(saved(place, epoch), [epoch - 1] if epoch else [])
        checkpoint.delete(place.folder / "checkpoints", [each for each in journal.checkpoints() if each.epoch < epoch])
    assert [each.epoch for each in journal.checkpoints()] == [2]


def test_a_pointer_of_the_same_epoch_replaces_the_one_before(place):
    journal = place.open()
    report(journal, 0)
    journal.point_to(saved(place, 0, value=0.5), [])
    second = saved(place, 0, value=0.25)
    journal.point_to(second, [])
    assert list(journal.checkpoints()) == [second]


def test_nobody_has_to_leave_who_is_not_asked(place):
    place.open().leave_if_asked()


def test_a_trial_goes_on_after_its_newest_checkpoint(place):
    def train(journal, n):
        counter = {"epochs": 0}
        trial = Trial(
            number=0, params={}, folder=place.folder, device="cpu", seed=0, journal=journal, metric="m", keep=1
        )
        for epoch in trial.epochs(n, state={"counter": counter}):
            counter["epochs"] += 1
            assert counter["epochs"] == epoch + 1
            trial.report(m=1.0 / (epoch + 1))
        return counter["epochs"], trial.finish(None) if trial.value is not None else None

    assert train(place.open(), 2) == (2, 0.5)
    assert train(place.open(), 5) == (5, 0.2)
    assert train(place.open(), 5)[0] == 5
    assert [path.name[:10] for path in (place.folder / "checkpoints").iterdir()] == ["epoch=0004"]


# ---- the store's alone -----------------------------------------------------------------------------------------------


@pytest.fixture
def in_store(tmp_path, store, begin, hire):
    study = begin(store)
    folder = tmp_path / "0000"
    folder.mkdir()
    return InStore(store, study, hire(store, study), folder)


def test_the_store_holds_the_sha_and_a_path_that_is_relative(in_store, store):
    journal = in_store.open()
    new = saved(in_store, 0)
    journal.point_to(new, [])
    (row,) = reads.checkpoint_rows(store, in_store.study.id, 0)
    assert (row["sha256"], row["size_bytes"], row["value"]) == (new.sha256, new.size_bytes, 0.5)
    assert row["path"] == f"checkpoints/{new.path.name}"


def test_what_a_journal_knows_is_what_the_store_holds(in_store):
    journal = in_store.open()
    for epoch in range(4):
        journal.point_to(saved(in_store, epoch), [epoch - 2])
        assert {each.epoch: each.sha256 for each in journal.checkpoints()} == in_store.pointers()


def test_the_value_and_the_epochs_of_earlier_attempts_are_known(in_store):
    journal = in_store.open()
    for epoch, value in enumerate([0.5, 0.25]):
        report(journal, epoch, value)
    again = in_store.open()
    assert (again.last.epoch, again.value) == (1, 0.25)
