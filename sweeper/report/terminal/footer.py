"""What stands below the trials of the live view: the best, the budget, stages, devices, ranges, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.text import Text

from sweeper.analysis.progress import Progress, RangeStand, RunningTrial, StageStand
from sweeper.report.terminal import crew, tables
from sweeper.report.terminal.plain import paused_line
from sweeper.report.terminal.summary import failure_lines
from sweeper.words.numbers import line, number, plain
from sweeper.words.program import typed
from sweeper.words.records import TrialRecord, TrialState

INDENT = 8
MARGIN = INDENT + 2
BORDERS_SHOWN = 3
DEVICES_SHOWN = 8
"""More of them share a line."""
RANGE_LINES = 3
LEAST_BAR = 8
TOLD = (TrialState.RUNNING, TrialState.WAITING, TrialState.PAUSED, TrialState.COMPLETE, TrialState.PRUNED)
"""In this order the trials of a stage are told of; those that failed have a line of their own."""


@dataclass(frozen=True, slots=True)
class Section:
    """What is shown where there is room for it: at length, or in short."""

    full: Sequence[Text]
    short: Sequence[Text] = ()

    def within(self, room: int) -> list[Text]:
        return next((list(lines) for lines in (self.full, self.short) if len(lines) <= room), [])


def essential(progress: Progress, width: int) -> list[Text]:
    """The best trial and the budget."""
    lines = []
    if (best := progress.best) is not None:
        others = tables.other_metrics(best.metrics, progress.metric)[:2]
        more = "".join(f"  {name} {number(best.metrics[name], pad=True)}" for name in others)
        text = f"{progress.metric} {number(best.value, pad=True)}{more}  trial {best.number}"
        lines.append(_labelled("best", text, "bold green"))
        lines.append(_labelled("", line(parameters(best), width - MARGIN), ""))
    return [*lines, _done(progress, width)]


def optional(progress: Progress, width: int, room: int, *, devices: bool = True) -> list[Text]:
    """As much of stages, devices and ranges as so many lines hold, in this order."""
    sections = [_stages(progress.stages, width)]
    if devices:
        sections.append(_devices(progress, width))
    sections.append(_ranges(progress.ranges, width))
    lines: list[Text] = []
    for section in sections:
        lines += section.within(room - len(lines))
    return lines


def warnings(progress: Progress, width: int) -> list[Text]:
    """Borders and moves of the ranges, failures, devices that are paused, and why the study was stopped."""
    room = width - MARGIN
    lines = [_labelled(label, line(text, room), "yellow") for label, text in _borders(progress)]
    lines += [_labelled("failed", line(text, room), "red") for text in failure_lines(progress)]
    paused = () if progress.complete else progress.paused
    lines += [_labelled("paused", line(paused_line(each), room), "bold red") for each in paused]
    if progress.message:
        lines.append(_labelled("", line(progress.message, room), "bold red"))
    return lines


def parameters(each: RunningTrial | TrialRecord) -> str:
    params = each.params or {}
    names = tables.short_names(list(params))
    return "  ".join(f"{name}={number(value)}" for name, value in zip(names, params.values(), strict=True))


def _labelled(label: str, text: str | Text, style: str = "") -> Text:
    shown = text if isinstance(text, Text) else Text(text, style)
    return Text.assemble((f"{label:<{INDENT}}", "dim"), shown, no_wrap=True, overflow="ellipsis")


def _done(progress: Progress, width: int) -> Text:
    running = f"{len(progress.running)} running" if progress.running and progress.workers else ""
    parts = [part for part in (f"{progress.amount} {progress.unit}", running, progress.left) if part]
    if len(", ".join(parts)) > width - MARGIN - LEAST_BAR and running:
        parts.remove(running)
    told = ", ".join(parts)
    length = max(LEAST_BAR, min(40, width - len(told) - 1 - MARGIN))
    full = int(length * min(1.0, progress.done / max(1, progress.budget)))
    return _labelled("done", Text.assemble(("━" * full, "green"), ("╌" * (length - full), "dim"), f" {told}"))


# ---- stages ----------------------------------------------------------------------------------------------------------


def _stages(stages: Sequence[StageStand], width: int) -> Section:
    """`coarse 3 epochs: 2 running, 14 paused · fine 20 epochs: 4 complete`, in bold where new trials begin."""
    if len(stages) < 2:
        return Section(())
    lines = [
        Text(" · ").join(Text(told(each), "bold" if each.opens else "") for each in stages) for told in STAGE_WORDS
    ]
    shown = next((text for text in lines if len(text) <= width - MARGIN), lines[-1])
    return Section([_labelled("stages", shown)])


def _by_state(stage: StageStand) -> str:
    states = ", ".join(f"{stage.counts[state]} {state.lower()}" for state in TOLD if stage.counts.get(state))
    return f"{_named(stage)}: {states or 'none'}"


def _in_all(stage: StageStand) -> str:
    return f"{_named(stage)}: {_count(stage)}"


def _in_short(stage: StageStand) -> str:
    return f"{plain(stage.name)} {_count(stage)}"


STAGE_WORDS = (_by_state, _in_all, _in_short)


def _named(stage: StageStand) -> str:
    return plain(stage.name) + ("" if stage.epochs is None else f" {stage.epochs} epochs")


def _count(stage: StageStand) -> int:
    return sum(stage.counts.get(state, 0) for state in TOLD)


# ---- devices and ranges ----------------------------------------------------------------------------------------------


def _devices(progress: Progress, width: int) -> Section:
    if not crew.is_known(progress.workers) or progress.complete:
        return Section(())
    short = [_labelled("devices", crew.line(progress.workers, width - MARGIN))]
    if len(progress.workers) > DEVICES_SHOWN:
        return Section(short)
    told = crew.lines(progress.workers)
    return Section([_labelled("" if index else "devices", text) for index, text in enumerate(told)], short)


def _ranges(ranges: Sequence[RangeStand], width: int) -> Section:
    """`lr 1e-5 … 1↑`: where an end has moved, an arrow shows which way."""
    names = tables.short_names([each.parameter for each in ranges])
    told = [_range(name, each) for name, each in zip(names, ranges, strict=True)]
    lines: list[Text] = []
    for text in told:
        if lines and len(lines[-1]) + 3 + len(text) <= width - MARGIN:
            lines[-1] = Text("   ").join([lines[-1], text])
        else:
            lines.append(text)
    labelled = [_labelled("" if index else "ranges", text) for index, text in enumerate(lines)]
    moved = [text for text, each in zip(told, ranges, strict=True) if (each.low, each.high) != each.began]
    short = [_labelled("ranges", Text("   ").join(moved))] if moved else []
    return Section(labelled if len(labelled) <= RANGE_LINES else short, short)


def _range(name: str, each: RangeStand) -> Text:
    low, high = (_moved(now, began) for now, began in zip((each.low, each.high), each.began, strict=True))
    style = "yellow" if low or high else ""
    return Text.assemble((f"{plain(name)} ", "dim"), (f"{low}{number(each.low)} … {number(each.high)}{high}", style))


def _moved(now: float, began: float) -> str:
    return "" if now == began else "↑" if now > began else "↓"


# ---- borders ---------------------------------------------------------------------------------------------------------


def _borders(progress: Progress) -> list[tuple[str, str]]:
    """The edges that the best trials crowd, and the last move of the ranges; a sweep's last lines say it all."""
    if progress.complete:
        return []
    names = [verdict.parameter for verdict in progress.borders]
    short = dict(zip(names, tables.short_names(names), strict=True))
    told = [replace(each, parameter=short[each.parameter]).headline for each in progress.borders if each.crowds]
    if len(told) > BORDERS_SHOWN:
        more = len(told) - BORDERS_SHOWN + 1
        told[BORDERS_SHOWN - 1 :] = [typed(f"{more} more edges are crowded: sweeper borders")]
    return [*(("border", text) for text in told), *(("moved", text) for text in progress.moves[-1:])]
