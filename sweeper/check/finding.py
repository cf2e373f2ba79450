"""What a check says: passes, fails or cannot tell, in a sentence, with its numbers, what to do and what can be mended.

Of a training script (`sweeper check`) and of a store (`sweeper doctor`) alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.check.doctor.repair import Repair


class Verdict(StrEnum):
    PASSES = "passes"
    FAILS = "fails"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        cure: what to do, or what to add.
        problems: a line for each thing that is wrong or cannot be told.
        repairs: what the doctor can do about it; of a script none.
    """

    name: str
    verdict: Verdict
    sentence: str
    cure: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()

    def as_row(self) -> dict[str, Any]:
        """JSON-plain, without the repairs; a number that is none is null."""
        return {
            "check": self.name,
            "verdict": str(self.verdict),
            "message": self.sentence,
            "problems": list(self.problems),
            "cure": self.cure,
            "numbers": {name: _plain(value) for name, value in self.numbers.items()},
        }

    def offering(self, repairs: Sequence[Repair]) -> Finding:
        return replace(self, repairs=tuple(repairs))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Finding:
        told = (row["check"], Verdict(row["verdict"]), row["message"], row["cure"], row["numbers"])
        return cls(*told, tuple(row["problems"]))


def passes(name: str, sentence: str, **numbers: Any) -> Finding:
    return Finding(name, Verdict.PASSES, sentence, None, numbers)


def fails(name: str, sentence: str, cure: str | None, *problems: str, **numbers: Any) -> Finding:
    return Finding(name, Verdict.FAILS, sentence, cure, numbers, problems)


def unknown(name: str, sentence: str, cure: str | None = None, *problems: str, **numbers: Any) -> Finding:
    return Finding(name, Verdict.UNKNOWN, sentence, cure, numbers, problems)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
