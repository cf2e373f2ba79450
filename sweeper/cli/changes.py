"""Changes of a study, also while it runs: one write each, and an answer that says what it means for what runs now."""

from __future__ import annotations

from typing import Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, StoreUrl, StudyName, app, open_study
from sweeper.words.errors import StoreError
from sweeper.words.records import Failure, StudyState


@app.command()
def retry(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[N]...", help="The failed trials.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    all: Annotated[bool, typer.Option("--all", help="Every failed trial that is not hidden.")] = False,
    reason: Annotated[Failure | None, typer.Option("--reason", help="Those of that reason.")] = None,
) -> None:
    """Put failed trials back.

    They go on from their checkpoints, under their own numbers and within what was granted to them.
    """
    if bool(numbers) + all + (reason is not None) != 1:
        raise typer.BadParameter("give the numbers of trials, or --all, or --reason REASON")
    opened, record = open_study(store, study)
    from sweeper.analysis import causes
    from sweeper.analysis.progress import snapshot
    from sweeper.cli import effects
    from sweeper.store import corrections, reads

    chosen = sorted(set(numbers or causes.numbers(opened, record, reason)))
    if not chosen:
        print(f"The study {record.name} has no failed trial{f' of reason {reason}' if reason else ''} to retry.")
        return
    timed_out = set(causes.numbers(opened, record, Failure.TIMEOUT)) & set(chosen)
    corrections.retry(opened, record.id, chosen)
    print(effects.of_retry(snapshot(opened, reads.refreshed(opened, record)), chosen, bool(timed_out)))


@app.command()
def pause(store: StoreUrl = DEFAULT_STORE, study: StudyName = None) -> None:
    """Let workers finish their trials and wait."""
    _turn(store, study, StudyState.PAUSED)


@app.command()
def resume(store: StoreUrl = DEFAULT_STORE, study: StudyName = None) -> None:
    """Let workers of a paused or stopped study go on, and paused devices try again."""
    _turn(store, study, StudyState.OPEN)


@app.command()
def stop(store: StoreUrl = DEFAULT_STORE, study: StudyName = None) -> None:
    """Let workers finish their trials and leave."""
    _turn(store, study, StudyState.STOPPED)


@app.command("set")
def set_(
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="[budget=NUMBER] [workers=NUMBER]",
            help="budget: in full trainings, a total; workers: of the sweep that runs on this machine's devices.",
        ),
    ],
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
) -> None:
    """Change the budget and the number of workers while the study runs."""
    from sweeper.cli.settings import check_workers, parse

    asked = parse(changes)
    opened, record = open_study(store, study)
    from sweeper.analysis.progress import snapshot
    from sweeper.cli import effects
    from sweeper.search.plan import Plan
    from sweeper.store import reads, writes

    progress = snapshot(opened, record)
    if asked.workers is not None:
        check_workers(record, progress, asked.workers)
    if asked.budget is not None:
        writes.set_budget(opened, record.id, asked.budget, Plan.from_json(record.plan).budget_epochs(asked.budget))
        print(effects.of_budget(record, reads.refreshed(opened, record), progress))
    if asked.workers is not None:
        writes.set_workers(opened, record.id, asked.workers)
        print(effects.of_workers(record, progress, asked.workers))


Numbers = Annotated[list[int], typer.Argument(metavar="N...", help="The trials.")]


@app.command()
def hide(
    numbers: Numbers,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="What is wrong with them; it stays with them.")],
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
) -> None:
    """Leave trials out of the best.

    The sampler forgets them too; in `trials` and `show` they stay, with a mark.
    """
    if not why.strip():
        raise typer.BadParameter("say why in a word or more", param_hint="--why")
    opened, record = open_study(store, study)
    from sweeper.cli import effects
    from sweeper.store import corrections

    corrections.hide(opened, record.id, numbers, why.strip())
    print(effects.of_hiding(record.name, numbers, hidden=True))


@app.command()
def unhide(numbers: Numbers, store: StoreUrl = DEFAULT_STORE, study: StudyName = None) -> None:
    """Let hidden trials count again."""
    opened, record = open_study(store, study)
    from sweeper.cli import effects
    from sweeper.store import corrections

    corrections.unhide(opened, record.id, numbers)
    print(effects.of_hiding(record.name, numbers, hidden=False))


def _turn(url: str, name: str | None, state: StudyState) -> None:
    """Open, pause or stop a study; where it stands so already nothing is written."""
    store, study = open_study(url, name)
    from sweeper.analysis.progress import snapshot
    from sweeper.cli import effects
    from sweeper.store import process, reads, writes

    if state is StudyState.PAUSED and study.state == StudyState.STOPPED:
        raise StoreError(f"A study must be open to be paused, but {study.name} is STOPPED: sweeper resume opens it.")
    paused = [row["device"] for row in reads.paused_devices(store, study.id)] if state is StudyState.OPEN else []
    if study.state != state or paused:
        message = None if state is StudyState.OPEN else f"asked for by {process.user()}"
        writes.set_state(store, study.id, state, message)
    print(effects.of_state(snapshot(store, reads.refreshed(store, study)), paused))
