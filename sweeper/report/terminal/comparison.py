"""`sweeper curves` and `sweeper compare`: several trials side by side, drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.analysis import places
from sweeper.analysis.comparison import Row
from sweeper.analysis.digest import Scale, scale_of
from sweeper.report.terminal import tables
from sweeper.words.numbers import BARS, MISSING, line, number, plain
from sweeper.words.records import StudyRecord

STRIP = 40


def draw_curves(study: StudyRecord, trials: Sequence[Row], metrics: Sequence[str], width: int) -> RenderableType:
    """For each metric the curves as bars on one scale, then the numbers by epoch."""
    if not any(trial["epochs"] for trial in trials):
        return Text("No epoch of these trials was reported yet.")
    parts: list[RenderableType] = []
    for metric in metrics:
        lines = [_line(trial, study, metric) for trial in trials]
        values = [value for each in lines for value in each.values() if value is not None]
        sign = study.direction.sign if metric == study.metric else 0
        scale = scale_of(values, sign or 1)
        about = f"{metric}, bars from {number(min(scale.best, scale.worst))} to {number(max(scale.best, scale.worst))}"
        summary = [_summary(trial, each, sign, scale, lines) for trial, each in zip(trials, lines, strict=True)]
        parts += [
            Text(about + (" (log)" if scale.log else ""), style="bold underline"),
            _strips(summary, width),
            Text(),
        ]
        parts += [*_by_epoch(trials, lines, width), Text()]
    return Group(*parts[:-1])


def _line(trial: Row, study: StudyRecord, metric: str) -> dict[int, float | None]:
    """A metric by epoch; the study's own is there also where a script only returned it."""
    name = "value" if metric == study.metric else f"metrics.{metric}"
    return {row["epoch"]: row.get(name) for row in trial["epochs"]}


def _summary(
    trial: Row, own: Mapping[int, float | None], sign: int, scale: Scale, lines: Sequence[Mapping[int, float | None]]
) -> dict[str, str]:
    known = {epoch: value for epoch, value in own.items() if value is not None}
    every = sorted({epoch for each in lines for epoch in each})
    ends = [known[epoch] for epoch in sorted(known)]
    told = {
        "trial": str(trial["number"]),
        "state": " ".join(str(each) for each in (trial["state"], trial["failure"]) if each),
        "curve": strip([own.get(epoch) for epoch in every], scale),
        "first": number(ends[0], pad=True) if ends else MISSING,
        "last": number(ends[-1], pad=True) if ends else MISSING,
    }
    if not sign:  # of a metric that is not the study's nobody has said which end is the better one
        return told
    best = min(known, key=lambda epoch: (sign * known[epoch], epoch), default=None)
    extreme, epoch = (MISSING, MISSING) if best is None else (number(known[best], pad=True), str(best))
    return {**told, "least" if sign > 0 else "most": extreme, "at epoch": epoch}


def _strips(summary: Sequence[Mapping[str, str]], width: int) -> RenderableType:
    """With shorter curves where they would not fit."""
    room = STRIP
    while room > 8 and tables.width_of(_cut(summary, room)) > width:
        room -= 1
    return tables.fitted(_cut(summary, room), width)


def _cut(summary: Sequence[Mapping[str, str]], room: int) -> list[dict[str, str]]:
    def cut(bars: str) -> str:
        count = min(room, len(bars))
        return "".join(bars[(index * (len(bars) - 1)) // max(1, count - 1)] for index in range(count)).rstrip()

    return [{**row, "curve": cut(row["curve"])} for row in summary]


def strip(values: Sequence[float | None], scale: Scale) -> str:
    """A curve as one bar for each value, on a scale that others share; a gap where one is missing.

    >>> strip([4.0, 2.0, None, 1.0, 1e9], Scale(1.0, 4.0, log=True))
    '█▅ ▁█'
    """
    shown = math.log if scale.log else float
    low, high = sorted((shown(scale.best), shown(scale.worst)))
    step = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        " " if value is None else BARS[int((shown(scale.shown(value)) - low) * step + 0.5)] for value in values
    )


def _by_epoch(
    trials: Sequence[Row], lines: Sequence[Mapping[int, float | None]], width: int
) -> Iterator[RenderableType]:
    every = sorted({epoch for each in lines for epoch in each})
    shown = tables.thinned(every)
    cells = [
        {
            "epoch": str(epoch),
            **{f"trial {trial['number']}": _at(own, epoch) for trial, own in zip(trials, lines, strict=True)},
        }
        for epoch in shown
    ]
    yield tables.fitted(cells, width)
    if len(shown) < len(every):
        yield Text(f"{len(shown)} of {len(every)} epochs; all: --format csv", style="dim")


def _at(own: Mapping[int, float | None], epoch: int) -> str:
    return number(own[epoch], pad=True) if epoch in own else ""


def draw(study: StudyRecord, found: Row, width: int) -> RenderableType:
    """What differs, then what came of it, then the curves."""
    numbers = found["trials"]
    differing = [row for row in found["parameters"] if row["differ"]]
    parts: list[RenderableType] = [Text("parameters that differ", style="bold underline")]
    if differing:
        parts.append(tables.fitted(_parameter_cells(differing, numbers, width), width))
    else:
        parts.append(Text("none"))
    same = [f"{row['name']} {number(row['values'][0])}" for row in found["parameters"] if not row["differ"]]
    if same:
        parts.append(Text(f"the same: {line(', '.join(same), 2_000)}", style="dim"))
    told = [row for row in found["results"] if not tables.is_detail(row["name"])]
    results = [row for row in told if row["differ"] or row["name"] == "value"]
    own = f"metrics.{study.metric}"
    cells = [
        {"": study.metric if row["name"] == "value" else _shown(row["name"]), **_values(row, numbers)}
        for row in [*(each for each in results if each["name"] != own), *found["surroundings"]]
    ]
    parts += [Text(), Text("what came of it", style="bold underline"), tables.fitted(cells, width), Text()]
    return Group(*parts, draw_curves(study, found["curves"], [study.metric], width))


def _parameter_cells(differing: Sequence[Row], numbers: Sequence[int], width: int) -> list[dict[str, str]]:
    """With a mark in the range beside each value, and as much of the range as there is room for."""
    short = tables.short_names([row["name"] for row in differing])
    bare = [{"parameter": plain(name), **_values(row, numbers)} for name, row in zip(short, differing, strict=True)]
    marked = [
        {"parameter": row["parameter"], **_marked(each, numbers)} for row, each in zip(bare, differing, strict=True)
    ]
    for cells, room in ((marked, 40), (marked, 16), (marked, 0), (bare, 40), (bare, 16)):
        tried = [
            {**row, **({"range": line(_range(each), room)} if room else {})}
            for row, each in zip(cells, differing, strict=True)
        ]
        if tables.width_of(tried) <= width:
            return tried
    return bare


def _values(row: Row, numbers: Sequence[int]) -> dict[str, str]:
    pairs = zip(numbers, row["values"], strict=True)
    return {f"trial {n}": number(value, pad=row["name"].startswith(("value", "metrics."))) for n, value in pairs}


def _marked(row: Row, numbers: Sequence[int]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for n, value, position in zip(numbers, row["values"], row["positions"], strict=True):
        cells[f"trial {n}"] = number(value)
        cells[f"place of {n}"] = places.mark({"position": position})
    return cells


def _range(row: Row) -> str:
    low, high = row["range"] or (None, None)
    return places.words({"low": low, "high": high, "position": None, **{k: row[k] for k in ("scale", "choices")}})


def _shown(name: str) -> str:
    return {"epochs_done": "epochs"}.get(name, name.removeprefix("metrics."))
