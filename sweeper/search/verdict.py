"""A border verdict: which edge of a parameter's range the best values crowd, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from sweeper.search.space import as_text
from sweeper.words.numbers import counted, number

MIN_TRIALS = 10
OUTER = 0.1

Edge = Literal["lower", "upper"]
Scale = Literal["linear", "log", "choices"]


class BorderKind(StrEnum):
    INSIDE = "inside"
    LOWER = "lower"
    """The best crowd the lower edge."""
    UPPER = "upper"
    LIMIT = "limit"
    """They crowd an edge beyond which there is nothing: the parameter's limit, or zero."""
    DIVERGENCE = "divergence"
    """They crowd an edge at which trials diverge, or run out of memory or of time."""
    FEW = "few"
    """Too few trials to say; with an `edge`: most of the best lie there, but that may be the sampler's doing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the trials say about one parameter's range, and the numbers behind it.

    `low`, `high`: the range now, or the first and last choice. `position`: of the best in [0, 1], on the parameter's
    scale. Of `trials` that count, the `top` best hold `at_edge` in the outer tenth nearest to the best, where
    `expected` would be by chance; `p_value`: of a slope to that edge, all others being equal. There, `failed` of the
    `tried` trials diverged, or ran out of memory or time.
    """

    parameter: str
    kind: BorderKind
    edge: Edge | None
    low: Any
    high: Any
    widen_to: tuple[float, float] | None = None
    best: Any = None
    position: float | None = None
    top: int = 0
    at_edge: int = 0
    expected: float = 0.0
    p_value: float | None = None
    trials: int = 0
    failed: int = 0
    tried: int = 0
    scale: Scale = "linear"

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to tell a person who did not ask."""
        return self.kind in (BorderKind.INSIDE, BorderKind.FEW) and self.edge is None

    @property
    def crowds(self) -> bool:
        """Whether the best trials crowd an edge, whatever is to be done about it."""
        return self.kind not in (BorderKind.INSIDE, BorderKind.FEW)

    @property
    def headline(self) -> str:
        """The verdict in a few words: for a crowded edge where it is, and what to do."""
        if self.crowds:
            return f"{self.parameter} crowds {self._name}{self._advice}"
        if self.kind is BorderKind.FEW:
            return f"{self.parameter}: too few trials to say"
        return f"{self.parameter} is inside{' as far as can be told' if self._is_at_an_end else ''}"

    @property
    def sentence(self) -> str:
        """The verdict in plain words, with its numbers."""
        if self.kind is BorderKind.FEW and self.edge is None:
            trials = counted(self.trials, "trial")
            return f"{self.headline} ({trials} with a value, {MIN_TRIALS} are needed)."
        place, by_chance = self._place, f"{self.expected:.1f} by chance"
        if self.kind is BorderKind.INSIDE:
            return f"{self.headline}: {place}; {self._count} at that end, {by_chance}."
        p = f"(p = {_shown(self.p_value)})"
        if self.crowds:
            return f"{self.headline}. {place[0].upper()}{place[1:]}; {self._count} at that end, {by_chance} {p}."
        there = f"and so do {round(self.expected * self.trials / self.top)} of all {self.trials}"
        luck = f"that the better ones lie nearer to it may be luck {p}"
        return f"{self.headline}: {place}; {self._count} at {self._name}, {there}; {luck}."

    @property
    def _is_choice(self) -> bool:
        return self.scale == "choices"

    @property
    def _name(self) -> str:
        end = self.high if self.edge == "upper" else self.low
        if self._is_choice:
            return f"its {'last' if self.edge == 'upper' else 'first'} choice, {_shown(end)}"
        return f"the {self.edge} edge, {_shown(end)}"

    @property
    def _advice(self) -> str:
        if self.kind is BorderKind.DIVERGENCE:
            return (
                f", made by divergence: {self.failed} of {self.tried} trials there failed. It is a stability limit, "
                "no fault of the range"
            )
        if self.kind is BorderKind.LIMIT:
            return ", a hard limit: the range cannot be widened"
        if self._is_choice:
            return f": add choices {'above' if self.edge == 'upper' else 'below'} it"
        assert self.widen_to is not None
        return f": widen to {_range(*self.widen_to)}"

    @property
    def _place(self) -> str:
        if self._is_choice:
            return f"the best is {_shown(self.best)} of {_shown(self.low)} … {_shown(self.high)}"
        scale = " on its log scale" if self.scale == "log" else ""
        return f"the best is {_shown(self.best)}, at {self.position:.2f} of {_range(self.low, self.high)}{scale}"

    @property
    def _count(self) -> str:
        return f"{self.at_edge} of the {self.top} best of {self.trials} trials {'lies' if self.at_edge == 1 else 'lie'}"

    @property
    def _is_at_an_end(self) -> bool:
        at_end = self.position is not None and not OUTER < self.position < 1 - OUTER
        return at_end or self.best in (self.low, self.high)


def _range(low: float, high: float) -> str:
    return f"[{_shown(low)}, {_shown(high)}]"


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, float) else as_text(value)
