"""What the trials of a study say together: where they diverge, what its best ones share, what matters, what is thin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sweeper.analysis.diagnosis.diagnosis import CS231N, PLAYBOOK, Diagnosis, Kind, Severity, share
from sweeper.analysis.diagnosis.learning import cause
from sweeper.analysis.diagnosis.observed import Run
from sweeper.search import significance
from sweeper.search.space import Categorical, Parameter, SearchSpace, as_text
from sweeper.words.numbers import short
from sweeper.words.records import Direction, Failure, TrialRecord, TrialState

FEWEST, CLEAR, LUCK = 3, 0.8, 0.01
"""A region diverges where so many trials have, so large a share of those in it, and not by such luck."""
MOST_TRIALS, MOST_EDGES = 2_000, 50
NEAR, NEIGHBOURS, ENOUGH = 0.1, 3, 20
"""Around the best, within a tenth of each range, so many others should lie; told from so many trials on."""
MINOR, MAJOR = 0.05, 0.3
"""Shares of what tells the best from the rest."""
OFTEN = 0.15
"""Of the trials, that one cause kept from learning."""


def diverging(space: SearchSpace, trials: Sequence[TrialRecord]) -> Diagnosis | None:
    """The region with the most of them: beyond a value of one parameter, or one choice; or the whole space."""
    over = [trial for trial in trials if trial.params and (_is_valued(trial) or _is_diverged(trial))][-MOST_TRIALS:]
    if sum(map(_is_diverged, over)) >= max(FEWEST, CLEAR * len(over)):
        return _all_diverged(over)
    regions = [each for parameter in space for each in _regions(parameter, over)]
    sure = [each for each in regions if each[0] >= FEWEST and each[0] >= CLEAR * each[1] and each[2] <= LUCK]
    if not sure:
        return None
    bad, inside, p, parameter, words, limit = min(sure, key=lambda each: (-each[0], each[2]))
    rest, rest_bad = len(over) - inside, sum(map(_is_diverged, over)) - bad
    of = f"All {bad}" if bad == inside else f"{bad} of the {inside}"
    others = f"; {rest_bad} of the other {rest} did" if rest_bad else f"; none of the other {rest} did"
    cure = "leave it out" if limit is None else f"end its range there, at {short(limit)}"
    return Diagnosis(
        Kind.DIVERGING_REGION,
        Severity.BAD,
        f"{of} trials with {parameter} {words} diverged{others}.",
        f"{cure}, or clip gradients and warm up; the search keeps away by itself, but each such trial is spent",
        PLAYBOOK,
        {"parameter": parameter, "region": words, "diverged": bad, "trials": inside, "p_value": p},
    )


def _all_diverged(over: Sequence[TrialRecord]) -> Diagnosis:
    bad = sum(map(_is_diverged, over))
    return Diagnosis(
        Kind.DIVERGING_REGION,
        Severity.BROKEN,
        f"{'All' if bad == len(over) else f'{bad} of'} {len(over)} trials diverged, wherever they lie in the space.",
        "look the script over first (sweeper check SCRIPT): gradients that are not zeroed, inputs that are not scaled; "
        "then a learning rate below its range",
        PLAYBOOK,
        {"diverged": bad, "trials": len(over)},
    )


Region = tuple[int, int, float, str, str, float | None]
"""How many diverged, of how many, by what luck; the parameter, the part of its range in words, and its edge."""


def _regions(parameter: Parameter, over: Sequence[TrialRecord]) -> list[Region]:
    """The parts that hold almost nothing but trials that diverged."""
    name = parameter.name
    valued = [(trial.params[name], _is_diverged(trial)) for trial in over if trial.params and name in trial.params]
    marked, parts = sum(bad for _, bad in valued), _parts(parameter, [value for value, bad in valued if bad])
    found: list[Region] = []
    for words, edge, is_in in parts:
        inside = [bad for value, bad in valued if is_in(value)]
        bad = sum(inside)
        if bad >= max(FEWEST, CLEAR * len(inside)):
            luck = len(parts) * significance.of_count(len(valued), marked, len(inside), bad)
            found.append((bad, len(inside), luck, name, words, edge))
    return found


def _parts(parameter: Parameter, bad: Sequence[Any]) -> list[tuple[str, float | None, Callable[[Any], bool]]]:
    """Each choice, or what lies beyond each value at which a trial diverged."""

    def chosen(text: str) -> Callable[[Any], bool]:
        return lambda value: as_text(value) == text

    def beyond(edge: float, sign: int) -> Callable[[Any], bool]:
        return lambda value: sign * value >= sign * edge

    if isinstance(parameter, Categorical):
        return [(f"= {text}", None, chosen(text)) for text in sorted({as_text(choice) for choice in bad})]
    values = sorted(set(bad))
    edges = values[:: -(-len(values) // MOST_EDGES) or 1]
    above = [(f"from {short(edge)} on", edge, beyond(edge, 1)) for edge in edges]
    return [*above, *((f"up to {short(edge)}", edge, beyond(edge, -1)) for edge in edges)]


def thin(
    space: SearchSpace, trials: Sequence[TrialRecord], direction: Direction, names: Sequence[str]
) -> Diagnosis | None:
    """Whether others lie near the best, in the ranges of these parameters: those that matter most."""
    valued = [trial for trial in trials if trial.params and _is_valued(trial) and trial.state is TrialState.COMPLETE]
    told = [name for name in names if not isinstance(space[name], Categorical)][:2]
    if len(valued) < ENOUGH or not told:
        return None
    best = min(valued, key=lambda trial: direction.sign * (trial.value or 0.0))

    def is_near(trial: TrialRecord) -> bool:
        here, there = (_unit(space, each, told) for each in (best, trial))
        return all(a is not None and b is not None and abs(a - b) <= NEAR for a, b in zip(here, there, strict=True))

    near = sum(is_near(trial) for trial in valued if trial is not best)
    if near >= NEIGHBOURS:
        return None
    ends = {name: _around(space, name, best) for name in told}
    return Diagnosis(
        Kind.THIN,
        Severity.HINT,
        f"{near or 'None'} of the other {len(valued) - 1} complete trials {'lies' if near < 2 else 'lie'} near the "
        f"best, trial {best.number}, within a tenth of the range of {' and '.join(told)}: what is around it nobody "
        "knows.",
        f"search on in {', '.join(f'{name} [{short(low)}, {short(high)}]' for name, (low, high) in ends.items())}, "
        "with a larger budget or search=coarse_to_fine",
        CS231N,
        {"best": best.number, "near": near, "trials": len(valued), "parameters": told},
    )


def important(shares: Sequence[tuple[str, float]], trials: int) -> Diagnosis | None:
    """`shares`: how much each parameter tells the best from the rest, the largest first, by so many trials."""
    if len(shares) < 2 or shares[0][1] < MAJOR:
        return None
    minor = [name for name, part in shares if part < MINOR]
    least = f"; {', '.join(minor)} hardly at all" if minor else ""
    second = f", then {shares[1][0]} ({share(shares[1][1])})" if shares[1][1] >= MINOR else ""
    return Diagnosis(
        Kind.IMPORTANT,
        Severity.HINT,
        f"{shares[0][0]} matters most: {share(shares[0][1])} of what tells the best trials from the rest, by {trials} "
        f"trials{second}{least}.",
        f"search {shares[0][0]} finely" + (f", and fix {', '.join(minor)}" if minor else ""),
        PLAYBOOK,
        {"shares": dict(shares), "trials": trials},
    )


def shared(best: Sequence[Run], told: Callable[[Run], list[Diagnosis]]) -> list[Diagnosis]:
    """What most of the best trials have, in the words of the best of them."""
    found: dict[Kind, list[tuple[Run, Diagnosis]]] = {}
    for run in best:
        for diagnosis in told(run):
            found.setdefault(diagnosis.kind, []).append((run, diagnosis))
    many = [each for each in found.values() if len(each) > len(best) / 2]
    return [_of_many(each, len(best)) for each in many]


def _of_many(those: Sequence[tuple[Run, Diagnosis]], of: int) -> Diagnosis:
    run, first = those[0]
    numbers = [each.number for each, _ in those]
    who = f"Trial {run.number}, the best" if of == 1 else f"{len(those)} of the {of} best trials, as trial {run.number}"
    return Diagnosis(
        first.kind,
        first.severity,
        f"{who}: {first.sentence[0].lower()}{first.sentence[1:]}",
        first.cure,
        first.source,
        {**first.evidence, "trials": numbers, "of": of},
    )


def kept_from_learning(runs: Sequence[Run]) -> Diagnosis | None:
    """The cause that kept most of the trials from learning, and at what learning rates."""
    found: dict[Kind, list[tuple[Run, Diagnosis]]] = {}
    for run in runs:
        why = cause(run) if run.failure in (None, Failure.DIVERGED) else None
        if why is not None and why.severity is Severity.BROKEN and why.kind is not Kind.DIVERGED:
            found.setdefault(why.kind, []).append((run, why))
    those = max(found.values(), key=len, default=[])
    if len(those) < max(FEWEST, OFTEN * len(runs)):
        return None
    kind = those[0][1].kind
    rates = [run.rate for run, _ in those if run.rate]
    span = f" ({rates[0][0]} from {short(min(r for _, r in rates))} to {short(max(r for _, r in rates))})"
    told = kind.value.replace("_", " ").replace("lr", "learning rate")
    return Diagnosis(
        kind,
        Severity.BAD,
        f"{len(those)} of {len(runs)} trials did not learn, for one cause: {told}{span if rates else ''}. Trial "
        f"{those[0][0].number}: {those[0][1].sentence}",
        those[0][1].cure,
        those[0][1].source,
        {"trials": [run.number for run, _ in those], "of": len(runs)},
    )


def _is_valued(trial: TrialRecord) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.PAUSED) and trial.value is not None


def _is_diverged(trial: TrialRecord) -> bool:
    return trial.state is TrialState.FAIL and trial.failure is Failure.DIVERGED


def _unit(space: SearchSpace, trial: TrialRecord, names: Sequence[str]) -> list[float | None]:
    params = trial.params or {}
    return [space[name].to_unit(params[name]) if name in params else None for name in names]


def _around(space: SearchSpace, name: str, trial: TrialRecord) -> tuple[float, float]:
    parameter, params = space[name], trial.params or {}
    place = parameter.to_unit(params[name])
    return parameter.from_unit(max(0.0, place - NEAR)), parameter.from_unit(min(1.0, place + NEAR))
