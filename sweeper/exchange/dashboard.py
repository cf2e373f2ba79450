"""Optuna's own dashboard on a store, live, for this machine alone."""

from __future__ import annotations

import importlib.util

from sweeper.errors import ConfigError
from sweeper.exchange.storage import LiveStorage
from sweeper.serving import HOST, Server
from sweeper.serving import server as serve
from sweeper.store.connection import Store


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

    return serve(wsgi(LiveStorage(store)), port)


def address(made: Server, study_id: int) -> str:
    return f"http://{HOST}:{made.server_port}/dashboard/studies/{study_id}"
