"""The older study that a new one learns from: its first trials take the settings that were best there.

What was good on a kindred problem is a better start than any point of the plan, for every kind of search (Feurer,
Springenberg & Hutter, "Initializing Bayesian Hyperparameter Optimization via Meta-Learning", AAAI 2015). They are
frozen in the new study's plan, so that the older store may go; only ranks count, so its metric may be another one.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.search.space import Float, Parameter, SearchSpace, as_texts
from sweeper.store import reads, totals
from sweeper.store.connection import Store
from sweeper.words.errors import ConfigError, StoreError
from sweeper.words.records import Direction, StudyRecord
from sweeper.words.seeds import derive

log = logging.getLogger("sweeper")

MOST = 5
"""Settings that are taken over, at most; and never more than half of the points that a search starts with."""
GOOD, GOOD_LEAST = 1 / 4, 10
"""Good are this share of the older study's complete trials, and so many where it has few."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """`store`: its URL; None: the new study's own store."""

    study: str
    store: str | None = None

    @classmethod
    def parse(cls, value: Any) -> Ancestor | None:
        """A study's name, or `{study: NAME, store: URL}`; null for none. Raises ConfigError."""
        if value is None:
            return None
        given = {"study": value} if isinstance(value, str) else value
        known = isinstance(given, Mapping) and "study" in given and not set(given) - {"study", "store"}
        if not known or not all(isinstance(each, str) for each in given.values()):
            raise ConfigError(f"`from_study` is a study's name, or {{study: NAME, store: URL}}, but got {value!r}.")
        return cls(**given)


def first_params(
    store: Store, ancestor: Ancestor, space: SearchSpace, *, metric: str, direction: Direction, seed: int, budget: float
) -> list[dict[str, Any]]:
    """The params of a new study's first trials: the older one's best that lie in `space`, the best first.

    What the older study does not know is drawn by chance. `budget`: full trainings of the new search. Raises
    ConfigError where there is nothing to learn, StoreError where there is no such study.
    """
    older, best = _look(store, ancestor)
    if older.metric != metric or older.direction is not direction:
        log.warning(
            "the study %s was for %s (%s), this one is for %s (%s): its best settings are taken by their rank",
            older.name, older.metric, older.direction, metric, direction,
        )  # fmt: skip
    shared = [parameter for parameter in space if parameter.name in {each["name"] for each in older.space}]
    if not shared:
        raise ConfigError(
            f"A study can begin where an older one has ended only if they share a parameter, but {older.name!r} has "
            f"{as_texts(each['name'] for each in older.space)}, and this one {as_texts(space.names)}."
        )
    taken = list(_within(shared, best))[: _count(space, budget)]
    if not taken:
        raise ConfigError(
            f"None of the {len(best)} best trials of {older.name!r} lies in the new ranges "
            f"({'; '.join(f'{each.name} is {each.law}' for each in shared)}): widen them, or leave from_study out."
        )
    log.info("the first %d trials take the best settings of %s", len(taken), older.name)
    return [_completed(space, params, derive(seed, "first", nth)) for nth, params in enumerate(taken)]


def _look(store: Store, ancestor: Ancestor) -> tuple[StudyRecord, list[Mapping[str, Any]]]:
    """The older study, and the params of its good trials, the best first."""
    opened = store if ancestor.store is None else Store(ancestor.store)
    try:
        older = reads.study(opened, ancestor.study)
        complete = len(totals.seconds_per_trial(opened, older.id))
        best = reads.best(opened, older, max(GOOD_LEAST, int(GOOD * complete)))
    except StoreError as error:
        raise StoreError(f"`from_study` names a study that there is. {error}") from error
    finally:
        if opened is not store:
            opened.close()
    return older, [trial.params for trial in best if trial.params is not None]


def _within(shared: Sequence[Parameter], best: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What of each is shared, once, where all of it lies in the ranges."""
    seen = set()
    for params in best:
        known = {each.name: params[each.name] for each in shared if each.name in params}
        text = json.dumps(known, sort_keys=True)
        inside = all(each.contains(known[each.name]) for each in shared if each.name in known)
        if known and inside and text not in seen:
            seen.add(text)
            yield known


def _count(space: SearchSpace, budget: float) -> int:
    starting = max(4, min(3 * len(space), int(0.4 * budget)))
    return min(MOST, starting // 2)


def _completed(space: SearchSpace, known: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The active parameters: those that are known, the others drawn, each on its own scale."""
    chance = random.Random(seed)
    params: dict[str, Any] = {}
    for parameter in space.in_order():
        drawn = parameter.from_unit(chance.random())  # in any case, so that one parameter's draw is not another's
        if space.is_active(parameter, params):
            value = known.get(parameter.name, drawn)
            params[parameter.name] = float(value) if isinstance(parameter, Float) else value
    return params
