"""What the curves of a study in the store say, drawn for eyes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.analysis.diagnosis import Diagnosis, Run, Severity, well
from sweeper.words.numbers import plain
from sweeper.words.program import typed
from sweeper.words.records import StudyRecord

STYLES = {Severity.BROKEN: "bold red", Severity.BAD: "yellow", Severity.HINT: "cyan"}


def lines(found: Sequence[Diagnosis]) -> list[str]:
    """A line a diagnosis, with what to do: for the page, and for a trial's sheet."""
    return [f"{plain(each.sentence)} Try: {plain(each.cure)}." for each in found]


def draw(title: str, found: Sequence[Diagnosis], nothing: str) -> RenderableType:
    parts: list[RenderableType] = [Text(title, style="bold")]
    if not found:
        parts.append(Text(typed(plain(nothing))))
    for each in found:
        said = Text.assemble((f"{each.severity}  ", STYLES[each.severity]), plain(each.sentence))
        cure = Text(typed(f"  try: {plain(each.cure)}"))
        parts += [Text(), said, cure, Text(f"  after {plain(each.source)}", style="dim")]
    return Group(*parts)


def of_one(run: Run, found: Sequence[Diagnosis], study: StudyRecord) -> RenderableType:
    return draw(f"trial {run.number} of {study.name}", found, well(run))


def of_all(found: Sequence[Diagnosis], study: StudyRecord) -> RenderableType:
    nothing = "Nothing to mend: no region diverges, and the best trials share no fault. One trial: sweeper diagnose N"
    return draw(f"study {study.name}", found, nothing)
