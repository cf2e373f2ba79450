"""Optuna's own dashboard on a store, live, for this machine alone."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sweeper.errors import ConfigError
from sweeper.exchange.storage import LiveStorage
from sweeper.samplers import quiet
from sweeper.store.connection import Store

HOST = "127.0.0.1"
READS = ("GET", "HEAD")
OURS = ("127.0.0.1", "localhost")
READ_ONLY = "This dashboard only shows: a study is changed by `sweeper set, hide, retry, …`."
ELSEWHERE = "This dashboard is for the machine it runs on: open it as http://127.0.0.1 or http://localhost."


class Server(ThreadingMixIn, WSGIServer):
    """Importance of a large study takes seconds; the other questions need not wait for it."""

    daemon_threads = True

    def run(self) -> None:
        """Serve until Ctrl-C; what Optuna has to say about single trials is for its page."""
        with quiet(), contextlib.suppress(KeyboardInterrupt):
            self.serve_forever()


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Not a line for each request: the page asks every few seconds."""


def check_installed() -> None:
    """Raises ConfigError where Optuna's dashboard is not installed."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise ConfigError(
            "Optuna's dashboard is a package of its own, and is not installed: pip install 'sweeper[dashboard]'."
        )


def server(store: Store, port: int) -> Server:
    """Optuna's dashboard over every study of the store; port 0: any that is free. Raises ConfigError."""
    check_installed()
    from optuna_dashboard import wsgi

    try:
        made = make_server(HOST, port, _shown(wsgi(LiveStorage(store))), server_class=Server, handler_class=Quiet)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"The dashboard needs a free port, but {port} is none ({error}): choose another with --port, 0 for any."
        ) from None
    assert isinstance(made, Server)
    return made


def address(made: Server, study_id: int) -> str:
    return f"http://{HOST}:{made.server_port}/dashboard/studies/{study_id}"


def _shown(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Questions from this machine's browser alone: other pages must not ask through it under a name of theirs."""

    def guarded(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", HOST).rsplit(":", 1)[0]
        law = ELSEWHERE if host not in OURS else READ_ONLY if environ["REQUEST_METHOD"] not in READS else None
        if law is None:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"reason": law}).encode()]

    return guarded
