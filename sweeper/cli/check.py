"""`sweeper check`: a training script looked over before a sweep."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli.answers import tell
from sweeper.cli.app import In, app
from sweeper.report.formats import Format

COLUMNS = ("rate", "loss", "smooth")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def check(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="The training script.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[OVERRIDE]...", help="What it is given: optimizer=sgd …")
    ] = None,
    lr: Annotated[bool, typer.Option("--lr", help="The learning rate: which range to search.")] = False,
    low: Annotated[float, typer.Option("--low", metavar="RATE", help="Where the ramp begins.")] = 1e-7,
    high: Annotated[float, typer.Option("--high", metavar="RATE", help="Where it ends.")] = 10.0,
    steps: Annotated[int, typer.Option("--steps", min=20, metavar="N", help="Of the optimizer, in a ramp.")] = 200,
    repeats: Annotated[int, typer.Option("--repeats", min=1, metavar="N", help="How many ramps.")] = 3,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Also a picture, as FILE.png.")] = None,
    format: In = Format.TABLE,
) -> None:
    """Look a script over before a sweep.

    --lr: runs it for a few hundred steps while the learning rate is raised, and says which range to search. Nothing
    needs to be written into the script, and nothing is left behind. As csv: the curve.
    """
    if not lr:
        raise typer.BadParameter("say what to look at: --lr, the learning rate's range", param_hint="--lr")
    from sweeper import check as checks
    from sweeper.report import ramp as report
    from sweeper.report.numbers import place, plain

    if plot is not None:
        report.figures()  # before the training, not after it
    ramp = checks.Ramp(low, high, steps, repeats)
    words = plain(shlex.join(["python", place(script), *(overrides or ())]))
    print(f"{repeats} ramps of {steps} steps: {words}", file=sys.stderr, flush=True)
    found = checks.lr_of_script(script, overrides or (), ramp)
    curve = zip(found.found.rates, found.found.losses, found.found.smooth, strict=True)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in curve]
    tell(format, rows, COLUMNS, lambda _: print(plain(report.text(found))), whole=found.as_json())
    if plot is not None:
        report.png(found, plot)
        print(f"the picture: {place(plot)}", file=sys.stderr)
