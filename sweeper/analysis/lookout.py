"""What a running study looks like beyond its numbers: curves, stages, ranges, and what comes up at their borders.

Asked as often as the progress is, it reads again only what has changed: the curves of the trials that went on, the
stages and ranges as trials come and end, and, from time to time, the verdicts on the ranges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sweeper.analysis.borders import judge
from sweeper.analysis.progress import Progress, RangeStand, RunningTrial, StageStand
from sweeper.analysis.stages import began, collect, words
from sweeper.search.plan import Plan
from sweeper.search.space import Categorical, SearchSpace
from sweeper.search.verdict import MIN_TRIALS, Verdict
from sweeper.store import reads, totals
from sweeper.store.connection import Store
from sweeper.words.records import StudyRecord, TrialRecord, TrialState

EVERY, SHARE = 5, 1 / 50
"""It is judged again after so many more trials, or so large a share of them: the work grows with their number."""
COUNTED_SHARE = 1 / 1000
"""The trials of each stage are counted again after so large a share of them more; of few trials at each change."""
CURVES = 32
"""Of so many running trials at most."""

Curve = Mapping[int, float | None]


class Lookout:
    """While no trial goes on or ends and no range moves, a look costs one indexed query.

    `judges`: whether it says verdicts too, for which it reads all trials.
    """

    def __init__(self, store: Store, *, judges: bool = True) -> None:
        self._store, self._judges = store, judges
        self._judged = 0
        self._verdicts: Sequence[Verdict] = ()
        self._move = 0
        self._moves: Sequence[str] = ()
        self._ranges: tuple[RangeStand, ...] | None = None
        self._counted = 0
        self._standing: tuple[Mapping[TrialState, int], int] | None = None
        self._stages: tuple[StageStand, ...] = ()
        self._curves: dict[int, tuple[int, Curve]] = {}

    def look(self, study: StudyRecord, progress: Progress) -> Progress:
        """The progress with all that there is to see; the verdicts are on the ranges as they are."""
        space, move = reads.current_space(self._store, study)
        if self._judges:
            self._judge(study, progress.ended, moved=move != self._move)
        if self._ranges is None or move != self._move:
            self._moves = [words(each) for each in collect(self._store, study)["moves"]] if move else ()
            self._ranges = ranges(began(self._store, study), SearchSpace.from_json(space))
        self._move = move
        self._count(study, progress)
        return replace(
            self._with_curves(study, progress),
            stages=self._stages,
            ranges=self._ranges,
            borders=tuple(self._verdicts),
            moves=tuple(self._moves),
        )

    def _judge(self, study: StudyRecord, ended: int, *, moved: bool) -> None:
        more = max(EVERY, self._judged * SHARE) if self._judged else MIN_TRIALS
        if ended - self._judged >= more or (self._judged and moved):
            self._verdicts, self._judged = judge(self._store, study), ended

    def _count(self, study: StudyRecord, progress: Progress) -> None:
        """A promotion may change no state, but spends of the budget."""
        grown = progress.ended - self._counted >= progress.ended * COUNTED_SHARE - 1 or progress.complete
        standing = (progress.counts, study.granted_epochs)
        if standing != self._standing and grown:
            self._stages = stages(study, totals.stage_counts(self._store, study.id))
            self._counted, self._standing = progress.ended, standing

    def _with_curves(self, study: StudyRecord, progress: Progress) -> Progress:
        """Those of the trials that are shown; each is read again when it has gone on."""
        shown: list[RunningTrial | TrialRecord] = [*progress.running[:CURVES], *progress.latest]
        known = {each.number: self._curves.get(each.number, (0, {})) for each in shown}
        behind = [each for each in shown if known[each.number][0] != each.epochs_done]
        if behind:
            read = reads.curves(self._store, study.id, [each.number for each in behind])
            known |= {each.number: (each.epochs_done, read.get(each.number, {})) for each in behind}
        self._curves = known
        curves = {number: curve for number, (_, curve) in known.items()}
        return replace(
            progress,
            running=tuple(replace(each, curve=curves.get(each.number, {})) for each in progress.running),
            latest=tuple(replace(each, curve=curves[each.number]) for each in progress.latest),
        )


def stages(study: StudyRecord, counts: Mapping[tuple[int | None, TrialState], int]) -> tuple[StageStand, ...]:
    """The stages of the plan with the trials that are there; at the end those that confirm the best."""
    plan = Plan.from_json(study.plan)
    spent = (study.granted_epochs, study.budget_epochs, study.next_number)
    opens = plan.entry(*spent) if plan.can_begin(*spent) else None
    named = [(index, stage.name, stage.epochs) for index, stage in enumerate(plan.stages)]
    confirm = [(None, "confirm", plan.full_epochs)] if plan.confirm else []
    return tuple(
        StageStand(name, epochs, {state: count for (at, state), count in counts.items() if at == place}, place == opens)
        for place, name, epochs in [*named, *confirm]
    )


def ranges(began: SearchSpace, now: SearchSpace) -> tuple[RangeStand, ...]:
    """Of the numbers; choices have none."""
    return tuple(
        RangeStand(new.name, new.low, new.high, (old.low, old.high))
        for old, new in zip(began, now, strict=True)
        if not isinstance(old, Categorical) and not isinstance(new, Categorical)
    )
