"""Optuna's pruners beside us: a plain Optuna study on the same task, where every epoch that is trained is paid for.

Named by sampler and pruner: `tpe+halving`, `random+median`. Pruning begins after a ninth of the epochs, as the stages
of coarse_to_fine do; at Optuna's own defaults, after the first epoch, they were worse than random search here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from experiments.benchmarks.task import Task
from sweeper.search.grammar import parse
from sweeper.search.optuna.space import OptunaSpace
from sweeper.search.samplers import quiet

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed),
}
PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "halving": lambda epochs: SuccessiveHalvingPruner(min_resource=round(epochs / 9)),
    "hyperband": lambda epochs: HyperbandPruner(min_resource=round(epochs / 9), max_resource=epochs),
    "median": lambda epochs: MedianPruner(n_warmup_steps=round(epochs / 9)),
}
NAMES = [f"{sampler}+{pruner}" for sampler in SAMPLERS for pruner in PRUNERS]


class Report(NamedTuple):
    """An epoch that was paid for: the loss after so many epochs of a trial, and the true one at the trial's end."""

    epochs_done: int
    loss: float
    true: float


def reports(task: Task, name: str, seed: int) -> Iterator[Report]:
    """Epoch by epoch, without an end."""
    assert task.epochs is not None
    sampler, pruner = name.split("+")
    space = OptunaSpace(parse(task.space).space)
    with quiet():
        study = optuna.create_study(sampler=SAMPLERS[sampler](seed), pruner=PRUNERS[pruner](task.epochs))
    while True:
        with quiet():
            trial = study.ask(space.distributions)
        params = {name: space.decode(name, value) for name, value in trial.params.items()}
        losses, true = task.curve(trial.number, params)
        for done, loss in enumerate(losses.tolist(), start=1):
            yield Report(done, loss, true)
            trial.report(loss, done)
            if done < len(losses) and trial.should_prune():
                break
        state = optuna.trial.TrialState.COMPLETE if done == len(losses) else optuna.trial.TrialState.PRUNED
        with quiet():
            study.tell(trial, loss if done == len(losses) else None, state=state)
