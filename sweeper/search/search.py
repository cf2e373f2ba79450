"""The search as a worker asks it: what to do next, with which params, whether a trial goes on, whether ranges move.

It joins the plan, the sampler and the border verdicts with what the store knows. Every answer follows from the history
in the store, the study's seed and the trial's number, so a worker that comes later, or again, goes the same way.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sweeper.search import borders
from sweeper.search.plan import WORTH, Plan, Stage, Step
from sweeper.search.plans import THIRD
from sweeper.search.proposer import Proposer
from sweeper.search.space import SearchSpace, hull
from sweeper.store import claims, reads, writes
from sweeper.store.connection import Store
from sweeper.words.records import Lease, StudyRecord, TrialRecord, TrialState

log = logging.getLogger("sweeper.worker")

JUDGED_EVERY = 5
"""Trials between two looks at the borders."""


class Search:
    """Raises ConfigError for a sampler that does not exist or cannot be built."""

    def __init__(self, store: Store, study: StudyRecord, plan: Plan) -> None:
        self._store, self._study, self._plan = store, study, plan
        self._records: dict[int, TrialRecord] = {}
        self._news: list[TrialRecord] = []
        self._revision = 0
        self._move = 0
        self._space = SearchSpace.from_json(study.space)
        self._wide = hull([self._space])
        self._judged = 0
        self._proposers: dict[int, Proposer] = {}
        self._told: dict[int, int] = {}  # a proposer's identity → how much of the news it has heard
        self._learn_moves()
        self._proposer(0)
        self._is_staged = len(plan.stages) > 1
        self._first = Plan.from_json(study.plan).first

    @property
    def _moves_ranges(self) -> bool:
        return self._plan.borders == "widen" or any(stage.narrow for stage in self._plan.stages)

    @property
    def reserve(self) -> int:
        """The epochs that must be left of the budget for a new trial to begin."""
        return (self._plan.full_epochs or 1) if self._plan.promotes else 0

    def next(self) -> Step:
        """What to claim if no trial waits: one to promote, else a new one. Over, the search has its best confirmed."""
        if not self._must_know:
            return Step(0, self._plan.stages[0].epochs)
        self._learn()
        self._study = reads.refreshed(self._store, self._study)
        promoted = self._to_promote(self._left)
        if promoted is not None:
            return promoted
        self._confirm()
        study = self._study
        entry = self._plan.entry(study.granted_epochs, study.budget_epochs, study.next_number)
        return Step(entry, self._plan.stages[entry].epochs)

    def is_behind(self) -> bool:
        """Whether trials have changed since `next` was asked, where its answer follows from them."""
        return self._must_know and reads.newest_revision(self._store, self._study.id) > self._revision

    @property
    def _must_know(self) -> bool:
        """Whether what comes next follows from the history."""
        return self._is_staged or self._plan.confirm is not None

    @property
    def _left(self) -> int:
        """The epochs that the search may still grant."""
        return self._study.budget_epochs - self._study.granted_epochs - self._plan.kept_epochs

    def propose(self, number: int, stage: int) -> dict[str, Any]:
        """The params of a new trial; ranges are moved first, where the evidence says so."""
        if self._moves_ranges:
            self._learn()
            self._move_ranges(stage)
        proposer = self._proposer(stage)
        if number < len(self._first):
            return dict(self._first[number])
        if proposer.uses_history:
            self._learn()
            self._tell(stage)
        return proposer.suggest(number)

    def after(self, lease: Lease, epochs_done: int) -> Step | None:
        """At the end of a stage: the next one, if the trial is worth it; None: it pauses."""
        self._learn()
        before = self._records.get(lease.number)
        if before is None:
            return None
        curve = reads.curve(self._store, lease.study_id, lease.number)
        record = replace(before, curve=curve, value=curve.get(epochs_done), epochs_done=epochs_done)
        self._records[lease.number] = record
        stage = next((i for i, s in enumerate(self._plan.stages) if s.epochs and s.epochs > epochs_done), None)
        self._study = reads.refreshed(self._store, self._study)
        if stage is None or not self._is_affordable(record, self._left) or not self._is_promoted(record, stage):
            return None
        return Step(stage, self._plan.stages[stage].epochs, lease.number)

    # ---- promotion ---------------------------------------------------------------------------------------------------

    def _is_promoted(self, record: TrialRecord, stage: int) -> bool:
        rule = self._plan.stages[stage].promote
        if rule is None:
            return False
        judge = self._judge() if rule == WORTH else None
        if judge is not None:
            return judge.goes_on(record)
        return record.number in self._best(stage, rule)

    def _to_promote(self, left: int) -> Step | None:
        if not self._plan.promotes:
            return None
        judge = self._judge()
        if judge is not None and (number := judge.promote(self._study.next_number, left)) is not None:
            step = self._promotion(number, left)
            if step is not None:
                return step
        paused = {n for n, record in self._records.items() if record.state is TrialState.PAUSED}
        for stage in range(len(self._plan.stages) - 1, 0, -1):
            rule = self._plan.stages[stage].promote
            if rule is None or (rule == WORTH and judge is not None):
                continue
            for number in self._best(stage, rule):
                is_next = number in paused and self._records[number].stage < stage
                step = self._promotion(number, left) if is_next else None
                if step is not None:
                    return step
        return self._last_chance(left)

    def _promotion(self, number: int, left: int) -> Step | None:
        """To the next stage; straight to the end where the budget is too small for a new trial."""
        stages, record = self._plan.stages, self._records[number]
        if not self._is_affordable(record, left):
            return None
        is_last = left < (self._plan.full_epochs or 1)
        stage = len(stages) - 1 if is_last else min(record.stage + 1, len(stages) - 1)
        return Step(stage, stages[stage].epochs, number)

    def _is_affordable(self, record: TrialRecord, left: int) -> bool:
        """Whether what is left of the budget takes the trial to the end; else its epochs would be for nothing."""
        return (self._plan.full_epochs or 0) - (record.target_epochs or 0) <= left

    def _last_chance(self, left: int) -> Step | None:
        """What a nearly spent budget can do: take the best paused trial that it pays for to the end."""
        if left >= (self._plan.full_epochs or 1):
            return None
        paused = [r for r in self._records.values() if r.state is TrialState.PAUSED and r.value is not None]
        able = [r for r in paused if self._is_affordable(r, left)]
        sign = self._study.direction.sign
        ranked = sorted((-r.epochs_done, sign * (r.value or 0.0), r.number) for r in able)
        return self._promotion(ranked[0][2], left) if ranked else None

    def _best(self, stage: int, rule: str | float) -> list[int]:
        share = THIRD if isinstance(rule, str) else rule
        return self._plan.best_share(self._records.values(), stage - 1, share, self._study.direction.sign)

    def _judge(self) -> Proposer | None:
        """The proposer whose sampler can judge, told all there is."""
        for index, stage in enumerate(self._plan.stages):
            if stage.sampler is not None and self._proposer(index).judges:
                self._tell(index)
                return self._proposer(index)
        return None

    # ---- confirmation ------------------------------------------------------------------------------------------------

    def _confirm(self) -> None:
        """Once the search is over, with no trial open: have its best trained again, with other seeds."""
        rule, study = self._plan.confirm, self._study
        spent = study.granted_epochs, study.budget_epochs
        is_open = any(r.state in (TrialState.RUNNING, TrialState.WAITING) for r in self._records.values())
        is_over = not is_open and not self._plan.can_begin(*spent, study.next_number)
        if rule is None or not is_over or not self._plan.can_repeat(*spent):
            return
        if study.confirmed is None or study.confirmed < self._revision:
            best = self.best(rule.top)
            log.info("the search is over: trials %s are trained again, with %d seeds each", best, rule.seeds)
            claims.confirm(
                self._store,
                study.id,
                best,
                seeds=rule.seeds,
                stage=len(self._plan.stages) - 1,
                epochs=self._plan.full_epochs,
                seen=self._revision,
            )

    def best(self, top: int) -> list[int]:
        """The best complete trials by number: as the sampler's model recommends them if it judges, else by value.

        The model allows for noise: what luck may have made of a value counts for less. The best value is among them all
        the same, if need be as the last one.
        """
        self._learn()
        complete = {
            number: self._study.direction.sign * record.value
            for number, record in self._records.items()
            if record.state is TrialState.COMPLETE and record.value is not None and math.isfinite(record.value)
        }
        judge = self._judge()
        by_value = sorted(complete, key=lambda number: (complete[number], number))
        recommended = [] if judge is None else [number for number in judge.recommend(top) if number in complete]
        if top > 1 and by_value and by_value[0] not in recommended:
            recommended = recommended[: top - 1]
        return list(dict.fromkeys([*recommended, *by_value]))[:top]

    # ---- ranges ------------------------------------------------------------------------------------------------------

    def _move_ranges(self, stage: int) -> None:
        self._narrow(stage)
        if self._plan.borders != "widen":
            return
        ended = self._ended()
        before = max((row["trials"] for row in self._rows if row["kind"] == "widened"), default=0)
        if len(ended) // JUDGED_EVERY <= self._judged or len(ended) < before + JUDGED_EVERY:
            return
        self._judged = len(ended) // JUDGED_EVERY
        full, luck = self._plan.full_epochs, borders.MOVING_LUCK
        found = borders.verdicts(self._space, ended, self._study.direction, full_epochs=full, luck=luck)
        new = borders.widened(self._space, found)
        why = " ".join(each.sentence for each in found if new[each.parameter] != self._space[each.parameter])
        self._move_to(new, "widened", stage, why, len(ended))

    def _ended(self) -> list[TrialRecord]:
        """The trials that have been trained as far as they were granted."""
        return [r for r in self._records.values() if r.state not in (TrialState.RUNNING, TrialState.WAITING)]

    def _narrow(self, stage: int) -> None:
        """Once, when the first trial of a stage that narrows is proposed."""
        keep = self._plan.stages[stage].narrow
        if keep is None or any(row["stage"] == stage and row["kind"] == "narrowed" for row in self._rows):
            return
        told = list(self._records.values())
        new = borders.narrowed(self._space, told, self._study.direction, keep=keep)
        why = f"stage {self._plan.stages[stage].name}: to where the best {keep:.0%} of {len(told)} trials lie"
        self._move_to(new, "narrowed", stage, why, len(told), also_if_same=True)

    def _move_to(
        self, new: SearchSpace, kind: str, stage: int, why: str, told: int, *, also_if_same: bool = False
    ) -> None:
        if new == self._space and not also_if_same:
            return
        moved = writes.move_ranges(
            self._store,
            self._study.id,
            self._move,
            kind=kind,
            stage=stage,
            space=new.to_json(),
            trials_told=told,
            reason=why,
        )
        if moved:
            log.info("ranges %s: %s", kind, why)
        self._learn_moves()

    def _learn_moves(self) -> None:
        self._rows = reads.move_rows(self._store, self._study.id)
        last = self._rows[-1]["move"] if self._rows else 0
        if last == self._move:
            return
        self._move = last
        spaces = [SearchSpace.from_json(row["space"]) for row in self._rows[::-1]]
        self._space = spaces[0]
        self._wide = hull([*spaces, SearchSpace.from_json(self._study.space)])
        self._proposers.clear()
        self._told.clear()

    # ---- what there is to know ---------------------------------------------------------------------------------------

    def _learn(self) -> None:
        curves = self._is_staged or self._proposer(0).judges
        changed, self._revision = reads.changed_trials(self._store, self._study.id, self._revision, curves=curves)
        first = not self._records
        self._records.update({record.number: record for record in changed})
        self._news += changed
        if changed and self._moves_ranges:
            self._learn_moves()
        if first:  # a worker that comes later looks at the borders when one that was there all along would
            self._judged = max(0, len(self._ended()) - 1) // JUDGED_EVERY

    def _proposer(self, stage: int) -> Proposer:
        """The one that proposes at a stage: by its own sampler, or by that of the last stage before it with one."""
        entry = max(index for index in range(stage + 1) if self._plan.stages[index].sampler is not None)
        if entry not in self._proposers:
            self._proposers[entry] = Proposer(
                self._space,
                self._study.direction,
                self._sampler(self._plan.stages[entry]),
                self._study.seed,
                wide=self._wide,
                rungs=self._plan.rungs,
                budget=self._study.budget - self._plan.kept_epochs / (self._plan.full_epochs or 1),
            )
        return self._proposers[entry]

    @staticmethod
    def _sampler(stage: Stage) -> str | Mapping[str, Any]:
        assert stage.sampler is not None
        return stage.sampler

    def _tell(self, stage: int) -> None:
        proposer = self._proposer(stage)
        proposer.update(self._news[self._told.get(id(proposer), 0) :])
        self._told[id(proposer)] = len(self._news)
