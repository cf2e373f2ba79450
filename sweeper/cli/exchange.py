"""A study in Optuna's hands and back: its dashboard, live, and its databases."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, StoreUrl, StudyName, app, open_study
from sweeper.program import typed


@app.command()
def dashboard(
    store: StoreUrl = DEFAULT_STORE,
    study: StudyName = None,
    optuna: Annotated[bool, typer.Option("--optuna", help="Optuna's own dashboard.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="0: any that is free.")] = 8080,
) -> None:
    """Watch the study in a browser, while it runs.

    The page of `sweeper report`, made anew when there is news. For this machine alone; Ctrl-C ends it.
    """
    opened, record = open_study(store, study)
    if optuna:
        from sweeper.exchange import dashboard
        from sweeper.samplers import quiet

        served = dashboard.server(opened, port)
        address = dashboard.address(served, record.id)
        calm: AbstractContextManager[None] = quiet()  # what Optuna has to say about single trials is for its page
    else:
        from sweeper.report import live_page

        served = live_page.serve(opened, [record], port)
        address = live_page.address(served)
        calm = nullcontext()
    with served, calm:
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        served.run()


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
    from sweeper.exchange import intake
    from sweeper.report.summary import options
    from sweeper.store.connection import Store

    found, opened = intake.read(source, study), Store(store, create=True)
    record = found.add(opened, name)
    command = typed(f"sweeper best {options(opened, record.name)}")
    print(f"{record.next_number} trials of {found.name} in {record.name}: {command}")
