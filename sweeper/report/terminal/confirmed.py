"""How sure it is which trial is the best: what the repeats of the best ones say, in a table and a plain sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console, RenderableType

from sweeper.analysis import confirmed
from sweeper.analysis.confirmation import Standing, Verdict, optimism
from sweeper.report.terminal import tables
from sweeper.search.plan import SEEDS, TOP, Confirm, Plan
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.numbers import number
from sweeper.words.records import StudyRecord, TrialRecord

DIGITS = 6
"""Behind the point, at most."""


def lines(store: Store, study: StudyRecord, found: Sequence[Verdict]) -> list[str]:
    """What a person ought to know of the best value: how sure it is, or how to find out."""
    values = confirmed.values(store, study, found)
    if found:
        return sentences(found, study, values)
    plan = Plan.from_json(study.plan)
    is_over = study.granted_epochs + (plan.full_epochs or 1) > study.budget_epochs
    return [hint(study, values)] if is_over and values > 1 and plan.confirm is None else []


def recommended(store: Store, study: StudyRecord, best: TrialRecord) -> str | None:
    """Which trial the search's model recommends instead of the best value, and why."""
    chosen = confirmed.recommended(store, study, best)
    if chosen is None:
        return None
    value = number(reads.trial(store, study.id, chosen)["value"], pad=True)
    return (
        f"The model recommends trial {chosen} ({study.metric} {value}): by what all trials say and its own value it is "
        f"better than trial {best.number}, whose value owes more to luck."
    )


def hint(study: StudyRecord, values: int) -> str:
    more = Confirm()
    asked = f'"{{top: {TOP}, seeds: {SEEDS}}}"' if "variants" in study.config else f'{{"top": {TOP}, "seeds": {SEEDS}}}'
    return (
        f"The best of {values} values is optimistic. To know how sure it is: the same command with "
        f"{study.key('confirm')}={asked} {study.key('budget')}={study.budget + more.trainings:g}."
    )


def sentences(found: Sequence[Verdict], study: StudyRecord, values: int) -> list[str]:
    """`values`: of how many the best was chosen."""
    best, *others = found
    trial = best.trial
    said = [*_so_far(found), _standing(best, others, study.metric)]
    gain = optimism(trial, study.direction)
    if gain is not None and gain > 0:
        own = number(trial.first, pad=True)
        said.append(f"Its own value, {own}, was chosen among {values}: optimistic by {number(gain)}.")
    if trial.failed:
        said.append(f"With {trial.failed} of its {trial.failed + len(trial.values)} seeds it failed.")
    return said


def _so_far(found: Sequence[Verdict]) -> list[str]:
    waiting = sum(verdict.trial.open for verdict in found)
    done = sum(len(verdict.trial.values) + verdict.trial.failed for verdict in found)
    return [f"So far {done} of {done + waiting} repeats are trained."] if waiting else []


def _standing(best: Verdict, others: Sequence[Verdict], metric: str) -> str:
    trial = best.trial
    if trial.mean is None:
        return f"No repeat of trial {trial.number} has a value."
    worth = f"{metric} {spread(best)} over {len(trial.values)} other seeds"
    if best.probability is None:
        return f"Trial {trial.number} has {worth}."
    sure = _probability(best.probability)
    if best.standing is Standing.WINS:
        return f"Trial {trial.number} wins: with probability {sure} it is truly the best of {_count(others)}, {worth}."
    ties = [str(other.trial.number) for other in others if other.standing is Standing.TIES]
    how = f"ties with {'trial' if len(ties) == 1 else 'trials'} {_and(ties)}" if ties else "leads"
    return f"Trial {trial.number} {how}: with probability {sure} it is truly the best of {_count(others)}, {worth}."


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _count(others: Sequence[Verdict]) -> str:
    return f"the {len(others) + 1}"


def _probability(value: float) -> str:
    return f"{value:.2f}" if value < 0.995 else "above 0.99"


def spread(verdict: Verdict) -> str:
    """`0.2310 ± 0.0043`: mean and standard deviation of its repeats, to the second digit of the deviation."""
    mean, deviation = verdict.trial.mean, verdict.trial.deviation
    if mean is None or not deviation:
        return number(mean, pad=True)
    digits = 1 - math.floor(math.log10(deviation))
    if not 0 <= digits <= DIGITS:
        return f"{number(mean, pad=True)} ± {number(deviation)}"
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def draw(found: Sequence[Verdict], metric: str, width: int) -> RenderableType:
    """A table; a column for repeats that failed, where there are any."""
    failed = any(verdict.trial.failed for verdict in found)
    return tables.fitted([_cells(verdict, metric, failed) for verdict in found], width)


def _cells(verdict: Verdict, metric: str, failed: bool) -> dict[str, str]:
    trial = verdict.trial
    return {
        "trial": str(trial.number),
        f"{metric}, other seeds": spread(verdict),
        "seeds": str(len(trial.values)),
        **({"failed": str(trial.failed)} if failed else {}),
        "its own (optimistic)": number(trial.first, pad=True),
        "truly the best": number(None) if verdict.probability is None else _probability(verdict.probability),
        "standing": number(None) if verdict.standing is Standing.UNKNOWN else verdict.standing.value,
    }


def print_on(page: Console, store: Store, study: StudyRecord) -> None:
    """Table and sentences on a page, or how to get them."""
    found = confirmed.collect(store, study)
    if found:
        page.print()
        page.print(draw(found, study.metric, page.width))
    said = lines(store, study, found)
    if said:
        page.print()
    for text in said:
        page.print(text, soft_wrap=True)
