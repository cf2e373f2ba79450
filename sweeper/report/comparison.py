"""`sweeper curves` and `sweeper compare`: several trials side by side; first collected as plain data, then drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper import environment
from sweeper.errors import ConfigError
from sweeper.judgement import space_now
from sweeper.report import places, tables
from sweeper.report.digest import Scale, scale_of
from sweeper.report.numbers import BARS, MISSING, line, number, plain
from sweeper.store import reads
from sweeper.store.columns import epoch_columns, rows
from sweeper.store.connection import Store
from sweeper.trial import StudyRecord

STRIP = 40
FACTS = "state failure stage epochs_done seconds seed repeats host device".split()
Row = Mapping[str, Any]


# ---- collected -------------------------------------------------------------------------------------------------------


def curves(store: Store, study: StudyRecord, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """For each trial its `number`, `state`, `value` and `epochs`: their rows, with every metric."""
    found = []
    for each in dict.fromkeys(numbers):
        trial = reads.trial(store, study.id, each)
        own = {name: trial[name] for name in ("number", "state", "failure", "value")}
        found.append({**own, "epochs": rows(epoch_columns(store, study, each))})
    return found


def epoch_rows(trials: Sequence[Row]) -> tuple[list[str], list[dict[str, Any]]]:
    """The epochs of all trials in one table: the columns of any of them, and the rows."""
    every = [row for trial in trials for row in trial["epochs"]]
    columns = list(dict.fromkeys(name for row in every for name in row)) or ["number", "epoch", "value"]
    return columns, [{name: row.get(name) for name in columns} for row in every]


def metrics(study: StudyRecord, trials: Sequence[Row], asked: Sequence[str]) -> list[str]:
    """The metrics that were asked for, else the study's own; raises ConfigError with those that were reported."""
    columns, _ = epoch_rows(trials)
    known = [name.removeprefix("metrics.") for name in columns if name.startswith("metrics.")]
    for name in asked:
        if name.removeprefix("metrics.") not in known:
            raise ConfigError(
                f"A metric is one that these trials reported, but got {name!r}: {', '.join(known) or 'none did'}."
            )
    return [name.removeprefix("metrics.") for name in asked] or [study.metric]


def compare(store: Store, study: StudyRecord, numbers: Sequence[int]) -> dict[str, Any]:
    """`parameters`, `results` and `surroundings`: each with one value a trial, and whether they differ.

    Raises ConfigError unless there are two trials at least.
    """
    numbers = list(dict.fromkeys(numbers))
    if len(numbers) < 2:
        raise ConfigError(f"Two trials or more are compared, but got {' '.join(map(str, numbers))}: name another one.")
    trials = [reads.trial(store, study.id, number) for number in numbers]
    space = space_now(store, study)
    placed = [{row["parameter"]: row for row in places.collect(space, trial["params"] or {})} for trial in trials]
    reported = dict.fromkeys(name for trial in trials for name in trial["metrics"] or {})
    results = {name: [trial[name] for trial in trials] for name in ("value", *FACTS)}
    results["stage"] = [study.plan["stages"][trial["stage"]]["name"] for trial in trials]
    measured = {f"metrics.{name}": [(trial["metrics"] or {}).get(name) for trial in trials] for name in reported}
    return {
        "study": study.name,
        "metric": study.metric,
        "trials": numbers,
        "parameters": [
            _parameter(parameter.name, [each.get(parameter.name) for each in placed])
            for parameter in space
            if any(parameter.name in each for each in placed)
        ],
        "results": [_side_by_side(name, values) for name, values in {**results, **measured}.items()],
        "surroundings": _surroundings(trials),
        "curves": curves(store, study, numbers),
    }


def _parameter(name: str, here: Sequence[Row | None]) -> dict[str, Any]:
    """`positions` lie between the edges 0 and 1 of `range`, on its own scale; None: the trial does not have it."""
    first = next(row for row in here if row is not None)
    bounds = None if first["choices"] is not None else [first["low"], first["high"]]
    told = _side_by_side(name, [None if row is None else row["value"] for row in here])
    positions = [None if row is None else row["position"] for row in here]
    return {**told, "positions": positions, "scale": first["scale"], "range": bounds, "choices": first["choices"]}


def _side_by_side(name: str, values: Sequence[Any]) -> dict[str, Any]:
    first, *others = values
    differ = any(type(other) is not type(first) or other != first for other in others)
    return {"name": name, "values": list(values), "differ": differ}


def _surroundings(trials: Sequence[Row]) -> list[dict[str, Any]]:
    """What is known of all workers' versions, threads and processors, and is not the same."""
    known = [trial["environment"] or {} for trial in trials]
    differing = {each["name"] for other in known[1:] for each in environment.differences(known[0], other)}
    return [_side_by_side(name, [each.get(name) for each in known]) for name in known[0] if name in differing]


def flat(found: Row) -> tuple[list[str], list[dict[str, Any]]]:
    """The same as a table: a row for each thing, a column for each trial."""
    columns = ["kind", "name", "differ", *(f"trial.{n}" for n in found["trials"])]
    columns += [f"position.{n}" for n in found["trials"]]
    told = []
    for kind in ("parameters", "results", "surroundings"):
        for row in found[kind]:
            values = dict(zip((f"trial.{n}" for n in found["trials"]), row["values"], strict=True))
            where = row.get("positions") or [None] * len(found["trials"])
            positions = dict(zip((f"position.{n}" for n in found["trials"]), where, strict=True))
            told.append({"kind": kind, "name": row["name"], "differ": row["differ"], **values, **positions})
    return columns, told


# ---- drawn -----------------------------------------------------------------------------------------------------------


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
