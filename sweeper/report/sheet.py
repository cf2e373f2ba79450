"""Everything of one trial on one sheet: first collected as plain data, then drawn for eyes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.errors import StoreError
from sweeper.judgement import space_now
from sweeper.report import diagnosed, places, tables
from sweeper.report.command import train_command
from sweeper.report.numbers import duration, number, place, plain, reason, size, sparkline
from sweeper.store import reads
from sweeper.store.columns import epoch_columns, iso, rows
from sweeper.store.connection import Store
from sweeper.trial import StudyRecord

CURVE_COLUMNS = 40
TRACEBACK_LINES = 15
LOG_LINES, LOG_BYTES = 12, 16_384


def collect(store: Store, study: StudyRecord, number: int) -> dict[str, Any]:
    """One trial as JSON-plain data with every digit; raises StoreError when there is no such number."""
    if not study.next_number:
        raise StoreError(f"The study {study.name} has no trial yet, so there is no trial {number} to show.")
    trial = reads.trial(store, study.id, number)
    folder = Path(study.folder) / f"{number:04d}"
    best = next(iter(reads.best(store, study, 1)), None)
    log = log_of(folder, trial["log"])
    return {
        "study": study.name,
        **{name: trial[name] for name in ("number", "state", "value", "params", "metrics", "stage", "seed")},
        "metric": study.metric,
        "stage_name": study.plan["stages"][trial["stage"]]["name"],
        "places": places.collect(space_now(store, study), trial["params"] or {}),
        "is_best": best is not None and best.number == number,
        **{name: trial[name] for name in ("epochs_done", "target_epochs", "seconds", "attempt", "host", "device")},
        **{name: iso(trial[name]) for name in ("created", "started", "finished")},
        "hidden": trial["hidden"],
        "repeats": trial["repeats"],
        "failure": trial["failure"],
        "message": trial["message"],
        "traceback": trial["traceback"],
        "folder": str(folder),
        "log": log,
        "log_end": end_of(log) if trial["failure"] else None,
        "epochs": rows(epoch_columns(store, study, number)),
        "findings": [found.as_json() for found in diagnosed.trial(store, study, number)[1]],
        "checkpoints": _checkpoints(store, study, number, folder),
        "command": train_command(study, trial["params"], trial["seed"], trial["threads"]) if trial["params"] else None,
    }


def log_of(folder: Path, worker_log: str | None) -> str | None:
    """The trial's own log, else its worker's: a file, or a folder that holds `worker.log`."""
    worker = [Path(worker_log) / "worker.log", Path(worker_log)] if worker_log else []
    return next((str(path) for path in (folder / "train.log", *worker) if path.exists()), worker_log)


def end_of(log: str | None) -> str | None:
    """The last lines of a log; None where there is none, or it cannot be read."""
    try:
        with open(log or "", "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            lines = file.read().decode("utf-8", errors="replace").rstrip().splitlines()
    except OSError:
        return None
    return "\n".join(lines[-LOG_LINES:])


def _checkpoints(store: Store, study: StudyRecord, number: int, folder: Path) -> list[dict[str, Any]]:
    found = reads.checkpoint_rows(store, study.id, number)
    valued = [row for row in found if row["value"] is not None]
    best = min(valued, key=lambda row: study.direction.sign * row["value"], default=None)
    return [
        {
            "epoch": row["epoch"],
            "value": row["value"],
            "size_bytes": row["size_bytes"],
            "is_best": row is best,
            "exists": (folder / row["path"]).exists(),
            "path": str(folder / row["path"]),
        }
        for row in found
    ]


# ---- drawn -----------------------------------------------------------------------------------------------------------


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
    return [Text(plain(f"{found['sentence']} Try: {found['cure']}.")) for found in trial["findings"]]


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
