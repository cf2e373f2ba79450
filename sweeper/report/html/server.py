"""Pages for this machine's browser alone: a small server that only shows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sweeper.words.errors import ConfigError

HOST = "127.0.0.1"
READS = ("GET", "HEAD")
OURS = ("127.0.0.1", "localhost")
READ_ONLY = "This dashboard only shows: a study is changed by `sweeper set, hide, retry, …`."
ELSEWHERE = "This dashboard is for the machine it runs on: open it as http://127.0.0.1 or http://localhost."

App = Callable[..., Iterable[bytes]]


class Server(ThreadingMixIn, WSGIServer):
    """What takes seconds (importance of a large study) keeps no other question waiting."""

    daemon_threads = True

    def run(self) -> None:
        """Serve until Ctrl-C."""
        with contextlib.suppress(KeyboardInterrupt):
            self.serve_forever()


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Not a line for each request: the page asks every few seconds."""


def server(app: App, port: int) -> Server:
    """Serves questions from this machine; port 0: any that is free. Raises ConfigError."""
    try:
        made = make_server(HOST, port, _guarded(app), server_class=Server, handler_class=Quiet)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"The dashboard needs a free port, but {port} is none ({error}): choose another with --port, 0 for any."
        ) from None
    assert isinstance(made, Server)
    return made


def _guarded(app: App) -> App:
    """Questions from this machine's browser alone: other pages must not ask through it under a name of theirs."""

    def guarded(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", HOST).rsplit(":", 1)[0]
        law = ELSEWHERE if host not in OURS else READ_ONLY if environ["REQUEST_METHOD"] not in READS else None
        if law is None:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"reason": law}).encode()]

    return guarded
