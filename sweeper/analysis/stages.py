"""How a study went from coarse to fine: its stages, its ranges, and every move of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.search.plan import WORTH, Confirm, Plan, Stage
from sweeper.search.space import Categorical, Parameter, SearchSpace
from sweeper.store import reads, totals
from sweeper.store.connection import Store
from sweeper.words.numbers import iso, number, plain
from sweeper.words.records import StudyRecord, TrialState

STAGE = ("stage", "name", "epochs", "comes", "trials", *(state.lower() for state in TrialState))


def collect(store: Store, study: StudyRecord) -> dict[str, Any]:
    """`stages` with the trials that are there now, by state; `ranges` as they began and are; `moves` in order."""
    plan = Plan.from_json(study.plan)
    counts = totals.stage_counts(store, study.id)
    moves = reads.move_rows(store, study.id)
    spaces = [SearchSpace.from_json(row["space"]) for row in moves]
    now = spaces[-1] if spaces else SearchSpace.from_json(study.space)
    begun = began(store, study)
    return {
        "stages": [
            *(_stage(index, stage, counts) for index, stage in enumerate(plan.stages)),
            *([_confirm(plan, plan.confirm, counts)] if plan.confirm else []),
        ],
        "ranges": [_range(parameter, now[parameter.name]) for parameter in begun],
        "moves": [
            {
                "move": row["move"],
                "time": iso(row["time"]),
                "trials": row["trials"],
                "stage": plan.stages[row["stage"]].name,
                "kind": row["kind"],
                "user": row["user"],
                "reason": row["reason"],
                "changes": [
                    {"parameter": old.name, "before": [old.low, old.high], "after": [new.low, new.high]}
                    for old, new in zip(before, after, strict=True)
                    if not isinstance(old, Categorical) and not isinstance(new, Categorical)
                    if (old.low, old.high) != (new.low, new.high)
                ],
            }
            for row, before, after in zip(moves, [begun, *spaces], spaces, strict=False)
        ],
    }


def began(store: Store, study: StudyRecord) -> SearchSpace:
    """The space as the search began in it."""
    first = reads.stage_rows(store, study.id)[:1]
    return SearchSpace.from_json(first[0]["ranges"] if first else study.space)


Counts = Mapping[tuple[int | None, TrialState], int]


def _stage(index: int, stage: Stage, counts: Counts) -> dict[str, Any]:
    row = {"stage": index, "name": stage.name, "epochs": stage.epochs, "comes": _comes(stage)}
    return {**row, **_counted(counts, index)}


def _confirm(plan: Plan, confirm: Confirm, counts: Counts) -> dict[str, Any]:
    comes = f"the best {confirm.top} again, with {confirm.seeds} other seeds each"
    row = {"stage": len(plan.stages), "name": "confirm", "epochs": plan.full_epochs, "comes": comes}
    return {**row, **_counted(counts, None)}


def _counted(counts: Counts, stage: int | None) -> dict[str, int]:
    here = {state.lower(): counts.get((stage, state), 0) for state in TrialState}
    return {"trials": sum(here.values()), **here}


def _comes(stage: Stage) -> str:
    """Who trains at a stage, in words."""
    ways = []
    if stage.sampler is not None:
        named = stage.sampler if isinstance(stage.sampler, str) else stage.sampler.get("_target_", "custom")
        number_of_them = "" if stage.trials is None else f"{stage.trials} "
        ways.append(f"{number_of_them}new by {str(named).rpartition('.')[2]}")
    if stage.promote == WORTH:
        ways.append("those worth going on")
    elif stage.promote is not None:
        ways.append(f"the best {number(stage.promote)} of the stage before")
    return ", ".join(ways)


def _range(begun: Parameter, now: Parameter) -> dict[str, Any]:
    if isinstance(begun, Categorical) or isinstance(now, Categorical):
        choices = list(begun.choices) if isinstance(begun, Categorical) else []
        return {"parameter": begun.name, "scale": "choices", "began": choices, "now": choices, "limits": None}
    return {
        "parameter": begun.name,
        "scale": "log" if begun.log else "linear",
        "began": [begun.low, begun.high],
        "now": [now.low, now.high],
        "limits": list(now.limits) if now.limits else None,
    }


def words(move: Mapping[str, Any]) -> str:
    """A move on one line: `optimizer.lr [1e-6, 0.0001] → [1e-6, 0.01], widened after 25 trials`"""
    changes = ", ".join(map(change, move["changes"])) or "no range changed"
    return f"{changes}, {move['kind']} after {move['trials']} trials"


def interval(bounds: Sequence[float]) -> str:
    return f"[{number(bounds[0])}, {number(bounds[1])}]"


def change(each: Mapping[str, Any]) -> str:
    return f"{plain(each['parameter'])} {interval(each['before'])} → {interval(each['after'])}"
