"""The plan: how a study spends its budget, stage by stage. Pure functions of settings and history.

A stage has its epochs per trial; new trials begin at a stage that has a sampler, and a trial that is good at the end of
one may be promoted to the next, where it goes on from its checkpoint. The budget is in full trainings (the epochs of
the last stage); it is granted in epochs, at the claim and at each promotion. Where a study does not know its epochs,
one trial costs one, and there is one stage.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from sweeper.words.errors import ConfigError
from sweeper.words.records import TrialRecord, TrialState

WORTH = "worth"
"""The rule of promotion that asks the sampler; one that cannot judge promotes the best third."""
THIRD = 1 / 3
TOP, SEEDS = 3, 5
"""What is confirmed where nothing else is said: so many of the best, with so many other seeds each."""

SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"stages": [{"name": "search", "sampler": "random"}]},
    "sobol": {"stages": [{"name": "search", "sampler": "sobol"}]},
    "bayesian": {"stages": [{"name": "search", "sampler": "tpe"}]},
    "coarse_to_fine": {
        "borders": "widen",
        "stages": [
            {"name": "coarse", "epochs": "1/9", "sampler": "multi_fidelity"},
            {"name": "middle", "epochs": "1/3", "promote": WORTH},
            {"name": "fine", "epochs": "1/1", "promote": WORTH},
        ],
    },
    "cs231n": {
        "borders": "widen",
        "stages": [
            {"name": "coarse", "epochs": "1/9", "sampler": "random", "budget": "1/8"},
            {"name": "finer", "epochs": "1/3", "sampler": "random", "budget": "1/4", "narrow": "1/4"},
            {"name": "fine", "epochs": "1/1", "sampler": "tpe", "narrow": "1/4"},
        ],
    },
}
"""The built-in plans; `conf/search/` shows them as YAML to copy and change."""

LEAST_EPOCHS = 3
"""A share of a full training is at least so many epochs, or a third of it: the first epochs rank trials at random."""
BORDERS = ("warn", "widen")
STAGE_KEYS = ("name", "epochs", "sampler", "budget", "trials", "promote", "narrow")
SEARCH_KEYS = ("name", "stages", "borders", "confirm")


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
        if not isinstance(budget, int | float) or not (math.isfinite(budget) and budget > 0):
            raise ConfigError(f"`budget` is a number of full trainings above 0, but got {budget!r}.")
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


def make_plan(
    search: str | Mapping[str, Any],
    *,
    epochs: int | None = None,
    sampler: Any = None,
    borders: str | None = None,
    confirm: Any = None,
    from_study: str | None = None,
) -> Plan:
    """The plan of a search's name, or of a mapping like those in `conf/search/`.

    `epochs`: of a full training; stages with a share of them need it, and without it only the last stage is left.
    `sampler` replaces that of the last stage which has one (a name, or a mapping with `_target_`), `borders` and
    `confirm` the search's own rules (`confirm=False`: nothing is confirmed). Raises ConfigError.
    """
    name, mapping = _settings(search)
    if epochs is not None and epochs < 1:
        raise ConfigError(f"`epochs` must be at least 1, but got {epochs}.")
    unknown = set(mapping) - set(SEARCH_KEYS)
    raw = mapping.get("stages")
    if unknown or not raw or not isinstance(raw, Sequence) or isinstance(raw, str):
        raise ConfigError(
            f"A search has the keys name, borders, confirm and stages (a list, at least one), but {name!r} has "
            f"{', '.join(sorted(map(str, mapping)))}."
        )
    given = [_stage(name, stage, epochs, index == len(raw) - 1) for index, stage in enumerate(raw)]
    _check_trials(name, given)
    stages = _checked(name, given)
    if sampler is not None:
        name = _sampler_name(sampler)
        last = max(index for index, stage in enumerate(stages) if stage.sampler is not None)
        stages[last] = _with(stages[last], sampler=_plain(sampler))
    rule = borders if borders is not None else mapping.get("borders", "warn")
    if rule not in BORDERS:
        raise ConfigError(f"`borders` is {' or '.join(BORDERS)}, but got {rule!r}.")
    again = make_confirm(mapping.get("confirm") if confirm is None else confirm)
    return Plan(name, tuple(stages), rule, again, from_study)


def make_confirm(value: Any) -> Confirm | None:
    """`{top: 3, seeds: 5}`, where one left out has its default; null or false for none. Raises ConfigError."""
    if value is None or isinstance(value, bool):
        return Confirm() if value else None
    given = dict(value) if isinstance(value, Mapping) else {}
    whole = all(isinstance(each, int) and not isinstance(each, bool) for each in given.values())
    if not given or set(given) - {"top", "seeds"} or not whole or given.get("top", TOP) < 1:
        raise ConfigError(f"`confirm` is whole numbers such as {{top: {TOP}, seeds: {SEEDS}}}, but got {value!r}.")
    if given.get("seeds", SEEDS) < 2:
        raise ConfigError(f"`confirm` needs 2 seeds at least to tell how much they vary, but got {value!r}.")
    return Confirm(**given)


def _checked(search: str, stages: list[Stage]) -> list[Stage]:
    """The stages that stay: each with more epochs than the one before; one alone where epochs are not known."""
    samplers = [stage.sampler for stage in stages if stage.sampler is not None]
    if stages[0].sampler is None:
        raise ConfigError(f"The first stage needs a sampler, for its trials are new, but search {search!r} gives none.")
    if stages[-1].epochs is None:
        return [Stage(stages[-1].name, samplers[-1])]
    epochs = [_epochs(stage) for stage in stages]
    if epochs != sorted(epochs):
        raise ConfigError(f"Each stage must train longer than the one before, but search {search!r} has {epochs}.")
    kept = [stage for stage, after in itertools.pairwise(stages) if _epochs(stage) < _epochs(after)] + stages[-1:]
    if kept[0] is not stages[0]:
        # so few epochs make stages one: what would have been promoted to it begins there
        kept[0] = _with(kept[0], sampler=kept[0].sampler or stages[0].sampler, promote=None, narrow=None)
    return _with_all_trials(stages, kept)


def _with_all_trials(stages: Sequence[Stage], kept: Sequence[Stage]) -> list[Stage]:
    """The trials of a stage that is one with the next begin there; at the last with a sampler all that are left do."""
    last = max(_epochs(stage) for stage in kept if stage.sampler is not None)

    def whole(stage: Stage) -> Stage:
        merged = [each for each in stages if _epochs(each) == _epochs(stage)]
        trials = sum(each.trials or 0 for each in merged) if stage.sampler is not None else 0
        counts = _epochs(stage) < last and (stage.trials is not None or stage.share is None)
        return _with(stage, trials=trials or None if counts else None)

    return [whole(stage) for stage in kept]


def _check_trials(search: str, stages: Sequence[Stage]) -> None:
    """Raises ConfigError where a number of trials could not be told by the trials' numbers, or would end the search."""
    entries = [stage for stage in stages if stage.sampler is not None]
    if entries and entries[-1].trials is not None:
        raise ConfigError(
            f"The last stage with a sampler takes new trials until the study's `budget` is spent, but stage "
            f"{entries[-1].name!r} of search {search!r} has trials={entries[-1].trials}: leave it out and set `budget`."
        )
    for before, stage in itertools.pairwise(entries):
        if stage.trials is not None and before.trials is None:
            raise ConfigError(
                f"`trials` of a stage is counted on from those of the stages before it, which must have `trials` too, "
                f"but of search {search!r} stage {stage.name!r} has {stage.trials} and {before.name!r} has none: give "
                f"both a number, or {stage.name!r} a `budget`."
            )


def _epochs(stage: Stage) -> int:
    return stage.epochs or 0


def _with(stage: Stage, **changes: Any) -> Stage:
    return Stage(**{**asdict(stage), **changes})


def _sampler_name(sampler: Any) -> str:
    """`gp`, or a class without its module: what a person calls a search by that sampler."""
    name = _plain(sampler)
    text = name if isinstance(name, str) else str(name.get("_target_", name.get("name", "custom")))
    return text.rpartition(".")[2]


def _settings(search: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    if isinstance(search, Mapping):
        return str(search.get("name", "custom")), search
    if search not in SEARCHES:
        raise ConfigError(f"`search` is one of {', '.join(SEARCHES)}, or a mapping with stages, but got {search!r}.")
    return search, SEARCHES[search]


def _stage(search: str, stage: Any, full: int | None, is_last: bool) -> Stage:
    if not isinstance(stage, Mapping) or set(stage) - set(STAGE_KEYS):
        got = ", ".join(map(str, stage)) if isinstance(stage, Mapping) else repr(stage)
        raise ConfigError(
            f"A stage has the keys {', '.join(STAGE_KEYS)}, but one of search {search!r} has {got or 'none'}."
        )
    sampler, promote = stage.get("sampler"), stage.get("promote")
    if sampler is None and promote is None:
        raise ConfigError(
            f"A stage needs a sampler (for new trials) or promote (for those of the stage before), but stage "
            f"{stage.get('name', '')!r} of search {search!r} has neither."
        )
    if stage.get("trials") is not None and (sampler is None or stage.get("budget") is not None):
        other = "no sampler" if sampler is None else f"budget={stage['budget']} too"
        raise ConfigError(
            f"`trials` of a stage is how many new ones begin at it, by its sampler, instead of a `budget`, but stage "
            f"{stage.get('name', '')!r} of search {search!r} has trials={stage['trials']} and {other}: leave one out."
        )
    return Stage(
        name=str(stage.get("name", "search")),
        sampler=None if sampler is None else _plain(sampler),
        epochs=_stage_epochs(stage.get("epochs"), full, is_last),
        share=_share("budget", stage.get("budget")),
        promote=promote if promote == WORTH else _share("promote", promote, f"{WORTH}, or "),
        narrow=_share("narrow", stage.get("narrow")),
        trials=_trials(stage.get("trials")),
    )


def _trials(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ConfigError(f"`trials` of a stage is a whole number above 0, such as 30, but got {value!r}.")


def _stage_epochs(value: Any, full: int | None, is_last: bool) -> int | None:
    """Epochs as a whole number, or as a share of a full training, such as 1/9."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        if full is not None and value > full:
            raise ConfigError(f"A stage trains at most as long as a full training, {full} epochs, but got {value}.")
        return full if is_last and full is not None else value
    share = 1.0 if value is None else _share("epochs", value, "a whole number, or ")
    assert share is not None
    if is_last or full is None:
        return full
    return max(round(share * full), min(LEAST_EPOCHS, math.ceil(full / 3)))


def _share(key: str, value: Any, more: str = "") -> float | None:
    if value is None:
        return None
    try:
        number = float(Fraction(value)) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        number = math.nan
    if not 0 < number <= 1 or isinstance(value, bool):
        raise ConfigError(f"`{key}` of a stage is {more}a share above 0 and up to 1, such as 1/3, but got {value!r}.")
    return number


def _plain(sampler: Any) -> str | dict[str, Any]:
    if isinstance(sampler, str):
        return sampler
    if isinstance(sampler, Mapping):
        return dict(sampler)
    raise ConfigError(f"A sampler is a name or a mapping with _target_, but got {sampler!r}.")
