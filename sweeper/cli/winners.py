"""`sweeper ensemble`, `sweeper train-best`: models to keep, out of what a study has found."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.app import DEFAULT_STORE, In, StoreUrl, StudyName, app, open_study, trial_numbers
from sweeper.cli.printing import tell
from sweeper.report.formats import Format

if TYPE_CHECKING:
    from rich.console import Console

Script = Annotated[
    Path | None, typer.Option("--script", metavar="FILE", help="The training script, where it is not in this folder.")
]
Device = Annotated[str | None, typer.Option("--device", metavar="cpu|cuda:N", help="By default a GPU where one is.")]
Test = Annotated[
    bool | None,
    typer.Option("--test/--no-test", help="Look at the test set; by default only if nobody has before."),
]


@app.command()
def ensemble(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="The best K trials stand for election.")] = 10,
    seeds: Annotated[
        int, typer.Option("--seeds", min=0, metavar="N", help="Train the best with N other seeds, as candidates too.")
    ] = 0,
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Other epochs of these trials too.")] = False,
    averages: Annotated[bool, typer.Option("--averages", help="Averages of their weights too.")] = False,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="By default `ensemble` beside the trials.")
    ] = None,
    test: Test = None,
    script: Script = None,
    device: Device = None,
) -> None:
    """Average stored models.

    Chosen greedily on the validation set among the best trials, and those that confirm them; nothing is trained but
    --seeds. The script must have build(cfg) and data(cfg). sweeper.load_ensemble(FOLDER)(x) predicts.
    """
    opened, record = open_study(store, study)
    from sweeper.report.terminal import members
    from sweeper.retraining import ensemble as ensembles
    from sweeper.retraining.parts import parts

    own = ensembles.script_of(record, script)
    found = parts(own)
    more: Any = ((), ())
    if seeds:
        before, overrides = _winner(opened, record)
        print(f"training trial {before.row['number']} with {seeds} other seeds", file=sys.stderr, flush=True)
        more = ensembles.with_seeds(before, seeds, own, overrides, before.slot(device))
    built = ensembles.make(
        opened,
        record,
        found,
        top=top,
        checkpoints=checkpoints,
        averages=averages,
        more=more,
        folder=to,
        test=test,
        device=device,
    )
    rows = [member.as_row() for member in built.members]
    columns = members.columns(built)

    def draw(page: Console) -> None:
        page.print(members.draw(built, page.width), crop=False)

    tell(format, rows, columns, draw, whole=built.as_json())


@app.command("train-best")
def train_best(
    number: Annotated[
        int | None,
        typer.Argument(metavar="[N]", help="The trial; by default the winner.", autocompletion=trial_numbers),
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    format: In = Format.TABLE,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="A new one; by default `best` beside the trials.")
    ] = None,
    full: Annotated[
        bool | None,
        typer.Option("--full/--no-full", help="Train on the validation set too; by default if the script knows how."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, metavar="N", help="By default the trial's.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="By default the trial's.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any override more.")] = None,
    test: Test = None,
    script: Script = None,
    device: Device = None,
) -> None:
    """Train the winner for keeps.

    Its setting once more, alone, on all data, into a folder to hand over: weights, config, metrics, curves, and a
    model card with the study's story. Where some were confirmed, the winner is that with the best repeats.
    """
    opened, record = open_study(store, study)
    from sweeper.report import card
    from sweeper.retraining import handover, trust
    from sweeper.words.numbers import place

    own = trust.own_script(record, script)
    before, overrides = _winner(opened, record, number)
    folder = to or Path(record.folder) / "best"
    asked = handover.Asked(epochs=epochs, seed=seed, full=full, overrides=tuple(set_ or ()), test=test)
    print(f"training trial {before.row['number']} for keeps into {place(folder)}", file=sys.stderr, flush=True)
    write = functools.partial(card.write, opened, record, before.row)
    kept = handover.train(opened, before, own, overrides, before.slot(device), folder, asked, write)
    row = {**kept.metrics, **(kept.test or {})}
    tell(format, [row], list(row), lambda _: print("\n".join(card.told(kept))), whole=kept.as_json())


def _winner(opened: Any, record: Any, number: int | None = None) -> tuple[Any, Any]:
    """The trial to train again, that with the best repeats where some were confirmed, and its overrides."""
    from sweeper.analysis.confirmed import leader
    from sweeper.retraining import rerun, trust
    from sweeper.store import reads
    from sweeper.trial.command import train_overrides
    from sweeper.words.errors import StoreError

    if number is None:
        best = next(iter(reads.best(opened, record, 1)), None)
        if best is None:
            raise StoreError(f"The study {record.name} has no complete trial yet, so there is none to train again.")
        number = leader(opened, record)
        number = best.number if number is None else number
    before = rerun.Before.of(opened, record, number)
    return before, trust.overrides_of_trust(train_overrides(record, before.row["params"]))
