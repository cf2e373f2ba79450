"""What a person's change of a study means for what runs now: the answers of `sweeper pause`, `retry`, `set`, `hide`."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.analysis.progress import Progress
from sweeper.words.numbers import counted
from sweeper.words.program import typed
from sweeper.words.records import StudyRecord, StudyState


def of_state(progress: Progress, again: Sequence[str] = ()) -> str:
    """Of `pause`, `stop`, `resume`: workers look at the state when they claim a trial, and at no other time.

    `again`: the devices whose pause was ended with it.
    """
    if progress.state is StudyState.PAUSED:
        ends = f"{_train_on(progress)}, then their workers wait" if progress.workers else "no worker is alive"
        return typed(
            f"The study {progress.study} is paused: {ends}. `sweeper resume` opens it, and so does the same command."
        )
    if progress.state is StudyState.STOPPED:
        ends = f"{_train_on(progress)}, then their workers leave" if progress.workers else "no worker is alive"
        cut = " (Ctrl-C in the sweep hands them back after their epoch)" if progress.workers else ""
        opens = typed("`sweeper resume` or the same command opens it")
        return f"The study {progress.study} is stopped: {ends}{cut}. {opens}."
    count = len(progress.workers)
    goes_on = f"{counted(count, 'worker')} go{'es' if count == 1 else ''} on" if count else _next_start()
    devices = f", {', '.join(again)} tr{'ies' if len(again) == 1 else 'y'} again" if again else ""
    return f"The study {progress.study} is open: {goes_on}{devices}."


def of_retry(progress: Progress, numbers: Sequence[int], timed_out: bool) -> str:
    """`timed_out`: one of them was FAIL `timeout`, whose trial's seconds count on."""
    known = f"{_listed(numbers)} wait{'s' if len(numbers) == 1 else ''} to go on from the last checkpoint"
    larger = " Their seconds count on, so give a larger timeout=… at that start." if timed_out else ""
    return f"{known}, within the budget that was granted: {_taken(progress)}.{larger}"


def of_budget(before: StudyRecord, after: StudyRecord, progress: Progress) -> str:
    full = after.full_epochs or 1
    granted, left = after.granted_epochs / full, max(0, after.budget_epochs - after.granted_epochs) / full
    room = f"room for {left:g} more" if left else "no new trial begins, and what is begun goes on to its end"
    when = "Workers see it at their next claim." if progress.workers else f"{_next_start().capitalize()}."
    return (
        f"The budget of {after.name} is {after.budget:g} full trainings (before: {before.budget:g}); {granted:g} are "
        f"granted already: {room}. {when} A start sets the budget that it says: give budget={after.budget:g} "
        "there too."
    )


def of_workers(study: StudyRecord, progress: Progress, wanted: int) -> str:
    """The running driver looks twice a second; with several drivers the number is each one's."""
    count = sum(worker.engine == "local" for worker in progress.workers)
    more = wanted * progress.drivers - count
    each = f" for each of its {progress.drivers} drivers" if progress.drivers > 1 else ""
    meaning = f"{more} more start{'s' if more == 1 else ''}" if more > 0 else "as many as there are"
    if more < 0:
        leave = "leaves" if more == -1 else "leave"
        meaning = f"{-more} {leave} after the epoch in hand, and the others take up what is handed back"
    return (
        f"{study.name} has {counted(wanted, 'worker')} from now on{each} (before: {count}): {meaning}. A start has as "
        f"many as its command says: give {study.key('workers')}={wanted} there too."
    )


def of_hiding(study: str, numbers: Sequence[int], *, hidden: bool) -> str:
    if hidden:
        return typed(
            f"{_listed(numbers)} of {study} hidden: not among the best, and samplers are told nothing of it; `sweeper "
            "trials` and `show` have it still. `sweeper unhide` takes it back."
        )
    return f"{_listed(numbers)} of {study} counts again: for the best, and for what samplers are told."


def _train_on(progress: Progress) -> str:
    held = [worker.trial for worker in progress.workers if worker.trial is not None]
    return f"{_listed(held)} train{'s' if len(held) == 1 else ''} to the end" if held else "no trial runs"


def _taken(progress: Progress) -> str:
    if progress.state is StudyState.PAUSED:
        return typed("the study is paused, `sweeper resume` goes on")
    if progress.workers:
        return f"the next of {counted(len(progress.workers), 'worker')} that is free takes it"
    return _next_start()


def _next_start() -> str:
    return "no worker is alive, the same command goes on where it was"


def _listed(numbers: Sequence[int]) -> str:
    """
    >>> _listed([7]), _listed([12, 7])
    ('trial 7', 'trials 7, 12')
    """
    return f"trial{'' if len(numbers) == 1 else 's'} {', '.join(map(str, sorted(numbers)))}"
