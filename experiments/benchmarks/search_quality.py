"""How good a search is: the normalised regret of what it recommends on known trainings, through `sweeper.run` itself.

    python -m experiments.benchmarks.search_quality --data lcbench --out results.csv
    python -m experiments.benchmarks.search_quality --data lcbench --out results.csv --search cs231n random --noise 1
    python -m experiments.benchmarks.search_quality --data lcbench --out results.csv --bad-range
    python -m experiments.benchmarks.search_quality --data lcbench --out results.csv --search tpe gp tpe+halving
    python -m experiments.benchmarks.search_quality --data lcbench --out results.csv --search tpe random --workers 4
    python -m experiments.benchmarks.search_quality --bench hpolib --out results.csv --search coarse_to_fine tpe gp

A trial's epochs are those of LCBench's surrogate, or of a table, so a study of 50 full trainings takes seconds;
everything else is as in a real sweep: the store, the workers, the promotions, the ranges that move. A study is scored
along its way, after 10, 20 and 50 full trainings' worth of epochs: by the true loss, at full epochs, of what it would
have recommended then from what it had observed. With several workers it is scored by the clock: at the times that they
take on average for so many full trainings, of which each takes as long as the benchmark says (clock.py).

A search is one of sweeper's, one of its samplers by name (`tpe`, `gp`: Optuna's, in full trainings through
`sweeper.run`), or Optuna without sweeper, a sampler with a pruner (pruners.py). Studies that stand in `--out` already
are not run again. At the end: a table in Markdown, beside the peers in `peers.csv` of the data's folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sweeper
from experiments.benchmarks import lcbench, pruners, results, tables
from experiments.benchmarks.clock import Clock, Hand
from experiments.benchmarks.results import CUTS
from experiments.benchmarks.task import Task
from sweeper.search.plan import Plan
from sweeper.search.plans import SEARCHES
from sweeper.search.proposer import Proposer
from sweeper.search.samplers import NAMES
from sweeper.search.space import SearchSpace
from sweeper.store import reads
from sweeper.words.records import TrialRecord, TrialState

if TYPE_CHECKING:
    import pandas as pd

METRIC = "val_loss"
BENCHES = ("lcbench", *tables.FAMILIES)


class Train:
    """A training function that only reports what the task knows, each epoch when the clock says that it is over."""

    def __init__(self, task: Task, hand: Hand | None = None) -> None:
        self.task = task
        self.hand = hand

    def __call__(self, trial: sweeper.Trial) -> None:
        losses, _ = self.task.curve(trial.number, trial.params)
        seconds = self.task.seconds(trial.params) / len(losses)
        for epoch in trial.epochs(len(losses), state={}):
            time = {} if self.hand is None else {"clock": self.hand.after(seconds)}
            trial.report(**{METRIC: float(losses[epoch])}, **time)


# ---- one study -------------------------------------------------------------------------------------------------------


def regrets(task: Task, search: str, seed: int, workers: int, budget: float) -> Iterator[tuple[int, float]]:
    """(full trainings, normalised regret) along the way of one study."""
    cuts = [cut for cut in CUTS if cut <= budget]
    true_losses = pruned if search in pruners.NAMES else swept
    for cut, loss in zip(cuts, true_losses(task, search, seed, workers, cuts, budget), strict=True):
        yield cut, task.normalised_regret(loss)


def swept(task: Task, search: str, seed: int, workers: int, cuts: Sequence[int], budget: float) -> Iterator[float]:
    """The true loss of what `sweeper.run` would have recommended at each cut."""
    with tempfile.TemporaryDirectory() as folder:
        study = run(task, search, seed, workers, budget, folder)
        reports = study.epochs().sort_values("reported", kind="stable")
        for cut in cuts:
            if workers == 1:
                seen = reports.head(cut * (task.epochs or 1))
            else:
                seen = reports[reports["metrics.clock"] <= cut * task.mean_seconds / workers]
            best = best_by(study, seen)
            yield task.curve(best.number, best.params or {})[1]


def pruned(task: Task, search: str, seed: int, workers: int, cuts: Sequence[int], budget: float) -> Iterator[float]:
    """The same of a plain Optuna study: the best of the trials that got furthest."""
    length = task.epochs or 1
    paid = list(itertools.islice(pruners.reports(task, search, seed), cuts[-1] * length))
    for cut in cuts:
        yield min(paid[: cut * length], key=lambda report: (-report.epochs_done, report.loss)).true


def run(task: Task, search: str, seed: int, workers: int, budget: float, folder: str) -> sweeper.Study:
    settings: dict[str, Any] = {"search": search} if search in SEARCHES else {"search": "bayesian", "sampler": search}
    settings |= {"study": "quality", "space": task.space, "epochs": task.epochs, "budget": budget, "metric": METRIC}
    settings |= {"folder": folder, "seed": seed}
    if workers == 1:
        return sweeper.run(Train(task), **settings)
    with contextlib.redirect_stdout(io.StringIO()):  # what several workers do is shown
        return sweeper.run(Train(task, Clock(workers).hand()), workers=workers, **settings)


def best_by(study: sweeper.Study, seen: pd.DataFrame) -> TrialRecord:
    """What the study would have recommended after these epochs: by its model, else the best that got furthest."""
    records = as_it_stood(study, seen)
    plan = Plan.from_json(study.record.plan)
    sampler = next(stage.sampler for stage in plan.stages if stage.sampler is not None)
    json, _ = reads.current_space(study._store, study.record)
    proposer = Proposer(SearchSpace.from_json(json), study.direction, sampler, 0, rungs=plan.rungs)
    if proposer.judges:
        proposer.update(records.values())
        if best := proposer.recommend(1):
            return records[best[0]]
    return min(records.values(), key=lambda record: (-record.epochs_done, record.value))


def as_it_stood(study: sweeper.Study, seen: pd.DataFrame) -> dict[int, TrialRecord]:
    """The trials by number, as far as these epochs tell of them."""
    curves: defaultdict[int, dict[int, float | None]] = defaultdict(dict)
    for number, epoch, value in zip(seen.number, seen.epoch, seen.value, strict=True):
        curves[int(number)][int(epoch) + 1] = float(value)
    found = {}
    for trial in reads.all_trials(study._store, study.record.id):
        if curve := curves.get(trial.number):
            done = max(curve)
            state = TrialState.COMPLETE if done == (study.record.full_epochs or 1) else TrialState.PAUSED
            found[trial.number] = replace(trial, state=state, curve=curve, epochs_done=done, value=curve[done])
    return found


# ---- all of them -----------------------------------------------------------------------------------------------------


def tasks(options: argparse.Namespace) -> dict[str, Callable[[int], Task]]:
    """Name → the task with the luck of a seed."""
    if options.bench == "lcbench":
        bench, noise, bad = lcbench.LCBench(options.data), options.noise, options.bad_range
        numbers = [int(number) for number in options.tasks or lcbench.TUNING]
        return {f"lc:{number}": _lcbench(bench, number, noise, bad) for number in numbers}
    found = [tables.load(options.bench, name) for name in options.tasks or tables.datasets(options.bench)]
    return {table.name: _table(table, options.noise) for table in found}


def _lcbench(bench: lcbench.LCBench, number: int, noise: float, bad_range: bool) -> Callable[[int], Task]:
    return lambda seed: lcbench.Task(bench, number, noise, seed, bad_range)


def _table(table: tables.Table, noise: float) -> Callable[[int], Task]:
    return lambda seed: tables.TableTask(table, noise, seed)


def row(task: str, search: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """A study, to which what it came to is added."""
    return {
        "optimiser": search,
        "task": task,
        "start_range": "bad-lr-range" if options.bad_range else "full",
        "noise": options.noise,
        "workers": options.workers,
        "seed": seed,
        "planned_budget": options.budget,
    }


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", choices=BENCHES, default="lcbench")
    parser.add_argument("--data", type=Path, help="the folder of LCBench's surrogate, see lcbench.py")
    parser.add_argument("--out", type=Path, required=True, help="CSV; studies that stand there are not run again")
    parser.add_argument("--search", nargs="*", default=["coarse_to_fine"], help="none: only the table")
    parser.add_argument("--tasks", nargs="+", help="OpenML's numbers, or data sets; default: those to tune on, or all")
    parser.add_argument("--budget", type=float, default=max(CUTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--workers", type=int, default=1, help="several are scored by the clock")
    parser.add_argument("--noise", type=float, default=0.0, help="of LCBench in accuracy points; a table's is its own")
    parser.add_argument("--bad-range", action="store_true", help="LCBench's learning rate begins where it is bad")
    options = parser.parse_args()
    if options.bench == "lcbench" and options.data is None:
        parser.error("LCBench needs --data, the folder of its surrogate")
    if options.bench != "lcbench" and options.bad_range:
        parser.error(f"--bad-range is for lcbench, but got {options.bench}, whose learning rate may not be widened")
    plain = [search for search in options.search if search in pruners.NAMES]
    if plain and (options.bench != "lcbench" or options.workers > 1):
        parser.error(f"{', '.join(plain)} prunes by epochs, in one process: for lcbench with one worker")
    known = {*SEARCHES, *NAMES, *pruners.NAMES}
    if unknown := [search for search in options.search if search not in known]:
        parser.error(f"no search {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return options


def main() -> None:
    options = parse_options()
    todo = tasks(options)
    done = {results.identity(each) for each in results.kept(options.out)}
    for seed, search, name in itertools.product(options.seeds, options.search, todo):
        study = row(name, search, seed, options)
        if results.identity(study) not in done:
            found = list(regrets(todo[name](seed), search, seed, options.workers, options.budget))
            rows = [{**study, "budget": cut, "normalised_regret": f"{regret:.5f}"} for cut, regret in found]
            results.write(options.out, rows)
            print(search, name, seed, *(f"{regret:.5f}" for _, regret in found), flush=True)
    peers = results.kept(options.data / "peers.csv") if options.data else []
    told = [*results.kept(options.out), *peers]
    start_range = "bad-lr-range" if options.bad_range else "full"
    print(results.table(results.like(told, start_range, options.noise, options.workers), set(todo)))


if __name__ == "__main__":
    main()
