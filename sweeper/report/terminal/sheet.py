"""Everything of one trial on one sheet, drawn for eyes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.analysis import places
from sweeper.report.terminal import tables
from sweeper.words.numbers import duration, number, place, plain, reason, size, sparkline
from sweeper.words.program import typed

CURVE_COLUMNS = 40
TRACEBACK_LINES = 15


def draw(trial: Mapping[str, Any], width: int) -> RenderableType:
    """The sheet in `width` columns; print it with `crop=False`, so that long commands stay whole."""
    parts: list[RenderableType] = [_head(trial)]
    for title, body in (
        ("failure", _failure(trial)),
        ("the end of its log", _log_end(trial)),
        ("what the curves say", _findings(trial)),
        ("parameters", _parameters(trial, width)),
        ("epochs", _curve(trial, width)),
        ("monitors", _monitors(trial, width)),
        ("checkpoints", _kept(trial)),
        ("files", _files(trial)),
        ("train it again", [_whole(trial["command"])] if trial["command"] else []),
    ):
        if body:
            parts += [Text(), Text(title, style="bold underline"), *body]
    return Group(*parts)


def _head(trial: Mapping[str, Any]) -> Text:
    target = f"/{trial['target_epochs']}" if trial["target_epochs"] else ""
    best = ", the best of the study" if trial["is_best"] else ""
    state = str(trial["state"])
    facts = [
        f"stage {plain(trial['stage_name'])}",
        f"repeats trial {trial['repeats']}" if trial["repeats"] is not None else "",
        f"on {trial['device']} of {trial['host']}" if trial["host"] else "",
        f"attempt {trial['attempt']}" if trial["attempt"] > 1 else "",
        f"seed {trial['seed']}",
    ]
    return Text.assemble(
        (f"trial {trial['number']} of {trial['study']}  ", "bold"),
        (state, tables.STYLES.get(state, "")),
        f"\n{trial['metric']} {number(trial['value'], pad=True)}{best}  ",
        f"epoch {trial['epochs_done']}{target}  {duration(trial['seconds'])}",
        ("\n" + "  ".join(fact for fact in facts if fact), "dim"),
        (f"\nhidden: {plain(trial['hidden'])}" if trial["hidden"] is not None else "", "yellow"),
    )


def _files(trial: Mapping[str, Any]) -> list[Text]:
    log = [_whole(f"log: {place(trial['log'])}")] if trial["log"] else []
    return [_whole(place(trial["folder"])), *log]


def _whole(text: str) -> Text:
    """A line that is copied from the terminal: only the terminal itself may break it."""
    return Text(text, no_wrap=True, overflow="ignore")


def _parameters(trial: Mapping[str, Any], width: int) -> list[Text]:
    """Each with its place in the range that is searched now, the line of it as the terminal has room."""
    if trial["params"] is None:
        return [Text("none yet: its worker has not proposed them", style="dim")]
    rows = trial["places"]
    room = max((len(row["parameter"]) for row in rows), default=0)
    wide = max((len(number(row["value"])) for row in rows), default=0)
    lines = [
        Text.assemble(
            f"{plain(row['parameter']):<{room}}  {number(row['value']):<{wide}}  ",
            (f"{places.mark(row):<{places.LENGTH + 3}}  " if any(each["scale"] != "choices" for each in rows) else ""),
            (places.words(row), "dim"),
        )
        for row in rows
    ]
    for text in lines:
        text.truncate(width, overflow="ellipsis")
        text.rstrip()
    return lines


def _curve(trial: Mapping[str, Any], width: int) -> list[RenderableType]:
    """Each metric as a line of bars, and the epochs' numbers: some of them where they are many."""
    epochs = trial["epochs"]
    if not epochs:
        return []
    bare = _metrics(trial, details=False)
    names = list(bare)
    shown = tables.thinned(epochs)
    cells = [
        {
            "epoch": str(row["epoch"]),
            **{bare[name]: number(row[name], pad=True) for name in names},
            "seconds": number(row["seconds"], pad=True),
        }
        for row in shown
    ]
    note = (
        [] if len(shown) == len(epochs) else [Text(f"{len(shown)} of {len(epochs)} epochs; all: --format csv", "dim")]
    )
    return [*_strips(epochs, bare, width), Text(), tables.fitted(cells, width), *note]


def _monitors(trial: Mapping[str, Any], width: int) -> list[Text]:
    """What watches the training: curves alone."""
    return _strips(trial["epochs"], _metrics(trial, details=True), width)


def _metrics(trial: Mapping[str, Any], *, details: bool) -> dict[str, str]:
    """The columns of its epochs, and the metrics that are in them; the study's own is no detail."""
    bare = {name: name.removeprefix("metrics.") for name in (trial["epochs"] or [{}])[0] if name.startswith("metrics.")}
    return {
        name: short for name, short in bare.items() if (tables.is_detail(short) and short != trial["metric"]) == details
    }


def _strips(epochs: list[dict[str, Any]], names: Mapping[str, str], width: int) -> list[Text]:
    """`val_loss  █▅▂▁  2.31 → 0.102`: with as much of each curve as there is room for."""
    spans = {name: _span(epochs, name) for name in names}
    room = max(map(len, names.values()), default=0)
    columns = max(8, min(CURVE_COLUMNS, width - room - max(map(len, spans.values()), default=0) - 4))
    lines = {name: sparkline([row[name] for row in epochs], columns) for name in names}
    return [
        Text(f"{plain(names[name]):<{room}}  {strip}  {spans[name]}", no_wrap=True, overflow="ellipsis")
        for name, strip in lines.items()
    ]


def _span(epochs: list[dict[str, Any]], name: str) -> str:
    return f"{number(epochs[0][name], pad=True)} → {number(epochs[-1][name], pad=True)}"


def _kept(trial: Mapping[str, Any]) -> list[Text]:
    return [
        Text.assemble(
            f"{place(row['path'])}  {size(row['size_bytes'])}",
            ("  best" if row["is_best"] else "", "bold green"),
            ("" if row["exists"] else "  missing on the disk", "red"),
            no_wrap=True,
            overflow="ignore",
        )
        for row in trial["checkpoints"]
    ]


def _findings(trial: Mapping[str, Any]) -> list[Text]:
    return [Text(plain(f"{found['sentence']} Try: {typed(found['cure'])}.")) for found in trial["findings"]]


def _log_end(trial: Mapping[str, Any]) -> list[Text]:
    return [Text("\n".join(map(plain, trial["log_end"].splitlines())))] if trial["log_end"] else []


def _failure(trial: Mapping[str, Any]) -> list[Text]:
    if trial["failure"] is None:
        return []
    lines = plain(trial["traceback"] or "").rstrip().splitlines()
    cut = [f"… {len(lines) - TRACEBACK_LINES} lines above"] if len(lines) > TRACEBACK_LINES else []
    trace = "\n".join([*cut, *lines[-TRACEBACK_LINES:]])
    said = Text(reason(trial["failure"], trial["message"]), style="red")
    return [said, *([Text(trace)] if trace else [])]
