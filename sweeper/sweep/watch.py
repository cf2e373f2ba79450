"""The driver: the process that a person starts. It opens the study, has workers started, and watches the store.

It is no master: workers ask the store alone, and nothing is lost with the driver. It watches the store and not the
launcher, because a launcher may never return (a cancelled Slurm job).
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.store import claims, reads
from sweeper.store.connection import Store
from sweeper.words.errors import StoreError
from sweeper.words.records import StudyRecord

if TYPE_CHECKING:
    from sweeper.analysis.lookout import Lookout
    from sweeper.report.terminal.live import View

log = logging.getLogger("sweeper")

LOOK_SECONDS = 0.5
"""How often the driver looks into the store while a sweep runs."""
LAUNCHER_SECONDS = 20.0
"""How long a launcher may take to return after the study is done, before the driver leaves without it."""


@contextlib.contextmanager
def plain_log() -> Iterator[None]:
    """While a live view holds the terminal, log to the stderr that it has put in place, above the table."""

    class Stderr(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with contextlib.suppress(OSError):  # the terminal may be gone
                print(self.format(record), file=sys.stderr)

    handler, propagate = Stderr(), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


@dataclass
class Watch:
    """Runs `launch` and shows the store until the study is done or the workers are gone.

    `leave()`, `kill()` and `resize(workers)` are the engine's, which began with so many `workers`; `in_process`: the
    worker runs in this very thread, so that a debugger works, and hears the signals itself.
    """

    store: Store
    study: StudyRecord
    launch: Callable[[], Any]
    view: View
    leave: Callable[[int], None] | None = None
    kill: Callable[[], None] | None = None
    resize: Callable[[int], None] | None = None
    workers: int = 0
    in_process: bool = False
    asked: int = 0
    error: BaseException | None = None
    _blind: bool = False
    _lookout: Lookout | None = None

    def run(self) -> None:
        if self.in_process:
            self.launch()  # nothing is shown: the terminal is the trial's, and a debugger's
        else:
            with self._signals(), plain_log(), self._view():
                self._run_beside()
                self._look()
        if self.error is not None and not self.asked:
            raise self.error

    @contextlib.contextmanager
    def _view(self) -> Iterator[None]:
        """A view whose terminal or pipe breaks is done with; the sweep is not."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.view)
            yield
            with contextlib.suppress(OSError):
                stack.close()

    def _run_beside(self) -> None:
        self._look()
        before = max((row["id"] for row in reads.worker_rows(self.store, self.study.id)), default=0)
        thread = threading.Thread(target=self._launch, name="sweeper-launch", daemon=True)
        thread.start()
        done_since = None
        while thread.is_alive():
            thread.join(LOOK_SECONDS)
            self._look()
            done_since = (done_since or time.monotonic()) if self._nobody_works(before) else None
            if done_since is not None and time.monotonic() - done_since > LAUNCHER_SECONDS:
                log.warning("no worker is left, but the launcher does not return: leaving without it")
                return

    def _launch(self) -> None:
        try:
            self.launch()
        except BaseException as error:
            self.error = error

    def _nobody_works(self, before: int) -> bool:
        """Workers came since the one numbered `before`, and all have ended or have not beaten for two leases.

        The local engine is asked no such question: it knows its processes, and starts those again that die.
        """
        if self.leave is not None:
            return False
        rows = [row for row in reads.worker_rows(self.store, self.study.id) if row["id"] > before]
        silent = 2 * claims.LEASE_SECONDS
        return bool(rows) and all(row["ended"] is not None or row["beat_seconds_ago"] > silent for row in rows)

    def _look(self) -> None:
        try:
            study = reads.refreshed(self.store, self.study)
            self._adjust(study.workers)
            self._show(study)
        except StoreError as error:  # looking must not end a sweep: workers may do without
            log.warning("%s", error)

    def _show(self, study: StudyRecord) -> None:
        if self._blind:
            return
        from sweeper.analysis.lookout import Lookout
        from sweeper.analysis.progress import snapshot

        self._lookout = self._lookout or Lookout(self.store)
        try:
            self.view.show(self._lookout.look(study, snapshot(self.store, study)))
        except OSError:  # the terminal is gone, or the pipe's reader
            self._blind = True

    def _adjust(self, wanted: int | None) -> None:
        """Add or send away workers, as a person has asked since the start."""
        if self.resize is None or wanted is None or wanted == self.workers:
            return
        leave = " (what is too many leaves after its epoch)" if wanted < self.workers else ""
        log.warning("workers: %d → %d, as `sweeper set` says%s", self.workers, wanted, leave)
        self.workers = wanted
        self.resize(wanted)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """First: workers finish their epoch, checkpoint and leave. Second: they leave now. Third: they are killed."""

        def heard(number: int, frame: Any) -> None:
            if number == signal.SIGHUP and self.asked:
                return  # a terminal that closes says so twice
            self.asked += 1
            threading.Thread(target=self._pass_on, args=(self.asked, number), daemon=True).start()

        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        before = {number: signal.signal(number, heard) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, asked: int, number: int) -> None:
        words = {1: "leaving: workers finish their epoch and hand back (once more: at once)", 2: "leaving now"}
        if asked <= 2 and self.leave is not None:
            self.leave(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
        elif self.kill is not None:
            self.kill()
        log.warning(words.get(asked, "killing the workers"))
