"""Questions to a study store, while the sweep runs and years later; each collects rows and hands them to a format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli.answers import answer, listing, say
from sweeper.cli.app import DEFAULT_STORE, In, StoreUrl, StudyName, app, open_study
from sweeper.report.formats import Format, as_csv, as_json
from sweeper.trial import TrialState

LAST = 100
"""Trials that a table shows unless it is asked for more."""


@app.command()
def status(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """How the study stands.

    Done and budget, what runs, the best, failures by reason, workers, time left.
    """
    opened, record = open_study(store, study)
    from sweeper.report import standing, tables
    from sweeper.report.progress import snapshot

    progress = snapshot(opened, record)
    if format is not Format.TABLE:
        rows = [standing.flat(progress)]
        say(as_json(standing.nested(progress)) if format is Format.JSON else as_csv(rows, list(rows[0])))
        return
    page = tables.page()
    page.print(standing.draw(opened, progress, page.width))


@app.command()
def studies(store: StoreUrl = DEFAULT_STORE, format: In = Format.TABLE) -> None:
    """The studies of the store, the newest first."""
    from sweeper.report import studies
    from sweeper.store.connection import Store

    opened = Store(store)
    listing(studies.collect(opened), studies.COLUMNS, format, studies.cells, f"No study yet in {opened.address}.")


@app.command()
def best(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="How many trials.")] = 1,
) -> None:
    """The best trials, the best first, and how sure that is."""
    opened, record = open_study(store, study)
    from sweeper.report import confirmed, tables
    from sweeper.report.hidden import marked
    from sweeper.store import reads
    from sweeper.store.columns import trial_columns

    numbers = [trial.number for trial in reads.best(opened, record, top)]
    columns = marked(opened, record, trial_columns(opened, record, numbers=numbers))
    answer(record, columns, format, states=False, nothing="has no complete trial yet")
    if numbers and format is Format.TABLE:
        confirmed.print_on(tables.page(), opened, record)


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
    opened, record = open_study(store, study)
    from sweeper.report.hidden import marked
    from sweeper.store.columns import trial_columns

    bound = LAST if last is None and format is Format.TABLE else last
    columns = marked(opened, record, trial_columns(opened, record, states=state or (), last=bound or None))
    answer(record, columns, format, states=True, nothing=f"has no {' or '.join(state or [])} trial".replace("  ", " "))
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
    opened, record = open_study(store, study)
    from sweeper.report import sheet, tables

    trial = sheet.collect(opened, record, number)
    if format is Format.JSON:
        say(as_json(trial))
    elif format is Format.CSV:
        say(as_csv(trial["epochs"], list(trial["epochs"][0]) if trial["epochs"] else ["number", "epoch", "value"]))
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

    opened, record = open_study(store, study)
    count = write(opened, record, file, epochs=epochs)
    print(f"{count} {'epochs' if epochs else 'trials'} of {record.name} in {file}")


@app.command()
def borders(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """Were the ranges right?

    For each range, where the best trials lie in it, whether they crowd an edge, and what to do.
    """
    opened, record = open_study(store, study)
    from sweeper.report import edges, tables

    found = edges.judge(opened, record)
    if format is Format.JSON:
        say(as_json(edges.collect(found)))
    elif format is Format.CSV:
        say(as_csv(edges.collect(found), list(edges.COLUMNS)))
    else:
        page = tables.page()
        page.print(edges.draw(found, page.width))


@app.command()
def stages(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """From coarse to fine.

    The stages and who trains there, the ranges as they began and are, and every move of them with its reason.
    """
    opened, record = open_study(store, study)
    from sweeper.report import lineage, tables

    found = lineage.collect(opened, record)
    if format is Format.JSON:
        say(as_json(found))
    elif format is Format.CSV:
        say(as_csv(found["stages"], lineage.STAGE))
    else:
        page = tables.page()
        page.print(lineage.draw(record, found, page.width), crop=False)


@app.command()
def failures(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """The failed trials by cause.

    The most frequent first, each with its trials, one traceback and the path of its log.
    """
    opened, record = open_study(store, study)
    from sweeper.report import causes, tables

    found = causes.collect(opened, record)
    if format is Format.JSON:
        say(as_json(found))
    elif format is Format.CSV:
        say(as_csv(found, causes.COLUMNS))
    elif not found:
        print(f"The study {record.name} has no failed trial.")
    else:
        tables.page().print(causes.draw(opened, record, found), crop=False)


@app.command()
def workers(store: StoreUrl = DEFAULT_STORE, study: StudyName = None, format: In = Format.TABLE) -> None:
    """The workers that there are and were."""
    opened, record = open_study(store, study)
    from sweeper.report import history

    rows = history.workers(opened, record)
    listing(rows, history.WORKER, format, history.worker_cells, f"The study {record.name} had no worker yet.")


@app.command()
def events(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    last: Annotated[int, typer.Option("--last", min=0, metavar="N", help="The newest N; 0: all.")] = LAST,
) -> None:
    """What happened to the study, when and by whom."""
    opened, record = open_study(store, study)
    from sweeper.report import history

    rows = history.events(opened, record)[-last:]
    listing(rows, history.EVENT, format, history.event_cells, f"Nothing happened in {record.name} yet.")
