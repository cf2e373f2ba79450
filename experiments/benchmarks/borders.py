"""How often border verdicts are wrong on random data, how soon they are right: figures of sweeper/search/borders.py.

python -m experiments.benchmarks.borders                       false alarms and power, random and TPE: half an hour
python -m experiments.benchmarks.borders --studies 10          a look, in a few minutes
python -m experiments.benchmarks.borders --data DIR            LCBench too, with the learning rate's range set wrong

DIR holds LCBench's surrogate (lcbench.py), which needs onnxruntime.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.lcbench import COLUMNS, EPOCHS, TUNING, LCBench
from sweeper.search import borders
from sweeper.search.proposer import Proposer
from sweeper.search.space import Categorical, Float, Int, Parameter, SearchSpace
from sweeper.search.verdict import BorderKind
from sweeper.words.records import Direction, TrialRecord, TrialState

SIZES = (20, 50, 100, 200)
EVERY = 5
QUIET = (BorderKind.INSIDE, BorderKind.FEW)
OPTIMA = (1.3, 1.1, 1.0, 0.93, 0.87, 0.8, 0.5)
DIMENSIONS = (2, 4, 7)
MIXED = SearchSpace(
    (
        Float("rate", 1e-5, 1e-1, log=True),
        Float("dropout", 0, 0.7),
        Int("depth", 1, 5),
        Int("width", 16, 256, log=True),
        Int("layers", 1, 2),
        Categorical("batch", (16, 32, 64, 128), ordered=True),
    )
)
Loss = Callable[[dict[str, Any]], float]


def history(space: SearchSpace, loss: Loss, trials: int, sampler: str, seed: int) -> list[TrialRecord]:
    """A study by one worker, without a store: the proposals are those of a sweep."""
    proposer = Proposer(space, Direction.MINIMIZE, sampler, seed)
    records: list[TrialRecord] = []
    for number in range(trials):
        params = proposer.suggest(number)
        value = loss(params)
        records.append(TrialRecord(0, number, TrialState.COMPLETE, 0, params=params, value=value, epochs_done=1))
        proposer.update(records[-1:])
    return records


@dataclass(frozen=True)
class Answers:
    """One parameter's verdicts in one study: after so many trials, `at`, and whether any so far was no quiet one."""

    parameter: str
    at: dict[int, BorderKind]
    ever: dict[int, bool]


def answers(space: SearchSpace, trials: Sequence[TrialRecord], luck: float) -> Iterator[Answers]:
    asked = {
        size: borders.verdicts(space, trials[:size], Direction.MINIMIZE, luck=luck)
        for size in range(EVERY, len(trials) + 1, EVERY)
    }
    for index, first in enumerate(asked[EVERY]):
        at = {size: found[index].kind for size, found in asked.items()}
        ever = {size: any(at[s] not in QUIET for s in at if s <= size) for size in at}
        yield Answers(first.parameter, at, ever)


# ---- false alarms ----------------------------------------------------------------------------------------------------


def noise(seed: int) -> Loss:
    """Values that depend on nothing."""
    generator = np.random.default_rng([1, seed])
    return lambda params: float(generator.standard_normal())


def irrelevant(seed: int) -> Loss:
    """Values that depend on two more parameters alone, x0 and x1."""
    centre = np.random.default_rng([2, seed]).uniform(0.15, 0.85, 2)
    return lambda params: float((params["x0"] - centre[0]) ** 2 + (params["x1"] - centre[1]) ** 2)


def false_alarms(sampler: str, studies: int, trials: int, luck: float) -> list[dict[str, Any]]:
    more = SearchSpace((*MIXED, Float("x0", 0, 1), Float("x1", 0, 1)))
    rows = []
    for name, space, make in (("noise", MIXED, noise), ("irrelevant", more, irrelevant)):
        found = [
            each
            for seed in range(studies)
            for each in answers(space, history(space, make(seed), trials, sampler, seed), luck)
            if each.parameter in MIXED
        ]
        sizes = [size for size in SIZES if size <= trials]
        rows.append(
            {
                "values": name,
                "sampler": sampler,
                "parameters": len(found),
                **{f"at {size}": _share(each.at[size] not in QUIET for each in found) for size in sizes},
                f"ever by {trials}": _share(each.ever[trials] for each in found),
                **_worst(found, trials),
            }
        )
    return rows


def _worst(found: Sequence[Answers], trials: int) -> dict[str, str]:
    """The parameter with the most false alarms."""
    by_name = {name: [each.ever[trials] for each in found if each.parameter == name] for name in MIXED.names}
    name = max(by_name, key=lambda name: sum(by_name[name]))
    return {"worst": f"{name} {_share(by_name[name]).strip()}"}


# ---- power -----------------------------------------------------------------------------------------------------------


def bowl(seed: int, dimensions: int, optimum: float) -> Loss:
    """A quadratic bowl; the optimum of x0 is given in units of its range, the others lie inside and weigh less."""
    generator = np.random.default_rng([3, seed])
    centre = np.array([optimum, *generator.uniform(0.15, 0.85, dimensions - 1)])
    weight = np.array([1.0, *generator.uniform(0.2, 1, dimensions - 1)])
    return lambda params: float((weight * (np.array(list(params.values())) - centre) ** 2).sum())


def power(sampler: str, studies: int, luck: float, trials: int = 100) -> list[dict[str, Any]]:
    """In how many studies x0 was said to crowd its edge, until then; 0.8 and 0.5 ought to be quiet."""
    rows = []
    for optimum in OPTIMA:
        found = []
        for dimensions in DIMENSIONS:
            space = SearchSpace(tuple(Float(f"x{index}", 0, 1) for index in range(dimensions)))
            for seed in range(studies):
                records = history(space, bowl(seed, dimensions, optimum), trials, sampler, seed)
                found.append(next(answers(space, records, luck)))
        reached = {f"by {size}": _share(each.ever[size] for each in found) for size in SIZES if size <= trials}
        at_end = {f"at {trials}": _share(each.at[trials] not in QUIET for each in found)}
        rows.append({"optimum at": optimum, "sampler": sampler, "studies": len(found), **reached, **at_end})
    return rows


# ---- LCBench ---------------------------------------------------------------------------------------------------------


def lcbench(folder: Path, sampler: str, studies: int, wrong: bool, luck: float, trials: int = 50) -> dict[str, Any]:
    """How soon an edge of the learning rate is named, over the tasks, with its range whole or set wrong.

    Set wrong, it is the third that lies farthest from the optimum.
    """
    bench, found = LCBench(folder), []
    for task in TUNING:
        space = _space(bench, bench.worst_third(task, "learning_rate") if wrong else None)

        def loss(params: dict[str, Any], task: int = task) -> float:
            return float(bench.at(task, np.array([[params[name] for name in COLUMNS]]), np.array([EPOCHS]))[0])

        for seed in range(studies):
            records = history(space, loss, trials, sampler, seed)
            found.append(next(each for each in answers(space, records, luck) if each.parameter == "learning_rate"))
    reached = {f"by {size}": _share(each.ever[size] for each in found) for size in (10, 15, 20, 30, 50)}
    at_end = {f"at {trials}": _share(each.at[trials] not in QUIET for each in found)}
    which = "worst third" if wrong else "whole"
    return {"learning rate's range": which, "sampler": sampler, "studies": len(found), **reached, **at_end}


def _space(bench: LCBench, rates: tuple[float, float] | None) -> SearchSpace:
    def parameter(name: str, entry: dict[str, Any]) -> Parameter:
        low, high = rates if rates and name == "learning_rate" else (entry["lower"], entry["upper"])
        if entry["type"] == "uniform_int":
            return Int(name, int(low), int(high), log=bool(entry["log"]))
        return Float(name, low, high, log=bool(entry["log"]))

    return SearchSpace(tuple(parameter(name, entry) for name, entry in bench.space.items()))


# ---- printed ---------------------------------------------------------------------------------------------------------


def _share(flags: Any) -> str:
    flags = list(flags)
    return f"{100 * sum(flags) / len(flags):5.1f} %" if flags else "-"


def show(rows: Sequence[dict[str, Any]]) -> None:
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]).strip() for name in names) + " |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--studies", type=int, default=100, help="studies for each line; a third of them for power")
    parser.add_argument("--trials", type=int, default=200, help="the longest study on random data")
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe"])
    parser.add_argument("--luck", type=float, default=borders.LUCK, help="0.3: the evidence on which ranges move")
    parser.add_argument("--data", type=Path, help="the folder of LCBench's surrogate")
    given = parser.parse_args()
    some = math.ceil(given.studies / 3)
    for sampler in given.samplers:
        show(false_alarms(sampler, given.studies, given.trials, given.luck))
        show(power(sampler, some, given.luck))
        if given.data:
            show([lcbench(given.data, sampler, math.ceil(some / 10), wrong, given.luck) for wrong in (True, False)])


if __name__ == "__main__":
    main()
