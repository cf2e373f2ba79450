"""What the curves say: of a trial why it does not learn or how it could learn better, of a study what its trials share.

Pure functions of what trials reported, of their parameters and of the space. The rules and their thresholds are those
of people who teach how to train (CS231n, Karpathy, Google's tuning playbook), each diagnosis names its source;
experiments/benchmarks/diseases.py measures how often they are right on trainings that are broken on purpose, and how
often they disturb a healthy one.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.analysis.diagnosis import course, region, signals
from sweeper.analysis.diagnosis.diagnosis import MOST, Diagnosis, Kind, Severity
from sweeper.analysis.diagnosis.learning import cause
from sweeper.analysis.diagnosis.observed import Run, known, last
from sweeper.search.space import SearchSpace
from sweeper.words.numbers import counted
from sweeper.words.records import Direction, TrialRecord

__all__ = ["MOST", "Diagnosis", "Kind", "Run", "Severity", "of_study", "of_trial", "well"]

CONDITIONS = (
    signals.frozen,
    signals.dead_from_the_start,
    signals.saturated,
    course.noisy,
    signals.died,
    course.overfits,
    course.underfits,
    course.improving,
    course.settled,
)


FOLLOWING = (Kind.OVERFITTING, Kind.UNDERFITTING, Kind.IMPROVING, Kind.SETTLED)
"""What follows where a cause is known that keeps it from learning."""


def of_trial(run: Run) -> list[Diagnosis]:
    """At most `MOST` diagnoses, the most important first; none of a training that goes well.

    What is broken is told alone: everything else follows from it.
    """
    why = cause(run)
    if why is not None and why.severity is Severity.BROKEN:
        return [why]
    found = [told for rule in CONDITIONS if (told := rule(run)) is not None]
    if why is not None:
        found = [why, *(each for each in found if each.kind not in FOLLOWING)]
    return sorted(found, key=_gravity)[:MOST]


def _gravity(diagnosis: Diagnosis) -> int:
    return list(Severity).index(diagnosis.severity)


def of_study(
    space: SearchSpace,
    trials: Sequence[TrialRecord],
    direction: Direction,
    *,
    best: Sequence[Run] = (),
    runs: Sequence[Run] = (),
    shares: Sequence[tuple[str, float]] = (),
    counted: int = 0,
) -> list[Diagnosis]:
    """At most `MOST` diagnoses about a study, the most important first.

    `best`: its best trials, the best first; `runs`: these and others. `shares`: what each parameter matters, the most
    first, by so many `counted` trials.
    """
    names = [name for name, _ in shares] or list(space.names)
    of_best, kept = region.shared(best, of_trial), region.kept_from_learning(runs)
    found = [
        *of_best,
        kept if kept and kept.kind not in {each.kind for each in of_best} else None,
        region.diverging(space, trials),
        region.thin(space, trials, direction, names),
        region.important(shares, counted),
    ]
    return sorted((each for each in found if each is not None), key=_gravity)[:MOST]


def well(run: Run) -> str:
    """A training of which nothing was found, in a sentence with its numbers."""
    if len(run.reports) < 3:
        return f"{counted(len(run.reports), 'epoch')}: too few to say anything by the curves."
    losses = [
        f"the loss is {last(line):.3g} in {where}"
        for line, where in ((run.train_loss, "training"), (run.val_loss, "validation"))
        if known(line)
    ]
    told = " and ".join(losses) or f"{run.metric} is {last(run.line(run.metric)):.3g}"
    return f"Nothing to mend: {told}{signals.told_pace(run)}."
