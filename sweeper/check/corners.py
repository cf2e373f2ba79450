"""The ends of the search space: each runs for a moment, so that what does not fit is known at minute one.

The smallest corner has every number at its low end, the largest at its high end; the choices that are no numbers take
turns, so that each is tried once, in corners and in the middle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.machine.devices import Slot
from sweeper.search.space import Categorical, Parameter, SearchSpace, is_a
from sweeper.trial.overrides import trial_overrides
from sweeper.words.numbers import short, size

NAME = "corners"
MOST = 6
UNITS = {"smallest": 0.0, "largest": 1.0, "middle": 0.5}


@dataclass(frozen=True)
class Corner:
    """`place`: smallest, largest or middle; `words`: the overrides that make it."""

    place: str
    params: Mapping[str, Any]
    words: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Corner:
        return cls(value["place"], value["params"], tuple(value["words"]))

    @property
    def text(self) -> str:
        return " ".join(
            f"{name}={short(value)}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.params.items()
        )


def corners(space: SearchSpace, words: Callable[[Mapping[str, Any]], Sequence[str]]) -> list[Corner]:
    """The smallest, the largest, and as many in the middle as the choices need; the middle is among them."""
    turns = max(
        [len(each.choices) for each in space if isinstance(each, Categorical) and not _numeric(each)], default=0
    )
    places = ["smallest", "largest", *["middle"] * max(1, turns - 2)][:MOST]
    made = [_params(space, place, turn) for turn, place in enumerate(places)]
    return [Corner(place, params, tuple(words(params))) for place, params in zip(places, made, strict=True)]


def _params(space: SearchSpace, place: str, turn: int) -> dict[str, Any]:
    """The very ends, where a position on a log scale would be off by its rounding."""
    params = space.from_unit({each.name: _unit(each, place, turn) for each in space})
    numeric = {each.name: each for each in space if not isinstance(each, Categorical) and each.name in params}
    ends = {"smallest": "low", "largest": "high"}
    exact = {name: getattr(each, ends[place]) for name, each in numeric.items()} if place in ends else {}
    return {**params, **exact}


def words_of(params: Mapping[str, Any], fixed: Sequence[str], space: SearchSpace, added: frozenset[str]) -> list[str]:
    return trial_overrides(fixed, {group.name for group in space.groups}, added, params)


def _unit(parameter: Parameter, place: str, turn: int) -> float:
    if not isinstance(parameter, Categorical):
        return UNITS[place]
    count = len(parameter.choices)
    if not _numeric(parameter):
        return (turn % count + 0.5) / count
    order = sorted(range(count), key=lambda index: parameter.choices[index])
    return (order[round(UNITS[place] * (count - 1))] + 0.5) / count


def _numeric(parameter: Categorical) -> bool:
    return all(is_a(Real, choice) for choice in parameter.choices)


# ---- judged ----------------------------------------------------------------------------------------------------------


def judged(results: Sequence[Mapping[str, Any]], slots: Sequence[Slot]) -> Finding:
    """`results`: what each corner's process has written; `slots`: where the sweep's workers will run."""
    if not results:
        why = "the script's config has no search space (hydra.sweeper.params)"
        return unknown(NAME, f"Cannot tell: {why}.", "Give the script the config of the sweep.")
    numbers = {
        "corners": [
            {"place": each["corner"]["place"], "params": each["corner"]["params"]}
            | {key: each.get(key) for key in ("memory_bytes", "gpu_bytes", "epoch_seconds", "step_seconds", "steps")}
            | {"error": each["error"] and each["error"]["text"]}
            for each in results
        ]
    }
    broken = [each for each in results if each["error"]]
    if broken:
        memory = any(each["error"]["memory"] for each in broken)
        cure = (
            "Lower the high ends of what makes the model and the batch large, or make both smaller together."
            if memory
            else "Mend it, or narrow the range: the sweep would find trials like it one by one."
        )
        lines = [line for each in broken for line in _said(each)]
        return fails(NAME, f"{len(broken)} of {len(results)} corners do not run.", cure, *lines, **numbers)
    if still := [each for each in results if not each["steps"]]:
        told = f"Cannot tell: {len(still)} of {len(results)} corners took no step of a PyTorch optimizer."
        return unknown(NAME, told, None, **numbers)
    crowded = [line for each in results for line in _crowded(each, slots)]
    most = max(each.get("gpu_bytes") or each["memory_bytes"] for each in results)
    told = f"{len(results)} corners run; the largest takes {size(most)}"
    if crowded:
        return fails(NAME, f"{told}.", "Take fewer workers, or lower the high ends.", *crowded, **numbers)
    room = f", and {len(slots)} workers at once have room" if len(slots) > 1 else ""
    return passes(NAME, f"{told}{room}.", **numbers)


def _said(result: Mapping[str, Any]) -> list[str]:
    corner, error = Corner.from_json(result["corner"]), result["error"]
    where = f" ({error['where']})" if error["where"] else ""
    memory = "out of memory: " if error["memory"] else ""
    return [f"the {corner.place}, {corner.text}:", f"  {memory}{error['text']}{where}"]


def _crowded(result: Mapping[str, Any], slots: Sequence[Slot]) -> list[str]:
    if not slots:
        return []
    if (gpu := result.get("gpu_bytes")) and result["gpu_total"]:
        name, together = Counter(slot.name for slot in slots).most_common(1)[0]
        used, total, where = gpu, result["gpu_total"], name
    else:
        used, total, where, together = result["memory_bytes"], result["memory_total"], "this machine", len(slots)
    if total is None or together * used <= total:
        return []
    corner = Corner.from_json(result["corner"])
    return [f"{together} × {size(used)} of the {corner.place} on {where}, which has {size(total)}: {corner.text}"]
