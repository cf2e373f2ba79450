"""Border verdicts and moving ranges in real sweeps: how often they are wrong without need, and what that costs.

python -m experiments.benchmarks.moves                false alarms, needless moves of coarse_to_fine, on random data
python -m experiments.benchmarks.moves --data DIR     and what moving costs and gains on LCBench (lcbench.py)

The studies run through `sweeper.run`, with the real plan, sampler and store, one worker; an epoch takes no time. While
they run, the verdicts are asked each time five more trials have ended, as a person who watches would see them. Ranges
move on lighter evidence than verdicts need, `--lucks` of it: the largest p-value of a slope.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import sweeper
from experiments.benchmarks.borders import Loss, irrelevant, noise, show
from experiments.benchmarks.lcbench import COLUMNS, EPOCHS, TUNING, LCBench, Task
from experiments.benchmarks.results import interval
from experiments.benchmarks.search_quality import Train, best_by
from sweeper.analysis import borders as judgement
from sweeper.search import borders
from sweeper.search.verdict import BorderKind, Verdict
from sweeper.store import reads
from sweeper.store.connection import Store

LONG = 27
"""Epochs of a full training on random data."""
EVERY = 5
SPACE: dict[str, Any] = {
    "rate": {"interval": [1e-5, 1e-1], "log": True, "limits": [1e-9, 1e3]},
    "dropout": {"interval": [0, 0.7], "limits": [0, 0.95]},
    "depth": {"interval": [1, 5], "int": True, "limits": [1, 12]},
    "width": {"interval": [16, 256], "log": True, "int": True, "limits": [2, 2048]},
    "layers": {"interval": [1, 2], "int": True, "limits": [1, 5]},
}
"""Nothing depends on any of these: whatever is said of them is wrong, and so is every move."""
CUTS = (10, 20)
RATE = "learning_rate"
TWO_MORE = {"x0": "interval(0, 1)", "x1": "interval(0, 1)"}


@dataclass
class Sweep:
    """A study of the plan `coarse_to_fine`, and what its verdicts said all along."""

    space: dict[str, Any]
    loss: Loss
    seed: int
    borders: str
    budget: float
    asked: list[list[Verdict]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    ended: int = 0

    def run(self) -> Sweep:
        with tempfile.TemporaryDirectory() as folder:
            self._store = Store(f"sqlite:///{folder}/sweeper.db", create=True)
            study = sweeper.run(
                self._train,
                study="moves",
                store=f"sqlite:///{folder}/sweeper.db",
                space=self.space,
                search="coarse_to_fine",
                borders=self.borders,
                epochs=LONG,
                budget=self.budget,
                metric="val_loss",
                folder=folder,
                seed=self.seed,
            )
            self._look()
            self.moved = moves(study)
            self._store.close()
        return self

    def _train(self, trial: sweeper.Trial) -> None:
        self._look()
        loss = self.loss(dict(trial.params))
        for epoch in trial.epochs(LONG, state={}):
            trial.report(val_loss=loss + 1 / (epoch + 1))

    def _look(self) -> None:
        record = reads.study(self._store, "moves")
        ended = len(reads.all_trials(self._store, record.id, judgement.OVER))
        if ended // EVERY > self.ended // EVERY:
            self.asked.append(judgement.judge(self._store, record))
        self.ended = ended


def moves(study: sweeper.Study) -> list[str]:
    """The parameters whose ranges moved, one for each move of each."""
    spaces = [study.record.space, *(row["space"] for row in reads.move_rows(study._store, study.record.id))]
    return [
        now["name"]
        for before, after in itertools.pairwise(spaces)
        for was, now in zip(before, after, strict=True)
        if (was.get("low"), was.get("high")) != (now.get("low"), now.get("high"))
    ]


# ---- false alarms ----------------------------------------------------------------------------------------------------


def alarms(
    name: str, space: dict[str, Any], make: Callable[[int], Loss], options: argparse.Namespace
) -> dict[str, Any]:
    """Of verdicts on parameters that do not matter, their ranges at rest."""
    studies = [Sweep(space, make(seed), seed, "warn", options.budget).run() for seed in range(options.studies)]
    columns = [list(zip(*study.asked, strict=True)) for study in studies]
    told = [[each for each in column if each[0].parameter in SPACE] for column in columns]
    flat = [verdicts for column in told for verdicts in column]
    return {
        "values": name,
        "parameters": len(flat),
        "trials": f"{np.mean([study.ended for study in studies]):.0f}",
        "crowds, at the end": _share([verdicts[-1].crowds for verdicts in flat]),
        "crowds, ever": _share([any(each.crowds for each in verdicts) for verdicts in flat]),
        "an edge, but too few to say, at the end": _share([_in_doubt(verdicts[-1]) for verdicts in flat]),
        "the same, ever": _share([any(map(_in_doubt, verdicts)) for verdicts in flat]),
    }


def _in_doubt(verdict: Verdict) -> bool:
    return verdict.kind is BorderKind.FEW and verdict.edge is not None


def needless(
    name: str, space: dict[str, Any], make: Callable[[int], Loss], luck: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Moves of the ranges of parameters that do not matter."""
    borders.MOVING_LUCK = luck
    studies = [Sweep(space, make(seed), seed, "widen", options.budget).run() for seed in range(options.studies)]
    moved = [[name for name in study.moved if name in SPACE] for study in studies]
    return {
        "values": name,
        "luck": luck,
        "studies": len(studies),
        "moves in a study": f"{np.mean([len(each) for each in moved]):.2f}",
        "studies with one": _share([bool(each) for each in moved]),
        "ranges moved": _share([each in study for study in moved for each in SPACE]),
    }


# ---- what it costs ---------------------------------------------------------------------------------------------------


def right_third(bench: LCBench, task: int) -> tuple[float, float]:
    """The third of the learning rate's range around the best of 4,000 random params, inside the whole."""
    rows = bench.draw(4000)
    best = rows[np.argmin(bench.at(task, rows, np.full(len(rows), EPOCHS))), COLUMNS.index(RATE)]
    low, high = bench.space[RATE]["lower"], bench.space[RATE]["upper"]
    third = (high / low) ** (1 / 3)
    start = min(max(best / third**0.5, low), high / third)
    return start, start * third


def regrets(bench: LCBench, task: Task, begun: tuple[float, float], rule: str) -> tuple[dict[int, float], int]:
    """Normalised regret at each cut, and the number of moves; the range's limits are the whole."""
    space = task.space
    space[RATE] |= {"limits": space[RATE]["interval"], "interval": list(begun)}
    with tempfile.TemporaryDirectory() as folder:
        study = sweeper.run(
            Train(task),
            study="moves",
            space=space,
            search="coarse_to_fine",
            borders=rule,
            epochs=EPOCHS,
            budget=max(CUTS),
            metric="val_loss",
            folder=folder,
            seed=task.seed,
        )
        reports = study.epochs().sort_values("reported", kind="stable")
        best = {cut: best_by(study, reports.head(cut * EPOCHS)) for cut in CUTS}
        losses = {cut: task.curve(trial.number, trial.params or {})[1] for cut, trial in best.items()}
        return {cut: bench.normalised_regret(task.number, loss) for cut, loss in losses.items()}, len(moves(study))


def cost(bench: LCBench, which: str, rule: str, luck: float, seeds: int) -> dict[str, Any]:
    """The learning rate's range is a third of the whole: around the optimum, or far from it."""
    borders.MOVING_LUCK = luck
    told = []
    for number in TUNING:
        begun = right_third(bench, number) if which == "right" else bench.worst_third(number, RATE)
        told += [regrets(bench, Task(bench, number, 0.0, seed), begun, rule) for seed in range(seeds)]
    return {
        "learning rate's range": which,
        "ranges": f"move, luck {luck}" if rule == "widen" else "stay",
        "studies": len(told),
        "moved": _share([moved > 0 for _, moved in told]),
        "moves": f"{np.mean([moved for _, moved in told]):.2f}",
        **{f"@{cut}": interval([found[cut] for found, _ in told]) for cut in CUTS},
    }


def _share(flags: Sequence[bool]) -> str:
    return f"{100 * np.mean(flags):.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=40, help="for each line on random data")
    parser.add_argument("--budget", type=float, default=20, help="full trainings of each of them")
    parser.add_argument("--lucks", type=float, nargs="+", default=[0.3, 0.1, 0.01])
    parser.add_argument("--data", type=Path, help="the folder of LCBench's surrogate")
    parser.add_argument("--seeds", type=int, default=1, help="studies for each task of LCBench")
    options = parser.parse_args()
    data = [("noise", SPACE, noise), ("irrelevant", {**SPACE, **TWO_MORE}, irrelevant)]
    if options.studies:
        show([alarms(*each, options) for each in data])
        show([needless(*each, luck, options) for each in data for luck in options.lucks])
    if options.data:
        bench = LCBench(options.data)
        rules = [("warn", 0.0), *(("widen", luck) for luck in options.lucks)]
        show([cost(bench, which, *rule, options.seeds) for which in ("right", "wrong") for rule in rules])


if __name__ == "__main__":
    main()
