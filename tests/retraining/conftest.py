"""A study that was swept once for a module, and copies of it to change at will."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copied(swept: Path, tmp_path: Path, forked: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the module's `swept` study, as the current folder."""
    there = tmp_path / "study"
    shutil.copytree(swept, there)
    monkeypatch.chdir(there)
    monkeypatch.delenv("SWEEPER_STORE", raising=False)
    return there
