"""What the training scripts here have in common: the data that a config names, and one training from end to end.

A script says which data sets it knows, what its network is and which config is its own. It finds this file and the
others beside it as neighbours, from wherever it is started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig
from torch import nn

import final
import sweeper
from sweeper.training.choices import pick
from sweeper.training.data import Data
from sweeper.training.learner import Learner
from sweeper.training.whole import whole


def load(cfg: DictConfig, known: Mapping[str, Callable[..., Data]], **where: Any) -> Data:
    """The data set that the config names, of those known, split by its seed and scaled; `where` is its place.

    With `full_data` all of it but the test set is for training.
    """
    found = pick("data", known, cfg.data.name)(**where, **cfg.data.split, scaling=cfg.get("scaling"))
    return whole(found) if cfg.get("full_data") else found


def run(
    cfg: DictConfig,
    build: Callable[[DictConfig], nn.Module],
    data: Callable[[DictConfig], Data],
    after_epoch: Callable[[Learner, sweeper.Trial], None] = lambda learner, trial: None,
) -> None:
    """Train, and report each epoch; or test a finished trial."""
    if cfg.evaluate:
        final.test(cfg.evaluate, build, data)
        return
    trial = sweeper.current_trial()
    seed = cfg.seed if trial.seed is None else trial.seed
    learner = Learner(cfg, build, data, seed, trial.device)
    for _ in trial.epochs(cfg.epochs, state=learner.state):
        if learner.stopped:
            break
        trial.report(**learner.epoch())
        after_epoch(learner, trial)
