"""The built-in plans, and a plan out of a person's settings: names, shares and defaults become stages."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from sweeper.search.plan import SEEDS, TOP, WORTH, Confirm, Plan, Stage
from sweeper.words.errors import ConfigError

THIRD = 1 / 3


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
