"""How good a search is: the normalised regret of what it recommends on LCBench, through `sweeper.run` itself.

    python -m experiments.benchmarks.search_quality --data lcbench --out results.csv
    python -m experiments.benchmarks.search_quality --data lcbench --out results.csv --search cs231n random --seeds 5
    python -m experiments.benchmarks.search_quality --data lcbench --out results.csv --bad-range --search coarse_to_fine

A trial's epochs are those of the surrogate, so a study of 50 full trainings takes seconds; everything else is as in a
real sweep: the store, the workers, the promotions, the ranges that move. A study is scored along its way, after 10, 20
and 50 full trainings' worth of epochs: by the true loss, at full epochs, of what it would have recommended then from
what it had observed. Studies that stand in `--out` already are not run again. At the end: a table in Markdown, means
over tasks and seeds with a 95 % bootstrap interval, beside the peers in `peers.csv` of the data's folder.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import sweeper
from experiments.benchmarks.lcbench import EPOCHS, TUNING, LCBench, Task
from sweeper.plan import make_plan
from sweeper.sampling import Proposer
from sweeper.space import SearchSpace
from sweeper.store import reads
from sweeper.trial import TrialRecord, TrialState

CUTS = (10, 20, 50)
COLUMNS = (
    "optimiser",
    "task",
    "start_range",
    "noise",
    "workers",
    "seed",
    "planned_budget",
    "budget",
    "normalised_regret",
)
Row = Mapping[str, Any]


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
    found = {
        name: {"interval": [entry["lower"], entry["upper"]], "log": entry["log"], "int": "int" in entry["type"]}
        for name, entry in bench.space.items()
    }
    if bad_range:
        found["learning_rate"]["limits"] = found["learning_rate"]["interval"]
        found["learning_rate"]["interval"] = list(bench.worst_third(task, "learning_rate"))
    return found


# ---- one study -------------------------------------------------------------------------------------------------------


def run(bench: LCBench, number: int, search: str, seed: int, options: argparse.Namespace) -> Iterator[Row]:
    task = Task(bench, number, options.noise, seed)
    with tempfile.TemporaryDirectory() as folder:
        study = sweeper.run(
            Train(task),
            study="quality",
            space=space(bench, number, options.bad_range),
            search=search,
            epochs=EPOCHS,
            budget=options.budget,
            metric="val_loss",
            folder=folder,
            workers=options.workers,
            seed=seed,
        )
        for cut in (cut for cut in CUTS if cut <= options.budget):
            best = recommended(study, search, cut * EPOCHS)
            regret = bench.normalised_regret(number, task.curve(best.number, best.params or {})[1])
            yield {**_key(number, search, seed, options), "budget": cut, "normalised_regret": f"{regret:.5f}"}


def _key(number: int, search: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "optimiser": search,
        "task": f"lc:{number}",
        "start_range": "bad-lr-range" if options.bad_range else "full",
        "noise": options.noise,
        "workers": options.workers,
        "seed": seed,
        "planned_budget": options.budget,
    }


def recommended(study: sweeper.Study, search: str, epochs: int) -> TrialRecord:
    """What the study would have recommended after so many epochs: by its model, else the best that got furthest."""
    records = as_it_stood(study, epochs)
    plan = make_plan(search, epochs=EPOCHS)
    sampler = next(stage.sampler for stage in plan.stages if stage.sampler is not None)
    json, _ = reads.current_space(study._store, study.record)
    proposer = Proposer(SearchSpace.from_json(json), study.direction, sampler, 0, rungs=plan.rungs)
    if proposer.judges:
        proposer.update(records.values())
        return records[proposer.recommend(1)[0]]
    return min(records.values(), key=lambda record: (-record.epochs_done, record.value))


def as_it_stood(study: sweeper.Study, epochs: int) -> dict[int, TrialRecord]:
    """The trials by number after the first so many epochs that were reported."""
    seen = study.epochs().sort_values("reported", kind="stable").head(epochs)
    curves: defaultdict[int, dict[int, float | None]] = defaultdict(dict)
    for number, epoch, value in zip(seen.number, seen.epoch, seen.value, strict=True):
        curves[int(number)][int(epoch) + 1] = float(value)
    found = {}
    for trial in reads.all_trials(study._store, study.record.id):
        if curve := curves.get(trial.number):
            done = max(curve)
            state = TrialState.COMPLETE if done == EPOCHS else TrialState.PAUSED
            found[trial.number] = replace(trial, state=state, curve=curve, epochs_done=done, value=curve[done])
    return found


# ---- all of them -----------------------------------------------------------------------------------------------------


def kept(file: Path) -> list[Row]:
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write(file: Path, rows: Sequence[Row]) -> None:
    new = not file.exists()
    with file.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def identity(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in COLUMNS[:7])


def table(rows: Sequence[Row], options: argparse.Namespace) -> str:
    """Means at each cut, the best at the largest one first; only methods with all the tasks."""
    wanted = {f"lc:{task}" for task in options.tasks}
    start = "bad-lr-range" if options.bad_range else "full"
    cells: defaultdict[str, defaultdict[float, list[tuple[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["task"] in wanted and row["start_range"] == start and float(row["noise"]) == options.noise:
            cells[_name(row)][float(row["budget"])].append((row["task"], float(row["normalised_regret"])))
    lines = [f"| search | {' | '.join(f'@{cut}' for cut in CUTS)} | studies |", "|---|" + "---|" * (len(CUTS) + 1)]
    told = []
    for name, by_cut in cells.items():
        whole = {cut: found for cut, found in by_cut.items() if {task for task, _ in found} == wanted}
        if max(CUTS) in whole or 20 in whole:
            last = whole.get(max(CUTS), whole.get(20, []))
            means = [_interval([regret for _, regret in whole[cut]]) if cut in whole else "–" for cut in CUTS]
            merit = float(np.mean([regret for _, regret in last])) + (max(CUTS) not in whole)
            told.append((merit, f"| {name} | {' | '.join(means)} | {len(last)} |"))
    return "\n".join([*lines, *(line for _, line in sorted(told))])


def _name(row: Row) -> str:
    workers = row.get("workers")
    return (
        f"**{row['optimiser']}**" + (f", {workers} workers" if workers != "1" else "") if workers else row["optimiser"]
    )


def _interval(values: Sequence[float]) -> str:
    rng = np.random.default_rng(0)
    means = np.mean(rng.choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{np.mean(values):.3f} ({low:.3f}–{high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the surrogate, see lcbench.py")
    parser.add_argument(
        "--out", type=Path, required=True, help="CSV of the results; what stands there is not run again"
    )
    parser.add_argument("--search", nargs="*", default=["coarse_to_fine"])
    parser.add_argument("--tasks", type=int, nargs="+", default=list(TUNING))
    parser.add_argument("--budget", type=float, default=max(CUTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--bad-range", action="store_true")
    options = parser.parse_args()
    bench = LCBench(options.data)
    done = {identity(row) for row in kept(options.out)}
    for seed in options.seeds:
        for search in options.search:
            for task in options.tasks:
                if identity(_key(task, search, seed, options)) not in done:
                    rows = list(run(bench, task, search, seed, options))
                    write(options.out, rows)
                    print(search, task, seed, *(row["normalised_regret"] for row in rows), flush=True)
    peers = kept(options.data / "peers.csv")
    print(table([*kept(options.out), *peers], options))


if __name__ == "__main__":
    main()
