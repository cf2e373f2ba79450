"""What a sweep says at its end: how it went, its best trials, and what to type next."""

from __future__ import annotations

from typing import IO

from rich.console import RenderableType

from sweeper.analysis import columns, confirmed
from sweeper.analysis.progress import Progress, snapshot
from sweeper.report.terminal import borders, tables
from sweeper.report.terminal import confirmed as drawn
from sweeper.search.verdict import BorderKind
from sweeper.store import reads, totals
from sweeper.store.address import address, options
from sweeper.store.connection import Store
from sweeper.words.numbers import duration, line, plain, reason
from sweeper.words.program import typed
from sweeper.words.records import StudyRecord, TrialState

TOP = 5


def final_summary(store: Store, study: StudyRecord, command: str | None = None, stream: IO[str] | None = None) -> None:
    """Print how the study stands; `command` trains its best trial again (None: there is none to type).

    That is the one whose repeats are the best, where some were confirmed.
    """
    page = tables.page(stream)
    progress = snapshot(store, study)
    seconds = totals.total_seconds(store, study.id)
    page.print()
    page.print(ending(progress, seconds), style="bold", soft_wrap=True)
    for text in failure_lines(progress):
        page.print(f"failures: {text}", style="red", soft_wrap=True)
    if progress.best is not None:
        page.print()
        page.print(best_table(store, study, TOP, page.width))
        if progress.standing == "complete":
            drawn.print_on(page, store, study)
            if said := drawn.recommended(store, study, progress.best):
                page.print(said, soft_wrap=True)
    for text, style in border_lines(store, study):
        page.print(text, style=style, soft_wrap=True)
    page.print()
    for label, text in next_steps(store, progress, command, study.key("budget"), confirmed.leader(store, study)):
        page.print(f"{label:<8}{text}".rstrip(), soft_wrap=True)


def ending(progress: Progress, seconds: float) -> str:
    """One sentence: how far the study came, with what trials, in how much training time."""
    standing = {
        "complete": "is complete",
        "stopped": "was stopped",
        "paused": "is paused",
        "running": "goes on",
        "interrupted": "was interrupted",
        "empty": "has no trial yet",
    }[progress.standing]
    kinds = [f"{count} {state.lower()}" for state, count in progress.counts.items() if state is not TrialState.FAIL]
    kinds += [f"{count} failed" for state, count in progress.counts.items() if state is TrialState.FAIL]
    counted = f" ({', '.join(kinds)})" if kinds else ""
    why = f": {line(progress.message)}" if progress.message else ""
    return (
        f"The study {progress.study} {standing}{why}: {progress.amount.replace('/', ' of ')} {progress.unit}{counted}, "
        f"{duration(seconds)} of training."
    )


def border_lines(store: Store, study: StudyRecord) -> list[tuple[str, str]]:
    """Whether the ranges were right, with the style of each line; nothing where too few trials say."""
    found = borders.judge(store, study)
    told = [(f"border: {plain(text)}", "yellow") for text in borders.last_words(found)]
    if not told and any(verdict.kind is BorderKind.INSIDE for verdict in found):
        told = [("borders: the best trials crowd no edge of a range", "green")]
    if widened := sum(row["kind"] == "widened" for row in reads.move_rows(store, study.id)):
        times = "once" if widened == 1 else f"{widened} times"
        command = typed(f"sweeper stages {options(store, study.name)}")
        told.append((f"ranges were widened {times}: {command}", "yellow"))
    return [("", ""), *told] if told else []


def failure_lines(progress: Progress) -> list[str]:
    """The failures by reason, and what the last one said."""
    if not progress.failures:
        return []
    counted = ", ".join(f"{count} {kind}" for kind, count in progress.failures.items())
    last = next((record for record in progress.latest if record.state is TrialState.FAIL), None)
    said = f"; the last is trial {last.number}, {reason(last.failure or '', last.message)}" if last else ""
    return [f"{counted}{said}"]


def best_table(store: Store, study: StudyRecord, top: int, width: int) -> RenderableType:
    numbers = [record.number for record in reads.best(store, study, top)]
    rows = columns.rows(columns.trial_columns(store, study, numbers=numbers))
    return tables.fitted(
        tables.trial_cells(rows, study.metric, tables.constant_parameters(study.space), states=False), width
    )


def next_steps(
    store: Store, progress: Progress, command: str | None, budget_key: str = "budget", leader: int | None = None
) -> list[tuple[str, str]]:
    """Labelled lines of what a person may type now. `leader`: the trial that was confirmed as the best."""
    asked = options(store, progress.study)
    best = progress.best.number if leader is None and progress.best is not None else leader
    steps = []
    if command and best is not None:
        steps.append((f"Train trial {best} again:", ""))
        steps.append((command, ""))  # on a line of its own, so that it can be copied
    if progress.standing == "complete":
        more = max(progress.budget + 1, progress.budget * 3 // 2)
        steps.append(("Go on:", f"the same command with {budget_key}={more:g} runs exactly the rest"))
    elif progress.standing != "running":
        steps.append(("Go on:", "the same command goes on where it was"))
    steps.append(("Ask:", typed(f"sweeper best {asked}")))
    if progress.failures:
        steps.append(("", typed(f"sweeper failures {asked}")))
    if best is not None:
        steps.append(("", typed(f"sweeper show {best} {asked}")))
    steps.append(("Store:", address(store)))
    return steps
