"""`sweeper status --watch`: another process's sweep as it is seen where it was started, from any terminal."""

from __future__ import annotations

import contextlib
import time

from sweeper.analysis.lookout import Lookout
from sweeper.analysis.progress import snapshot
from sweeper.report.terminal.live import view_for
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.records import StudyRecord

LOOK_SECONDS = 1.0


def watch(store: Store, study: StudyRecord) -> None:
    """Until the study is complete, or Ctrl-C; a study that nobody works at is waited for."""
    lookout = Lookout(store)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), view_for() as view:
        while True:
            now = reads.refreshed(store, study)
            progress = lookout.look(now, snapshot(store, now))
            view.show(progress)
            if progress.complete:
                return
            time.sleep(LOOK_SECONDS)
