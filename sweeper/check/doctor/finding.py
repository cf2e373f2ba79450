"""What a check says: fine, wrong or cannot tell, with numbers, a cure, and the repairs that can be offered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

COLUMNS = ("check", "verdict", "message", "problems", "cure", "repairs")


class Verdict(StrEnum):
    FINE = "fine"
    WRONG = "wrong"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Repair:
    """Something that can be mended. `text` says what will be done, `names` every file or row that goes."""

    text: str
    do: Callable[[], str]
    """Looks again first, and returns what was done in words. May raise StoreError or OSError."""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One check. `problems`: a line for each thing that is wrong or cannot be told."""

    check: str
    verdict: Verdict
    message: str
    problems: tuple[str, ...] = ()
    cure: str | None = None
    repairs: tuple[Repair, ...] = ()

    def as_row(self) -> dict[str, Any]:
        """JSON-plain; a repair is its text."""
        row = {name: value for name, value in asdict(self).items() if name != "repairs"}
        return {**row, "problems": list(self.problems), "repairs": [repair.text for repair in self.repairs]}


def counted(count: int, noun: str, many: str | None = None) -> str:
    """
    >>> counted(1, "file"), counted(2, "file"), counted(0, "study", "studies")
    ('1 file', '2 files', '0 studies')
    """
    return f"{count} {noun if count == 1 else many or f'{noun}s'}"


def fine(check: str, message: str) -> Finding:
    return Finding(check, Verdict.FINE, message)
