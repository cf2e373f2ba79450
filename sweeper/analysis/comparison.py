"""Several trials side by side: their parameters, results, surroundings and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.analysis import places
from sweeper.analysis.borders import space_now
from sweeper.analysis.columns import epoch_columns, rows
from sweeper.machine import environment
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.errors import ConfigError
from sweeper.words.records import StudyRecord

FACTS = "state failure stage epochs_done seconds seed repeats host device".split()
Row = Mapping[str, Any]


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
