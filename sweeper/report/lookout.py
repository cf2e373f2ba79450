"""What comes up at the borders of a running study: verdicts, judged anew as trials end, and moves of its ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sweeper.borders import MIN_TRIALS, Verdict
from sweeper.judgement import judge
from sweeper.report import lineage
from sweeper.report.progress import Progress
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.trial import StudyRecord

EVERY, SHARE = 5, 1 / 50
"""It is judged again after so many more trials, or so large a share of them: the work grows with their number."""


class Lookout:
    """Asked as often as the progress is: while no trial ends and no range moves, that costs one indexed query."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._judged = 0
        self._move = 0
        self._verdicts: Sequence[Verdict] = ()
        self._moves: Sequence[str] = ()

    def look(self, study: StudyRecord, progress: Progress) -> Progress:
        """The progress with the verdicts on the ranges as they are, and with the moves so far in words."""
        _, move = reads.current_space(self._store, study)
        if move != self._move:
            self._moves = [lineage.words(each) for each in lineage.collect(self._store, study)["moves"]]
        more = max(EVERY, self._judged * SHARE) if self._judged else MIN_TRIALS
        if progress.ended - self._judged >= more or (self._judged and move != self._move):
            self._verdicts, self._judged = judge(self._store, study), progress.ended
        self._move = move
        return replace(progress, borders=tuple(self._verdicts), moves=tuple(self._moves))
