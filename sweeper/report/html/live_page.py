"""The report of a study that goes on: the same page, made anew whenever the store has news."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

from sweeper.analysis.progress import snapshot
from sweeper.report.html import page
from sweeper.report.html.server import HOST, Server, server
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.records import StudyRecord

SCRIPTS = '<script src="plotly.js"></script><script src="live.js"></script>'
"""Plotly is a file of its own here: a browser that looks again has it already."""


class LivePage:
    """A WSGI application: `/` is the page, `/pulse` a word that changes with what the page shows."""

    def __init__(self, store: Store, studies: Sequence[StudyRecord]) -> None:
        """Raises ConfigError where plotly is missing."""
        self._store = store
        self._names = [study.name for study in studies]
        self._plotly = page.plotly().encode()
        self._live = (resources.files("sweeper.report.html") / "live.js").read_bytes()
        self._one_at_a_time = threading.Lock()
        self._made: tuple[str, bytes] = ("", b"")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        status, kind, body, keep = "200 OK", "text/html; charset=utf-8", b"", "no-store"
        match environ.get("PATH_INFO"):
            case "/" | "":
                body = self._page()
            case "/pulse":
                kind, body = "text/plain", self.pulse().encode()
            case "/plotly.js":
                kind, body, keep = "text/javascript; charset=utf-8", self._plotly, "max-age=86400"
            case "/live.js":
                kind, body = "text/javascript; charset=utf-8", self._live
            case _:
                status, kind, body = "404 Not Found", "text/plain", b"There is / alone."
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", keep)])
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def pulse(self) -> str:
        """The same word as long as nothing has changed that the page shows."""
        told = hashlib.sha256()
        for study in self._studies():
            now = snapshot(self._store, study)
            running = [(trial.number, trial.epochs_done) for trial in now.running]
            alive = [(worker.host, worker.pid) for worker in now.workers]
            moves = len(reads.move_rows(self._store, study.id))
            revision = reads.newest_revision(self._store, study.id)
            told.update(repr((revision, study.state, study.budget, moves, running, alive)).encode())
        return told.hexdigest()[:16]

    def _page(self) -> bytes:
        with self._one_at_a_time:
            pulse = self.pulse()
            if self._made[0] != pulse:
                self._made = pulse, page.page(self._store, self._studies(), SCRIPTS).encode("utf-8", errors="replace")
            return self._made[1]

    def _studies(self) -> list[StudyRecord]:
        return [reads.study(self._store, name) for name in self._names]


def serve(store: Store, studies: Sequence[StudyRecord], port: int) -> Server:
    """The page on this machine alone; port 0: any that is free. Raises ConfigError."""
    return server(LivePage(store, studies), port)


def address(made: Server) -> str:
    return f"http://{HOST}:{made.server_port}/"
