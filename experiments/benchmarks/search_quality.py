"""How good a search is: the normalised regret of what it recommends on LCBench, through `sweeper.run` itself.

    python experiments/benchmarks/search_quality.py --data lcbench --search coarse_to_fine --budgets 10 20 50 --seeds 5

A trial's epochs are those of the surrogate, so a study of 50 full trainings takes seconds; everything else is as in a
real sweep: the store, the workers, the promotions, the ranges that move. Prints a line of CSV per study and the means.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import sweeper
from experiments.benchmarks.lcbench import EPOCHS, TUNING, LCBench, Task

COLUMNS = "search,task,range,noise,workers,seed,budget,normalised_regret"


class Train:
    """A training function that only reports what the surrogate says."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self, trial: sweeper.Trial) -> None:
        losses, _ = self.task.curve(trial.number, trial.params)
        for epoch in trial.epochs(EPOCHS, state={}):
            trial.report(val_loss=float(losses[epoch]))


def space(bench: LCBench, task: int, bad_range: bool) -> dict[str, Any]:
    """`bad_range`: the learning rate begins in the third of its range that is farthest from the best; it may widen."""
    found: dict[str, dict[str, Any]] = {}
    for name, entry in bench.space.items():
        found[name] = {"interval": [entry["lower"], entry["upper"]], "log": entry["log"], "int": "int" in entry["type"]}
    if bad_range:
        found["learning_rate"]["limits"] = found["learning_rate"]["interval"]
        found["learning_rate"]["interval"] = list(bench.worst_third(task, "learning_rate"))
    return found


def regret(bench: LCBench, number: int, options: argparse.Namespace, budget: float, seed: int) -> float:
    task = Task(bench, number, options.noise, seed)
    with tempfile.TemporaryDirectory() as folder:
        study = sweeper.run(
            Train(task),
            study="quality",
            space=space(bench, number, options.bad_range),
            search=options.search,
            epochs=EPOCHS,
            budget=budget,
            metric="val_loss",
            folder=folder,
            workers=options.workers,
            seed=seed,
        )
        best = study.best(1).iloc[0]
    params = {name: best[f"params.{name}"] for name in bench.space}
    return bench.normalised_regret(number, task.curve(int(best["number"]), params)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the surrogate, see lcbench.py")
    parser.add_argument("--search", default="coarse_to_fine")
    parser.add_argument("--tasks", type=int, nargs="+", default=list(TUNING))
    parser.add_argument("--budgets", type=float, nargs="+", default=[50])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--bad-range", action="store_true")
    options = parser.parse_args()
    bench = LCBench(options.data)
    regrets: defaultdict[float, list[float]] = defaultdict(list)
    print(COLUMNS)
    for task in options.tasks:
        for seed in range(options.seeds):
            for budget in options.budgets:
                found = regret(bench, task, options, budget, seed)
                regrets[budget].append(found)
                start = "bad" if options.bad_range else "full"
                row = (options.search, task, start, options.noise, options.workers, seed, budget, f"{found:.4f}")
                print(*row, sep=",", flush=True)
    for budget, each in regrets.items():
        print(f"# mean at {budget:g} full trainings: {math.fsum(each) / len(each):.3f} of {len(each)} studies")


if __name__ == "__main__":
    main()
