"""The doctor's findings as rows: what a script passes or fails is fine or wrong in a store."""

from __future__ import annotations

from typing import Any

from sweeper.check.finding import Finding, Verdict

COLUMNS = ("check", "verdict", "message", "problems", "cure", "repairs")
WORDS = {Verdict.PASSES: "fine", Verdict.FAILS: "wrong"}


def row(finding: Finding) -> dict[str, Any]:
    """JSON-plain; a repair is its text."""
    verdict = WORDS.get(finding.verdict, str(finding.verdict))
    told = {**finding.as_row(), "verdict": verdict, "repairs": [repair.text for repair in finding.repairs]}
    return {column: told[column] for column in COLUMNS}
