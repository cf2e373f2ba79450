"""`sweeper import`: a study of Optuna's taken over."""

from __future__ import annotations

from typing import Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, StoreUrl, app
from sweeper.words.program import typed


@app.command("import")
def import_(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="Optuna's database: a file (SQLite or journal), or a URL.")
    ],
    store: StoreUrl = DEFAULT_STORE,
    study: Annotated[str | None, typer.Option("--study", metavar="NAME", help="Which, where it holds several.")] = None,
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Its name here; by default the same.")
    ] = None,
) -> None:
    """Take over a study of Optuna's.

    As a paused study, to ask like any other, and for `from_study` to begin where it ended.
    """
    from sweeper.engine import intake
    from sweeper.store.address import options
    from sweeper.store.connection import Store

    found, opened = intake.read(source, study), Store(store, create=True)
    record = found.add(opened, name)
    command = typed(f"sweeper best {options(opened, record.name)}")
    print(f"{record.next_number} trials of {found.name} in {record.name}: {command}")
