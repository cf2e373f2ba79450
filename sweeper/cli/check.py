"""`sweeper check`: a training script looked over before a sweep."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.app import In, app
from sweeper.cli.printing import tell
from sweeper.report.formats import Format
from sweeper.words.program import python

if TYPE_CHECKING:
    from sweeper.check import Ramp

COLUMNS = ("rate", "loss", "smooth")
ROWS = ("check", "verdict", "message", "problems", "cure", "numbers")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def check(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="The training script, or FILE:FUNCTION of a Task.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[OVERRIDE]...", help="What it is given: optimizer=sgd …")
    ] = None,
    lr: Annotated[bool, typer.Option("--lr", help="Only the learning rate, drawn: which range to search.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Only what watching tells, in a few seconds.")] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, metavar="S", help="To watch a training for at most. [20]")
    ] = None,
    low: Annotated[float, typer.Option("--low", metavar="RATE", help="--lr: where the ramp begins.")] = 1e-7,
    high: Annotated[float, typer.Option("--high", metavar="RATE", help="--lr: where it ends.")] = 10.0,
    steps: Annotated[
        int, typer.Option("--steps", min=20, metavar="N", help="--lr: of the optimizer, in a ramp.")
    ] = 200,
    repeats: Annotated[int, typer.Option("--repeats", min=1, metavar="N", help="--lr: how many ramps.")] = 3,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="--lr: also a picture, FILE.png.")] = None,
    format: In = Format.TABLE,
) -> None:
    """Look a script over before a sweep; exit code 1 where a check fails.

    Trains it for a moment as it stands: the first loss against chance, gradients, inputs and labels, a few examples
    learned by heart, the learning rate's range, the corners of the search space, the time of the whole plan. Nothing
    needs to be written into the script, and nothing is left behind.

    --lr: runs it for a few hundred steps while the learning rate is raised, and says which range to search. As csv:
    the curve.
    """
    if lr:
        from sweeper.check import Ramp

        _lr(script, overrides or [], Ramp(low, high, steps, repeats), plot, format)
        return
    from sweeper.check import Wish, check_script
    from sweeper.check.checkup import QUICK_SECONDS, show_log
    from sweeper.report.terminal import checkup

    default = Wish()
    watched = seconds or (QUICK_SECONDS if quick else default.seconds)
    ramp = None if quick else default.ramp
    found = check_script(script, overrides or (), Wish(watched, ramp, again=not quick))
    show_log(found)
    tell(format, found.rows(), ROWS, lambda page: page.print(checkup.drawn(found.rows()), crop=False))
    if found.failed:
        raise typer.Exit(1)


def _lr(script: Path, overrides: list[str], ramp: Ramp, plot: Path | None, format: Format) -> None:
    from sweeper import check as checks
    from sweeper.report.terminal import ramp as report
    from sweeper.words.numbers import place, plain

    if plot is not None:
        report.figures()  # before the training, not after it
    words = plain(f"{python()} {shlex.join([place(script), *overrides])}")
    print(f"{ramp.repeats} ramps of {ramp.steps} steps: {words}", file=sys.stderr, flush=True)
    found = checks.lr_of_script(script, overrides, ramp)
    curve = zip(found.found.rates, found.found.losses, found.found.smooth, strict=True)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in curve]
    tell(format, rows, COLUMNS, lambda _: print(plain(report.text(found))), whole=found.as_json())
    if plot is not None:
        report.png(found, plot)
        print(f"the picture: {place(plot)}", file=sys.stderr)
