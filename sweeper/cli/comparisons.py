"""`sweeper curves` and `sweeper compare`: several trials side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, In, StoreUrl, StudyName, app, open_study, trial_numbers
from sweeper.cli.printing import tell
from sweeper.cli.questions import Stages, States, Where
from sweeper.report.formats import Format

if TYPE_CHECKING:
    from rich.console import Console

TOP = 5


@app.command()
def curves(
    numbers: Annotated[
        list[int] | None,
        typer.Argument(metavar="[N]...", help="The trials; without any, the best.", autocompletion=trial_numbers),
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="By default the study's; may be given several times."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="How many of the best.")] = TOP,
    state: States = None,
    stage: Stages = None,
    where: Where = None,
) -> None:
    """Learning curves side by side.

    A bar for each epoch, on one scale for all, and the numbers; as csv, json and parquet: every epoch, every metric.
    """
    if numbers and (state or stage or where):
        raise typer.BadParameter("name the trials, or say which: --state, --stage, --where")
    opened, record = open_study(store, study)
    from sweeper.analysis import comparison
    from sweeper.analysis.selection import Selection
    from sweeper.report.terminal import comparison as drawn
    from sweeper.store import reads

    if not (numbers or state or stage or where):
        numbers = [trial.number for trial in reads.best(opened, record, top)]
    numbers = numbers or Selection(state or (), stage or (), where, top=top).of(opened, record)["number"]
    found = comparison.curves(opened, record, numbers)
    columns, rows = comparison.epoch_rows(found)
    shown = comparison.metrics(record, found, metric or ())

    def draw(page: Console) -> None:
        if not found:
            return print(f"The study {record.name} has no such trial.")
        page.print(drawn.draw_curves(record, found, shown, page.width))

    tell(format, rows, columns, draw)


@app.command()
def compare(
    numbers: Annotated[list[int], typer.Argument(metavar="N M...", help="The trials.", autocompletion=trial_numbers)],
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
) -> None:
    """What differs between trials, and what came of it.

    The parameters that differ, with their places in the ranges, results, versions and devices, curves side by side.
    """
    opened, record = open_study(store, study)
    from sweeper.analysis import comparison
    from sweeper.report.terminal import comparison as drawn

    found = comparison.compare(opened, record, numbers)
    columns, rows = comparison.flat(found)
    tell(format, rows, columns, lambda page: page.print(drawn.draw(record, found, page.width)), whole=found)
