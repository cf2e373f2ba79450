"""`sweeper borders`: were the ranges right? Drawn as a table and as sentences; and the last lines of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.analysis.borders import COLUMNS, collect, judge
from sweeper.report.terminal import tables
from sweeper.search.verdict import BorderKind, Verdict
from sweeper.words.numbers import number, plain

WORDS = {
    BorderKind.INSIDE: "inside",
    BorderKind.LOWER: "lower edge",
    BorderKind.UPPER: "upper edge",
    BorderKind.LIMIT: "hard limit",
    BorderKind.DIVERGENCE: "divergence",
    BorderKind.FEW: "too few trials",
}
__all__ = ["COLUMNS", "collect", "draw", "judge", "last_words"]


# ---- drawn -----------------------------------------------------------------------------------------------------------


def draw(found: Sequence[Verdict], width: int) -> RenderableType:
    """The numbers as a table, and a sentence for each range that is not simply right."""
    if not found:
        return Text("No parameter has a range: borders are of numbers, and of choices with an order.")
    said = [Text(f"• {plain(verdict.sentence)}") for verdict in found if not verdict.is_quiet]
    ending = [] if said else [Text(_nothing(found), style="green")]
    names = tables.short_names([verdict.parameter for verdict in found])
    cells = [{**_cells(verdict), "parameter": plain(name)} for name, verdict in zip(names, found, strict=True)]
    return Group(tables.fitted(cells, width), Text(), *said, *ending)


def last_words(found: Sequence[Verdict]) -> list[str]:
    """What a person ought to read at a sweep's end: each crowded edge, and in one line those that may be crowded."""
    doubts = [f"{verdict.parameter} ({verdict.edge})" for verdict in found if not (verdict.is_quiet or verdict.crowds)]
    said = f"most of the best lie at an edge of {', '.join(doubts)}, but there are too few trials elsewhere to say more"
    return [verdict.sentence for verdict in found if verdict.crowds] + [said] * bool(doubts)


def _nothing(found: Sequence[Verdict]) -> str:
    few = sum(verdict.kind is BorderKind.FEW for verdict in found)
    if few == len(found):
        return found[0].sentence.partition(": ")[2].capitalize()
    return "The best trials crowd no edge of a range." + (f" Of {few} there are too few trials to say." if few else "")


def _cells(verdict: Verdict) -> dict[str, str]:
    few, untold = verdict.kind is BorderKind.FEW, not verdict.top
    return {
        "parameter": plain(verdict.parameter),
        "verdict": WORDS[verdict.kind] + (f", {verdict.edge} edge" if few and verdict.edge else ""),
        "range": f"{number(verdict.low)} … {number(verdict.high)}",
        "best": number(verdict.best),
        "position": number(verdict.position),
        "of the best there": number(None) if untold else f"{verdict.at_edge} of {verdict.top}",
        "by chance": number(None) if untold else f"{verdict.expected:.1f}",
        "p": number(verdict.p_value),
        "trials": str(verdict.trials),
        "failed": f"{verdict.failed} of {verdict.tried}" if verdict.failed else number(None),
    }
