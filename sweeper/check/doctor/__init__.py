"""`sweeper doctor`: looks over a store, its studies, their folders and the machine, and offers repairs.

Every check is a function that returns one `Finding`; none of them changes anything. A repair is done only when it is
asked for, looks again first, and touches nothing that a living worker holds. A damaged database is not repaired: it is
copied, and the way to save what is left is told.

storefile    the store itself: whole, writable, its journal, its clock
workers      studies, workers and leases
checkpoints  what rows point to, what no row points to, room on the disk
machine      torch, GPUs
repair       something that can be mended
rows         the findings in the doctor's words, for people and scripts
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sweeper.check.doctor import checkpoints, machine, storefile, workers
from sweeper.check.doctor.repair import Repair
from sweeper.check.doctor.rows import COLUMNS, row
from sweeper.check.finding import Finding, Verdict, unknown
from sweeper.store import reads
from sweeper.store.connection import Store, sqlite_path
from sweeper.words.errors import StoreError

__all__ = ["COLUMNS", "Finding", "Repair", "Verdict", "examine", "row"]


def examine(url: str, study: str | None = None, *, deep: bool = False) -> list[Finding]:
    """Every check of the store at `url`, and of its studies (of one alone where it is named).

    `deep` reads every checkpoint and every index. Raises StoreError for what is no URL of a store, or no study there.
    """
    path = sqlite_path(url)
    beside = [storefile.leftovers(path)] if path is not None else []
    try:
        opened = Store(url)
    except StoreError as error:
        return [storefile.unopened(error, path), *beside, machine.torch(), machine.gpus()]
    return [*_Examination(opened, study, deep).findings(), *beside, machine.torch(), machine.gpus()]


@dataclass
class _Examination:
    store: Store
    study: str | None
    deep: bool
    damaged: bool = False

    def findings(self) -> list[Finding]:
        """Nothing is written into a store that is damaged or read-only; of a damaged one little can be told."""
        integrity = storefile.integrity(self.store, deep=self.deep)
        self.damaged = integrity.verdict is Verdict.FAILS
        found = [
            self._asked("store", lambda: storefile.store(self.store)),
            self._asked("journal", lambda: storefile.journal(self.store)),
            self._asked("clock", lambda: storefile.clock(self.store)),
            *self._of_studies(),
        ]
        if self.damaged or self.store.read_only:
            found = [replace(each, repairs=()) for each in found]
        return [found[0], integrity, *found[1:]]

    def _of_studies(self) -> list[Finding]:
        try:
            studies = reads.all_studies(self.store)
        except StoreError as error:
            return [replace(self._untold("studies", error), verdict=Verdict.FAILS)]
        if self.study is not None:
            studies = [reads.study(self.store, self.study)]
        return [
            self._asked("budget", lambda: workers.budget(self.store, studies)),
            self._asked("workers", lambda: workers.workers(self.store, studies)),
            self._asked("leases", lambda: workers.leases(self.store, studies)),
            self._asked("checkpoints", lambda: checkpoints.pointed(self.store, studies, deep=self.deep)),
            self._asked("orphans", lambda: checkpoints.orphans(self.store, studies)),
            self._asked("disk", lambda: checkpoints.room(self.store, studies)),
        ]

    def _asked(self, name: str, look: Callable[[], Finding]) -> Finding:
        """In a damaged store, or a folder that cannot be read, a question may break: then it cannot be told."""
        try:
            return look()
        except (StoreError, OSError) as error:
            return self._untold(name, error)

    def _untold(self, name: str, error: Exception) -> Finding:
        why = "not while the store is damaged" if self.damaged else str(error)
        return unknown(name, f"this cannot be told: {why}")
