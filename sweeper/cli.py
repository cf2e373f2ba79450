"""`sweeper …`: questions to a study store and changes of a study, while the sweep runs and years later.

A question is a short function that collects rows and hands them to a format; a change is one write, and an answer that
says what it means for what runs now. Rich, SQLAlchemy and the report are
imported inside the commands, and never torch, Optuna or pandas, so that `sweeper best` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from sweeper.errors import StoreError, SweeperError
from sweeper.report.formats import Format, as_csv, as_json
from sweeper.trial import Failure, StudyState, TrialState

if TYPE_CHECKING:
    from sweeper.store.connection import Store
    from sweeper.trial import StudyRecord

LAST = 100
"""Trials that a table shows unless it is asked for more."""


class Commands(TyperGroup):
    """Says a SweeperError as one line and ends with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SweeperError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    help="Ask a study store, or change a study. Without --study: its newest one.",
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich's help would cost more than the whole rest of `--help`
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StoreUrl = Annotated[
    str, typer.Option("--store", envvar="SWEEPER_STORE", metavar="URL", help="The study store, an SQLAlchemy URL.")
]
StudyName = Annotated[str | None, typer.Option("--study", metavar="NAME", help="The study; by default the newest.")]
In = Annotated[Format, typer.Option("--format", help="Tables for eyes; json and csv with every digit.")]
DEFAULT_STORE = "sqlite:///runs/sweeper.db"


@app.command()
def status(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """How the study stands.

    Done and budget, what runs, the best, failures by reason, workers, time left.
    """
    opened, record = _open(store, study)
    from sweeper.report import standing, tables
    from sweeper.report.progress import snapshot

    progress = snapshot(opened, record)
    if format is not Format.TABLE:
        rows = [standing.flat(progress)]
        _write(as_json(standing.nested(progress)) if format is Format.JSON else as_csv(rows, list(rows[0])))
        return
    page = tables.page()
    page.print(standing.draw(opened, progress, page.width))


@app.command()
def best(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="How many trials.")] = 1,
) -> None:
    """The best trials, the best first."""
    opened, record = _open(store, study)
    from sweeper.report.hidden import marked
    from sweeper.store import reads
    from sweeper.store.columns import trial_columns

    numbers = [trial.number for trial in reads.best(opened, record, top)]
    columns = marked(opened, record, trial_columns(opened, record, numbers=numbers))
    _answer(record, columns, format, states=False, nothing="has no complete trial yet")


@app.command()
def trials(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    state: Annotated[
        list[TrialState] | None,
        typer.Option("--state", case_sensitive=False, help="Only these; may be given several times."),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option("--last", min=0, metavar="N", help=f"The newest N; 0: all. A table shows {LAST} by default."),
    ] = None,
) -> None:
    """The trials by number."""
    opened, record = _open(store, study)
    from sweeper.report.hidden import marked
    from sweeper.store.columns import trial_columns

    bound = LAST if last is None and format is Format.TABLE else last
    columns = marked(opened, record, trial_columns(opened, record, states=state or (), last=bound or None))
    _answer(record, columns, format, states=True, nothing=f"has no {' or '.join(state or [])} trial".replace("  ", " "))
    if last is None and format is Format.TABLE and len(columns["number"]) == LAST:
        print(f"the newest {LAST}; all of them: --last 0", file=sys.stderr)


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="The trial's number.")],
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
) -> None:
    """Everything of one trial.

    Parameters, curve, checkpoints, failure, log, and the command to train it again; as csv: its epochs.
    """
    opened, record = _open(store, study)
    from sweeper.report import sheet, tables

    trial = sheet.collect(opened, record, number)
    if format is Format.JSON:
        _write(as_json(trial))
    elif format is Format.CSV:
        _write(as_csv(trial["epochs"], list(trial["epochs"][0]) if trial["epochs"] else ["number", "epoch", "value"]))
    else:
        page = tables.page()
        page.print(sheet.draw(trial, page.width), crop=False)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Its ending says the format: .csv, .json or .parquet.")],
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    epochs: Annotated[bool, typer.Option("--epochs", help="Every reported epoch instead of the trials.")] = False,
) -> None:
    """Write all trials to a file.

    With every digit, in flat columns: params.<name>, metrics.<name>.
    """
    from sweeper.report.export import write

    opened, record = _open(store, study)
    count = write(opened, record, file, epochs=epochs)
    print(f"{count} {'epochs' if epochs else 'trials'} of {record.name} in {file}")


@app.command()
def failures(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """The failed trials by cause.

    The most frequent first, each with its trials, one traceback and the path of its log.
    """
    opened, record = _open(store, study)
    from sweeper.report import causes, tables

    found = causes.collect(opened, record)
    if format is Format.JSON:
        _write(as_json(found))
    elif format is Format.CSV:
        _write(as_csv(found, causes.COLUMNS))
    elif not found:
        print(f"The study {record.name} has no failed trial.")
    else:
        tables.page().print(causes.draw(opened, record, found), crop=False)


@app.command()
def workers(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """The workers that there are and were."""
    opened, record = _open(store, study)
    from sweeper.report import history

    rows = history.workers(opened, record)
    _list(rows, history.WORKER, format, history.worker_cells, f"The study {record.name} had no worker yet.")


@app.command()
def events(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    last: Annotated[int, typer.Option("--last", min=0, metavar="N", help="The newest N; 0: all.")] = LAST,
) -> None:
    """What happened to the study, when and by whom."""
    opened, record = _open(store, study)
    from sweeper.report import history

    rows = history.events(opened, record)[-last:]
    _list(rows, history.EVENT, format, history.event_cells, f"Nothing happened in {record.name} yet.")


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
    opened, record = _open(store, study)
    from sweeper.report import causes, effects
    from sweeper.report.progress import snapshot
    from sweeper.store import reads, writes

    chosen = sorted(set(numbers or causes.numbers(opened, record, reason)))
    if not chosen:
        print(f"The study {record.name} has no failed trial{f' of reason {reason}' if reason else ''} to retry.")
        return
    timed_out = set(causes.numbers(opened, record, Failure.TIMEOUT)) & set(chosen)
    writes.retry(opened, record.id, chosen)
    print(effects.of_retry(snapshot(opened, reads.refreshed(opened, record)), chosen, bool(timed_out)))


@app.command()
def pause(store: StoreUrl = DEFAULT_STORE, study: StudyName = None) -> None:
    """Let workers finish their trials and wait."""
    _turn(store, study, StudyState.PAUSED)


@app.command()
def resume(store: StoreUrl = DEFAULT_STORE, study: StudyName = None) -> None:
    """Let workers of a paused or stopped study go on."""
    _turn(store, study, StudyState.OPEN)


@app.command()
def stop(store: StoreUrl = DEFAULT_STORE, study: StudyName = None) -> None:
    """Let workers finish their trials and leave."""
    _turn(store, study, StudyState.STOPPED)


@app.command("set")
def set_(
    changes: Annotated[list[str], typer.Argument(metavar="budget=NUMBER", help="In full trainings, a total.")],
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
) -> None:
    """Change the budget, also while the study runs."""
    from sweeper.report.settings import parse

    asked = parse(changes)
    opened, record = _open(store, study)
    from sweeper.plan import Plan
    from sweeper.report import effects
    from sweeper.report.progress import snapshot
    from sweeper.store import reads, writes

    writes.set_budget(opened, record.id, asked["budget"], Plan.from_json(record.plan).budget_epochs(asked["budget"]))
    after = reads.refreshed(opened, record)
    print(effects.of_budget(record, after, snapshot(opened, after)))


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
    opened, record = _open(store, study)
    from sweeper.report import effects
    from sweeper.store import writes

    writes.hide(opened, record.id, numbers, why.strip())
    print(effects.of_hiding(record.name, numbers, hidden=True))


@app.command()
def unhide(numbers: Numbers, store: StoreUrl = DEFAULT_STORE, study: StudyName = None) -> None:
    """Let hidden trials count again."""
    opened, record = _open(store, study)
    from sweeper.report import effects
    from sweeper.store import writes

    writes.unhide(opened, record.id, numbers)
    print(effects.of_hiding(record.name, numbers, hidden=False))


def main() -> None:
    """The console command `sweeper`."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without Unicode shows `?` and not a traceback
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="sweeper")


def _open(url: str, name: str | None) -> tuple[Store, StudyRecord]:
    from sweeper.store import reads
    from sweeper.store.connection import Store

    store = Store(url)
    return store, reads.study(store, name)


def _answer(
    study: StudyRecord, columns: Mapping[str, list[Any]], format: Format, *, states: bool, nothing: str
) -> None:
    """Flat columns of trials in the format that was asked for."""
    from sweeper.store.columns import rows

    found: Sequence[Mapping[str, Any]] = rows(dict(columns))
    if format is Format.JSON:
        _write(as_json(found))
    elif format is Format.CSV:
        _write(as_csv(found, list(columns)))
    elif not found:
        print(f"The study {study.name} {nothing}.")
    else:
        _print_trials(study, found, states)


def _print_trials(study: StudyRecord, rows: Sequence[Mapping[str, Any]], states: bool) -> None:
    from sweeper.report import tables

    page = tables.page()
    constant = tables.constant_parameters(study.space)
    cells = tables.trial_cells(rows, study.metric, constant, states=states)
    page.print(tables.fitted(cells, page.width))


def _turn(url: str, name: str | None, state: StudyState) -> None:
    """Open, pause or stop a study; where it stands so already nothing is written."""
    store, study = _open(url, name)
    from sweeper import process
    from sweeper.report import effects
    from sweeper.report.progress import snapshot
    from sweeper.store import reads, writes

    if state is StudyState.PAUSED and study.state == StudyState.STOPPED:
        raise StoreError(f"A study must be open to be paused, but {study.name} is STOPPED: sweeper resume opens it.")
    if study.state != state:
        message = None if state is StudyState.OPEN else f"asked for by {process.user()}"
        writes.set_state(store, study.id, state, message)
    print(effects.of_state(snapshot(store, reads.refreshed(store, study))))


def _list(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    format: Format,
    cells: Callable[[Mapping[str, Any]], dict[str, str]],
    nothing: str,
) -> None:
    """Rows in the format that was asked for; `cells` says what a table shows of one."""
    if format is Format.JSON:
        _write(as_json(rows))
    elif format is Format.CSV:
        _write(as_csv(rows, columns))
    elif not rows:
        print(nothing)
    else:
        from sweeper.report import tables

        page = tables.page()
        page.print(tables.fitted([cells(row) for row in rows], page.width))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
