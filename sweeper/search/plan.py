"""The plan: how a study spends its budget, stage by stage. Pure functions of settings and history.

A stage has its epochs per trial; new trials begin at a stage that has a sampler, and a trial that is good at the end of
one may be promoted to the next, where it goes on from its checkpoint. The budget is in full trainings (the epochs of
the last stage); it is granted in epochs, at the claim and at each promotion. Where a study does not know its epochs,
one trial costs one, and there is one stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sweeper.words.errors import ConfigError
from sweeper.words.laws import check_budget
from sweeper.words.records import TrialRecord, TrialState

WORTH = "worth"
"""The rule of promotion that asks the sampler; one that cannot judge promotes the best third."""
TOP, SEEDS = 3, 5
"""What is confirmed where nothing else is said: so many of the best, with so many other seeds each."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the plan.

    Attributes:
        sampler: proposes the trials that begin here; None: only promoted trials come here.
        epochs: what a trial of this stage trains to, all stages together; None: the script decides.
        share: new trials begin here until this share of the whole budget is granted; None: until all of it is.
        trials: instead, until so many have begun here. Trials count by their numbers, so a promoted one, or one that
            comes again, is counted once; several workers may begin a few more, as with shares.
        promote: who comes here from the stage before: `worth` (the sampler's judgement at the end of the stage, and
            again later), a share (the best of those that got there, as in asynchronous successive halving), None:
            nobody.
        narrow: when the stage begins, ranges are narrowed to where this share of the trials, the best, lies.
    """

    name: str
    sampler: str | dict[str, Any] | None = None
    epochs: int | None = None
    share: float | None = None
    promote: str | float | None = None
    narrow: float | None = None
    trials: int | None = None


@dataclass(frozen=True, slots=True)
class Confirm:
    """At the end of the search the best `top` trials are trained again to the end, with `seeds` other seeds each."""

    top: int = TOP
    seeds: int = SEEDS

    @property
    def trainings(self) -> int:
        return self.top * self.seeds


@dataclass(frozen=True, slots=True)
class Step:
    """What a worker may do next: train a new trial to a stage's epochs, or promote the trial `number` to that stage."""

    stage: int
    epochs: int | None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`from_study`: the name of the older study whose best settings, `first`, are the params of the first trials."""

    search: str
    stages: tuple[Stage, ...]
    borders: str = "warn"
    confirm: Confirm | None = None
    from_study: str | None = None
    first: tuple[dict[str, Any], ...] = ()

    def as_asked(self) -> Plan:
        """The part that is frozen at the study's start and asked for at each: `confirm` may change, `first` follows."""
        return replace(self, confirm=None, first=())

    @property
    def full_epochs(self) -> int | None:
        return self.stages[-1].epochs

    @property
    def promotes(self) -> bool:
        return any(stage.promote is not None for stage in self.stages)

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs of each stage; empty where they are not known."""
        return tuple(stage.epochs for stage in self.stages if stage.epochs is not None)

    def budget_epochs(self, budget: float) -> int:
        """A budget in full trainings as epochs: what may be granted at most."""
        check_budget(budget)
        epochs = math.floor(budget * (self.full_epochs or 1) + 1e-9)
        if epochs < (self.full_epochs or 1):
            raise ConfigError(f"`budget` must pay for one full training at least, but got {budget} full trainings.")
        if self.confirm and epochs < (self.full_epochs or 1) + self.kept_epochs:
            raise ConfigError(
                f"`budget` must pay for the search and for what confirms it, but got {budget} full trainings, and "
                f"confirm takes {self.confirm.trainings} of them (the best {self.confirm.top} again, with "
                f"{self.confirm.seeds} seeds each): raise the budget, or confirm fewer."
            )
        self._check_pays_for_trials(budget, epochs)
        return epochs

    def _check_pays_for_trials(self, budget: float, epochs: int) -> None:
        """Else stages with a number of trials would use up all of it, and no trial would be trained to the end."""
        asked = sum(stage.trials * (stage.epochs or 1) for stage in self.stages if stage.trials is not None)
        full = self.full_epochs or 1
        if asked and asked + full + self.kept_epochs > epochs:
            raise ConfigError(
                f"`budget` must pay for the `trials` of the stages and for one full training, but got {budget} full "
                f"trainings, and the trials take {asked / full:.3g} of them: raise the budget, or ask for fewer trials."
            )

    @property
    def kept_epochs(self) -> int:
        """What of the budget the search leaves for the repeats of the best."""
        return self.confirm.trainings * (self.full_epochs or 1) if self.confirm else 0

    def entry(self, granted: int, budget: int, begun: int) -> int:
        """The stage at which a new trial begins, after so many epochs of the budget were granted, to `begun` trials."""
        until = 0
        for index, stage in enumerate(self.stages):
            share = None if stage.share is None else stage.share * (budget - self.kept_epochs)
            until += stage.trials or 0
            is_open = (share is None or granted < share) if stage.trials is None else begun < until
            if stage.sampler is not None and is_open:
                return index
        return max(index for index, stage in enumerate(self.stages) if stage.sampler is not None)

    def can_begin(self, granted: int, budget: int, begun: int) -> bool:
        """Whether a new trial may begin: what is left must pay for it to the end, or it would be trained for nothing.

        Where nobody is promoted, what is left pays for a trial of that stage.
        """
        cost = self.full_epochs if self.promotes else self.stages[self.entry(granted, budget, begun)].epochs
        return granted + (cost or 1) + self.kept_epochs <= budget

    def is_spent(self, granted: int, budget: int, begun: int, furthest_paused: int | None) -> bool:
        """Whether the search can grant nothing more. `furthest_paused`: the most epochs of a paused trial."""
        if self.can_begin(granted, budget, begun):
            return False
        if not self.promotes or furthest_paused is None or self.full_epochs is None:
            return True
        return granted + self.full_epochs - furthest_paused + self.kept_epochs > budget

    def best_share(self, records: Iterable[TrialRecord], stage: int, share: float, sign: int) -> list[int]:
        """The best `share` of the trials that trained to the end of a stage, by number, the best first.

        They are compared at that stage's epochs, however far they went since (asynchronous successive halving; Li et
        al., "A System for Massively Parallel Hyperparameter Tuning", 2020).
        """
        epochs = self.stages[stage].epochs
        at_rung = [(sign * value, r.number) for r in records if (value := _value_at(r, epochs)) is not None]
        return [number for _, number in sorted(at_rung)[: math.floor(len(at_rung) * share + 1e-9)]]

    def can_repeat(self, granted: int, budget: int) -> bool:
        """Whether the budget pays for a trial that confirms another."""
        return self.confirm is not None and granted + (self.full_epochs or 1) <= budget

    def to_json(self) -> dict[str, Any]:
        """JSON-plain. What is left out has its default, so that a key added later changes no stored plan."""
        stages = [
            {key: value for key, value in asdict(stage).items() if value is not None or key in ("sampler", "epochs")}
            for stage in self.stages
        ]
        more = {
            "borders": self.borders if self.borders != "warn" else None,
            "confirm": asdict(self.confirm) if self.confirm else None,
            "from_study": self.from_study,
            "first": list(self.first) or None,
        }
        return {"search": self.search, "stages": stages} | {k: v for k, v in more.items() if v is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        return cls(
            value["search"],
            tuple(Stage(**stage) for stage in value["stages"]),
            value.get("borders", "warn"),
            Confirm(**value["confirm"]) if "confirm" in value else None,
            value.get("from_study"),
            tuple(value.get("first", ())),
        )


def _value_at(record: TrialRecord, epochs: int | None) -> float | None:
    """The metric after so many epochs; one that is no number is as bad as can be."""
    if record.state is TrialState.FAIL:
        return None
    value = record.curve.get(epochs) if epochs is not None else record.value
    return value if value is not None and math.isfinite(value) else None
