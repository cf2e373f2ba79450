"""`sweeper diagnose`: what the curves of a trial, or of a whole study, say."""

from __future__ import annotations

from typing import Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, In, StoreUrl, StudyName, app, open_study, trial_numbers
from sweeper.cli.printing import tell
from sweeper.report.formats import Format


@app.command()
def diagnose(
    number: Annotated[
        int | None,
        typer.Argument(metavar="[N]", help="The trial; without it the whole study.", autocompletion=trial_numbers),
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
) -> None:
    """What is wrong with it, and what to try.

    By the curves, and by what monitors reported: learning rate, over- and underfitting, gradients, dead units, regions
    that diverge, epochs. The most important first, each with its numbers, its source and a cure; of a training that
    goes well, nothing.
    """
    opened, record = open_study(store, study)
    from sweeper.analysis import diagnosed
    from sweeper.report.terminal import diagnosed as terminal

    if number is None:
        found = diagnosed.study(opened, record, *diagnosed.importance(opened, record))
        drawn = terminal.of_all(found, record)
    else:
        run, found = diagnosed.trial(opened, record, number)
        drawn = terminal.of_one(run, found, record)
    rows = [each.as_json() for each in found]
    tell(format, rows, diagnosed.COLUMNS, lambda page: page.print(drawn))
