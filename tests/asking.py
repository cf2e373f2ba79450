"""The command line asked in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from sweeper.cli import app


def ask(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result
