"""`sweeper rerun`: the one command that trains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, In, Number, StoreUrl, StudyName, app, open_study
from sweeper.cli.printing import tell
from sweeper.report.formats import Format

COLUMNS = ("epoch", "metric", "then", "now", "missing", "matches")


@app.command()
def rerun(
    number: Number,
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    device: Annotated[str | None, typer.Option(metavar="cpu|cuda:N", help="By default like the trial's own.")] = None,
    script: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The training script, where it does not lie in this folder.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Train there, and keep it; else it leaves nothing behind.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="One that differs by nature, such as a time.")
    ] = None,
) -> None:
    """Train a trial again and compare.

    Alone, with its parameters and seed: does every epoch match to the last bit? Exit code 0 if so; else 1, the first
    number that differs, and what has changed in versions, threads, device, script and config. As csv: every number.
    """
    opened, record = open_study(store, study)
    from sweeper.retraining import rerun as again
    from sweeper.retraining import trust
    from sweeper.trial.command import train_command, train_overrides
    from sweeper.words.numbers import plain

    own = trust.own_script(record, script)
    before = again.Before.of(opened, record, number)
    params, slot = before.row["params"], before.slot(device)
    overrides = trust.overrides_of_trust(train_overrides(record, params))
    command = train_command(record, params, before.row["seed"], before.threads, script=own)
    print(f"training again: {plain(str(command))}", file=sys.stderr, flush=True)
    outcome = again.of_script(before, own, overrides, slot, folder=folder, ignore=ignore or ())
    rows = [each.as_row() for each in outcome.compared]
    whole = {**outcome.as_json(), "command": command}
    tell(format, rows, COLUMNS, lambda _: print(plain(str(outcome))), whole=whole)
    again.note(opened, record, outcome)
    raise typer.Exit(0 if outcome.matches else 1)
