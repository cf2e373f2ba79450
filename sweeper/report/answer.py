"""What a study has found, in sentences: the best setting, how sure it is, what it cost, the ranges, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.analysis import confirmed
from sweeper.analysis.commands import of_trial
from sweeper.analysis.confirmation import Standing, Verdict
from sweeper.analysis.digest import JUDGED, Digest
from sweeper.report.terminal import borders
from sweeper.report.terminal import confirmed as drawn
from sweeper.report.terminal.summary import ending, failure_lines
from sweeper.report.terminal.tables import other_metrics
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.numbers import counted, duration, number
from sweeper.words.records import TrialState

MODELLED = 2_000
"""Of a larger study the model's recommendation would take longer than all else."""
LATE = 0.8
"""A best trial that came after this share of what was spent says that the search still gains."""
MANY_FAILED = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """`points`: a word and its sentences; `command` trains the trial `number` again; `setting`: its parameters."""

    number: int | None
    value: float | None
    setting: tuple[tuple[str, str], ...]
    points: tuple[tuple[str, tuple[str, ...]], ...]
    command: str | None


def collect(store: Store, digest: Digest) -> Answer:
    study = digest.study
    chosen = confirmed.leader(store, study)
    if chosen is None and digest.progress.best is not None:
        chosen = digest.progress.best.number
    trial = reads.trial(store, study.id, chosen) if chosen is not None else {}
    params = trial.get("params") or {}
    points = [
        ("Best", _best(digest, chosen)),
        ("How sure", _sure(store, digest)),
        ("Cost", _cost(digest)),
        ("Ranges", _ranges(digest)),
        ("Failures", _failures(digest)),
        ("Next", _next(store, digest)),
    ]
    return Answer(
        number=chosen,
        value=trial.get("value"),
        setting=tuple((name, number(value)) for name, value in params.items()),
        points=tuple((word, tuple(said)) for word, said in points if said),
        command=of_trial(study, trial, elsewhere=True),
    )


def _best(digest: Digest, chosen: int | None) -> list[str]:
    study = digest.study
    if chosen is None:
        if not digest.ranked:
            return ["No trial has a value yet."]
        row = digest.ranked[0]
        told = f"{study.metric} {number(digest.columns['value'][row], pad=True)} after {_epochs(digest, row)}"
        return [f"No trial is complete yet; the furthest, trial {digest.columns['number'][row]}, has {told}."]
    row = digest.columns["number"].index(chosen)
    others = other_metrics([name for name in digest.columns if name.startswith("metrics.")], study.metric)
    beside = [
        f"{name.removeprefix('metrics.')} {number(digest.columns[name][row], pad=True)}"
        for name in others
        if digest.columns[name][row] is not None
    ]
    also = f" ({', '.join(beside)})" if beside else ""
    value = number(digest.columns["value"][row], pad=True)
    return [f"Trial {chosen} has {study.metric} {value}{also} after {_epochs(digest, row)}."]


def _epochs(digest: Digest, row: int) -> str:
    count = digest.columns["epochs_done"][row]
    return counted(count, "epoch") if count else "its training"


def _sure(store: Store, digest: Digest) -> list[str]:
    found = confirmed.collect(store, digest.study)
    said = drawn.lines(store, digest.study, found)
    if not found and len(digest.complete) > 1:
        second = digest.columns["value"][digest.complete[1]]
        gap = abs(digest.columns["value"][digest.complete[0]] - second)
        said = [
            f"It leads the second, trial {digest.columns['number'][digest.complete[1]]}, by {number(float(gap))}; "
            "with one training each nobody knows whether that is more than luck.",
            *said,
        ]
    small = len(digest.columns["number"]) <= MODELLED
    if small and digest.progress.standing == "complete" and digest.progress.best is not None:
        recommended = drawn.recommended(store, digest.study, digest.progress.best)
        said += [recommended] if recommended else []
    return said


def _cost(digest: Digest) -> list[str]:
    trained = sum(filter(None, digest.columns["seconds"]))
    said = [ending(digest.progress, trained)]
    lanes, busy = digest.timeline, digest.ledger.utilisation
    if busy is not None and lanes.seconds:
        count = len(lanes.lanes)
        slots = "1 worker" if count == 1 else f"{count} workers"
        useful = digest.ledger.seconds.shares["useful"]
        said.append(
            f"It took {duration(lanes.seconds)} with {slots}, which held a trial {busy:.0%} of it; "
            f"{useful:.0%} went into epochs of complete trials."
        )
    return said


def _ranges(digest: Digest) -> list[str]:
    said = [_sentence(text) for text in borders.last_words(digest.verdicts)]
    if not said and any(verdict.trials and verdict.top for verdict in digest.verdicts):
        said = ["The best trials crowd no edge of a range."]
    elif not said and digest.verdicts:
        said = ["Too few trials to say whether the ranges were right."]
    elif not said and len(digest.columns["number"]) > JUDGED:
        said = [f"Judging the ranges by so many trials takes longer: sweeper borders --study {digest.study.name}."]
    kinds = [move["kind"] for move in digest.moves]
    told = [f"{kind} {_times(kinds.count(kind))}" for kind in dict.fromkeys(kinds)]
    return [*said, f"Ranges were {' and '.join(told)}."] if told else said


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _failures(digest: Digest) -> list[str]:
    return [_sentence(text) for text in failure_lines(digest.progress)]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _next(store: Store, digest: Digest) -> list[str]:
    """What would most improve the answer, by what is known."""
    said: list[str] = []
    progress = digest.progress
    if progress.standing in ("stopped", "paused", "interrupted"):
        said.append("The same command goes on where it was.")
    if len(digest.failed) > MANY_FAILED * max(1, len(digest.searched)):
        said.append("Mend what trials fail of, then sweeper retry puts them back.")
    for verdict in digest.verdicts:
        if verdict.widen_to is not None:
            low, high = map(number, verdict.widen_to)
            said.append(f"Widen {verdict.parameter} to [{low}, {high}].")
    if progress.standing == "complete":
        said += _more_budget(digest) + _more_seeds(store, digest)
    return said


def _more_budget(digest: Digest) -> list[str]:
    spent = digest.spent
    if len(digest.complete) < 2 or not spent[-1][0]:
        return []
    share = spent[-2][0] / spent[-1][0]
    key, more = digest.study.key("budget"), max(digest.progress.budget + 1, digest.progress.budget * 3 // 2)
    if share > LATE:
        return [f"The best came late, after {share:.0%} of what was spent: {key}={more:g} may well find a better one."]
    return [f"The best came after {share:.0%} of what was spent: a larger {key} is likely to gain little."]


def _more_seeds(store: Store, digest: Digest) -> list[str]:
    found: Sequence[Verdict] = confirmed.collect(store, digest.study)
    if any(verdict.standing is Standing.TIES for verdict in found):
        return ["The first are too close to tell apart by these seeds: take the cheaper one, or more seeds."]
    complete = digest.progress.counts.get(TrialState.COMPLETE, 0)
    return ["Confirm the best with other seeds, as said above."] if not found and complete > 1 else []
