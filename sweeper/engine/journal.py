"""A trial's journal in the store: what the handle writes down, every write fenced by the trial's lease."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sweeper.engine.leave import Leave
from sweeper.engine.loggers.audience import Audience
from sweeper.store import fenced, reads
from sweeper.store.connection import Store
from sweeper.trial.checkpoint import Checkpoint
from sweeper.words.errors import TrialInterrupted
from sweeper.words.records import EpochReport, Lease, TrialRecord


class StoreJournal:
    """A trial's journal in the store, every write fenced by its lease."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        record: TrialRecord,
        folder: Path,
        leave: Leave,
        seconds: float,
        go_on: Callable[[int], int | None] = lambda epochs_done: None,
        audience: Audience | None = None,
    ) -> None:
        again = record.attempt > 1
        reports = reads.epoch_reports(store, lease.study_id, lease.number) if again else []
        self.reports = reports
        self.last = reports[-1] if reports else None
        self.value = record.value
        self._store, self._lease, self._folder, self._leave = store, lease, folder, leave
        self._lease_seconds = seconds
        self.go_on = go_on
        self._audience = audience or Audience()
        rows = reads.checkpoint_rows(store, lease.study_id, lease.number) if again else []
        self._known = [Checkpoint.of_row(row, folder) for row in rows]

    def checkpoints(self) -> Sequence[Checkpoint]:
        return self._known

    def report(self, report: EpochReport, value: float | None) -> None:
        fenced.report(self._store, self._lease, report, value, self._lease_seconds)
        self._audience.report(report)

    def point_to(self, new: Checkpoint, forget_epochs: Sequence[int]) -> None:
        row = {
            "epoch": new.epoch,
            "path": str(new.path.relative_to(self._folder)),
            "sha256": new.sha256,
            "size_bytes": new.size_bytes,
            "value": new.value,
        }
        fenced.add_checkpoint(self._store, self._lease, row, forget_epochs, self._lease_seconds)
        stay = [old for old in self._known if old.epoch != new.epoch and old.epoch not in forget_epochs]
        self._known = [*stay, new]

    def leave_if_asked(self) -> None:
        self._audience.settle()
        if self._leave.asked.is_set():
            raise TrialInterrupted("asked to leave")
