"""A folder without a store of anybody's, and a study in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import filling


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("SWEEPER_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'sweeper.db'}"


@pytest.fixture
def filled(url: str) -> str:
    """Trials 0, 1 and 3 are complete (the best is 1), 2 failed, 4 runs; odd ones are adam, even ones sgd."""
    filling.running_study(url)
    return url
