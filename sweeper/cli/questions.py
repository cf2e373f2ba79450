"""Questions to a study store, while the sweep runs and years later; each collects rows and hands them to a format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, In, Number, StoreUrl, StudyName, app, open_study
from sweeper.cli.printing import listing, tell, tell_trials
from sweeper.report.formats import Format
from sweeper.words.records import TrialState

if TYPE_CHECKING:
    from rich.console import Console

    from sweeper.analysis.columns import Columns

LAST = 100
"""Trials that a table shows unless it is asked for more."""

States = Annotated[
    list[TrialState] | None,
    typer.Option("--state", case_sensitive=False, help="Only these; may be given several times."),
]
Stages = Annotated[
    list[str] | None, typer.Option("--stage", metavar="NAME", help="Only those of that stage, or its number; likewise.")
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="CONDITION", help="Only those: 'params.lr < 1e-3 and depth in (2, 3)'; times are local."
    ),
]
RowsWhere = Annotated[
    str | None,
    typer.Option("--where", metavar="CONDITION", help="Only those, by the columns of --format csv."),
]
Sort = Annotated[
    list[str] | None,
    typer.Option("--sort", metavar="COLUMN", help="By that, -COLUMN: the largest first; likewise."),
]


@app.command()
def status(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on looking until it is complete, or Ctrl-C.")
    ] = False,
) -> None:
    """How the study stands.

    Done and budget, what runs, the best, failures by reason, workers, time left.
    """
    if watch and format is not Format.TABLE:
        raise typer.BadParameter("what is watched is a table: leave out --format", param_hint="--watch")
    opened, record = open_study(store, study)
    from sweeper.analysis import accounts, standing
    from sweeper.analysis.progress import snapshot
    from sweeper.report.terminal import standing as drawn

    if watch:
        from sweeper.report.terminal.watch import watch as look_on

        return look_on(opened, record)
    progress = snapshot(opened, record)
    spent = accounts.collect(opened, record)
    row = standing.flat(progress, spent)
    whole = standing.nested(progress, spent)

    def draw(page: Console) -> None:
        page.print(drawn.draw(opened, progress, spent, page.width))

    tell(format, [row], list(row), draw, whole=whole)


@app.command()
def studies(store: StoreUrl = DEFAULT_STORE, format: In = Format.TABLE) -> None:
    """The studies of the store, the newest first."""
    from sweeper.analysis.studies import COLUMNS, collect
    from sweeper.report.terminal.studies import cells
    from sweeper.store.connection import Store

    opened = Store(store)
    listing(collect(opened), COLUMNS, format, cells, f"No study yet in {opened.address}.")


@app.command()
def best(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="How many trials.")] = 1,
    where: Where = None,
    command: Annotated[
        bool, typer.Option("--command", help="Only the line that trains it again, and no more.")
    ] = False,
) -> None:
    """The best trials, the best first, and how sure that is.

    --command: one line a trial; where some were confirmed, the winner is that with the best repeats.
    """
    if command and format is not Format.TABLE:
        raise typer.BadParameter("a command has no other format: leave out --format", param_hint="--command")
    opened, record = open_study(store, study)
    from sweeper.analysis.columns import trial_columns
    from sweeper.analysis.selection import marked
    from sweeper.store import reads

    if where is None:
        numbers = [trial.number for trial in reads.best(opened, record, top)]
    else:
        from sweeper.analysis.selection import best_where

        numbers = best_where(opened, record, where, top)
    if command:
        from sweeper.analysis import commands

        return print("\n".join(commands.of_best(opened, record, numbers, confirmed=top == 1 and where is None)))
    columns = marked(opened, record, trial_columns(opened, record, numbers=numbers))
    nothing = "has no complete trial yet" if where is None else f"has no complete trial where {where}"
    tell_trials(opened, record, columns, format, states=False, nothing=nothing, also=_named(columns, where))
    if numbers and format is Format.TABLE:
        from sweeper.report.terminal import confirmed, tables

        confirmed.print_on(tables.page(), opened, record)


@app.command()
def trials(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    state: States = None,
    stage: Stages = None,
    where: Where = None,
    sort: Sort = None,
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, metavar="K", help="The first K in that order; without --sort, the best."),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option("--last", min=0, metavar="N", help=f"The newest N; 0: all. A table shows {LAST} by default."),
    ] = None,
) -> None:
    """The trials by number, or some of them in another order.

    A condition has names, numbers, 'text', < <= == != >= >, in, and or not, + - * /. A name is a column of
    --format csv, or its ending: lr for params.optimizer.lr; between `backquotes` it may hold anything.
    """
    opened, record = open_study(store, study)
    from sweeper.analysis.selection import Selection

    bounded = last is None and top is None and format is Format.TABLE
    newest, first = (LAST, None) if bounded and not sort else (last or None, LAST if bounded else top)
    asked = Selection(state or (), stage or (), where, sort or (), first, newest)
    columns = asked.of(opened, record)
    kinds = " or ".join(state or [])
    nothing = f"has no {kinds} trial".replace("  ", " ") + (" of that kind" if stage or where else "")
    tell_trials(opened, record, columns, format, states=True, nothing=nothing, also=asked.used(columns))
    if bounded and len(columns["number"]) == LAST:
        print(f"the {'first' if sort else 'newest'} {LAST}; all of them: --last 0", file=sys.stderr)


@app.command()
def show(
    number: Number,
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
) -> None:
    """Everything of one trial.

    Parameters in their ranges, curve, checkpoints, failure, the end of its log, and the command to train it again; as
    csv: its epochs.
    """
    opened, record = open_study(store, study)
    from sweeper.analysis import sheet
    from sweeper.report.terminal import sheet as drawn

    trial = sheet.collect(opened, record, number)
    columns = list(trial["epochs"][0]) if trial["epochs"] else ["number", "epoch", "value"]

    def draw(page: Console) -> None:
        page.print(drawn.draw(trial, page.width), crop=False)

    tell(format, trial["epochs"], columns, draw, whole=trial)


@app.command()
def export(
    file: Annotated[
        Path | None, typer.Argument(help="Its ending says the format: .csv, .json or .parquet.", show_default=False)
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE.db", help="The whole study as one of Optuna's, in SQLite.")
    ] = None,
    epochs: Annotated[bool, typer.Option("--epochs", help="Every reported epoch instead of the trials.")] = False,
    state: States = None,
    stage: Stages = None,
    where: Where = None,
    sort: Sort = None,
) -> None:
    """Write all trials, or some, to a file.

    With every digit, in flat columns: params.<name>, metrics.<name>.
    """
    if (file is None) == (to is None):
        raise typer.BadParameter("give a file for the trials, or --to FILE.db for Optuna")
    opened, record = open_study(store, study)
    if to is not None:
        if epochs or state or stage or where or sort:
            raise typer.BadParameter("a study goes to Optuna as a whole: leave out what chooses", param_hint="--to")
        from sweeper.search.optuna import database

        return print(f"{database.write(opened, record, to)} trials of {record.name} in {to}")
    assert file is not None
    from sweeper.analysis.selection import Selection
    from sweeper.report.export import write

    selection = Selection(state or (), stage or (), where, sort or ())
    count = write(opened, record, file, epochs=epochs, selection=selection)
    print(f"{count} {'epochs' if epochs else 'trials'} of {record.name} in {file}")


@app.command()
def borders(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """Were the ranges right?

    For each range, where the best trials lie in it, whether they crowd an edge, and what to do.
    """
    opened, record = open_study(store, study)
    from sweeper.report.terminal import borders as edges

    found = edges.judge(opened, record)
    rows = edges.collect(found)
    tell(format, rows, list(edges.COLUMNS), lambda page: page.print(edges.draw(found, page.width)))


@app.command()
def stages(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """From coarse to fine.

    The stages and who trains there, the ranges as they began and are, and every move of them with its reason.
    """
    opened, record = open_study(store, study)
    from sweeper.analysis.stages import STAGE, collect
    from sweeper.report.terminal import stages as lineage

    found = collect(opened, record)

    def draw(page: Console) -> None:
        page.print(lineage.draw(record, found, page.width), crop=False)

    tell(format, found["stages"], STAGE, draw, whole=found)


@app.command()
def failures(
    store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE, where: Where = None
) -> None:
    """The failed trials by cause.

    The most frequent first, each with its trials, one traceback and the path of its log.
    """
    opened, record = open_study(store, study)
    from sweeper.analysis import causes
    from sweeper.analysis.selection import failed_where
    from sweeper.report.terminal import causes as drawn

    found = causes.collect(opened, record, failed_where(opened, record, where) if where else None)
    if not found and format is Format.TABLE:
        return print(f"The study {record.name} has no failed trial{f' where {where}' if where else ''}.")
    tell(format, found, causes.COLUMNS, lambda page: page.print(drawn.draw(opened, record, found), crop=False))


@app.command()
def workers(
    store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE, where: RowsWhere = None
) -> None:
    """The workers that there are and were."""
    opened, record = open_study(store, study)
    from sweeper.analysis import history
    from sweeper.analysis.selection import rows_where
    from sweeper.report.terminal import history as drawn

    rows = rows_where(history.workers(opened, record), where)
    nothing = f"The study {record.name} had no worker {f'where {where}' if where else 'yet'}."
    listing(rows, history.WORKER, format, drawn.worker_cells, nothing)


@app.command()
def events(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    last: Annotated[int, typer.Option("--last", min=0, metavar="N", help="The newest N; 0: all.")] = LAST,
    where: RowsWhere = None,
) -> None:
    """What happened to the study, when and by whom."""
    opened, record = open_study(store, study)
    from sweeper.analysis import history
    from sweeper.analysis.selection import rows_where
    from sweeper.report.terminal import history as drawn

    rows = rows_where(history.events(opened, record), where)[-last:]
    nothing = f"Nothing happened in {record.name} {f'where {where}' if where else 'yet'}."
    listing(rows, history.EVENT, format, drawn.event_cells, nothing)


def _named(columns: Columns, where: str | None) -> list[str]:
    if where is None:
        return []
    from sweeper.analysis.condition import names_in

    return names_in(where, columns)
