"""`sweeper dashboard`: the page of a study while it runs, or Optuna's own dashboard; for this machine alone."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, StoreUrl, StudyName, app, open_study
from sweeper.words.errors import ConfigError

if TYPE_CHECKING:
    from sweeper.report.html.server import Server
    from sweeper.store.connection import Store


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
        from sweeper.search.samplers import quiet

        served = server(opened, port)
        place = address(served, record.id)
        calm: AbstractContextManager[None] = quiet()  # what Optuna has to say about single trials is for its page
    else:
        from sweeper.report.html import live_page

        served = live_page.serve(opened, [record], port)
        place = live_page.address(served)
        calm = nullcontext()
    with served, calm:
        print(f"{place}  (Ctrl-C ends it)", flush=True)
        served.run()


def check_installed() -> None:
    """Raises ConfigError where Optuna's dashboard is not installed."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise ConfigError(
            "Optuna's dashboard is a package of its own, and is not installed: pip install 'sweeper-hpo[dashboard]'."
        )


def server(store: Store, port: int) -> Server:
    """Optuna's dashboard over every study of the store; port 0: any that is free. Raises ConfigError."""
    check_installed()
    from optuna_dashboard import wsgi

    from sweeper.report.html.server import server as serve
    from sweeper.search.optuna.storage import LiveStorage

    return serve(wsgi(LiveStorage(store)), port)


def address(made: Server, study_id: int) -> str:
    from sweeper.report.html.server import HOST

    return f"http://{HOST}:{made.server_port}/dashboard/studies/{study_id}"
