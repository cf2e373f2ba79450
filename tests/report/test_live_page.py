"""The page of a study that goes on, as a browser asks for it."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

import sweeps
from sweeper.report.html import live_page, page
from sweeper.report.html.server import READ_ONLY
from sweeper.store import reads
from sweeper.words.errors import ConfigError


@pytest.fixture
def served(store) -> Iterator[str]:
    sweeps.fill(store, sweeps.study(store, trials=3), 3)
    with live_page.serve(store, [reads.study(store)], 0) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield live_page.address(server)
        server.shutdown()
        thread.join()


def ask(url: str, **more) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, **more), timeout=60) as answer:
        return answer.read().decode()


def test_the_page_is_that_of_the_report_with_plotly_as_a_file_of_its_own(served: str) -> None:
    html = ask(served)
    assert "<h1>digits</h1>" in html
    assert html.index('src="plotly.js"') < html.index('id="data"')
    assert len(html) < 1_000_000 < len(ask(f"{served}plotly.js"))
    assert "pulse" in ask(f"{served}live.js")


def test_the_pulse_changes_with_what_the_page_shows_and_else_not(store, served: str) -> None:
    before, old = ask(f"{served}pulse"), ask(served)
    assert ask(f"{served}pulse") == before
    assert ask(served) == old
    sweeps.fill(store, sweeps.study(store, "other", trials=2), 2)
    assert ask(f"{served}pulse") == before
    sweeps.move(store, reads.study(store, "digits").id, 1, 1e-5, 1.0, 3)
    assert ask(f"{served}pulse") != before
    assert ask(served) != old


@pytest.mark.parametrize(
    ("path", "more", "code"),
    [
        ("nothing", {}, 404),
        ("", {"method": "POST", "data": b"x"}, 403),
        ("", {"headers": {"Host": "evil.example"}}, 403),
    ],
)
def test_it_only_shows_and_only_here(served: str, path: str, more: dict, code: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(served + path, **more)
    assert refused.value.code == code
    assert code != 403 or "evil" in str(more) or READ_ONLY.encode()[:20] in refused.value.read()


def test_without_plotly_the_cure_is_said(store, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps.study(store)

    def missing() -> str:
        raise ConfigError("pip install 'sweeper-hpo[report]'")

    monkeypatch.setattr(page, "plotly", missing)
    with pytest.raises(ConfigError, match="sweeper-hpo\\[report\\]"):
        live_page.serve(store, [reads.study(store)], 0)
