"""An MLP on a few hundred rows: breast cancer, a classification, or diabetes, a regression.

python experiments/tabular.py                                       one training on breast cancer
python experiments/tabular.py --multirun                            a sweep over conf/space/tabular.yaml
python experiments/tabular.py --multirun experiment=diabetes        the same for diabetes
python experiments/tabular.py experiment=diabetes evaluate=runs/diabetes/0007   a finished trial on the test set
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig, OmegaConf
from torch import nn

import sweeper
from sweeper.training import datasets, final, models
from sweeper.training.choices import pick
from sweeper.training.data import Data
from sweeper.training.learner import Learner
from sweeper.training.whole import whole
from sweeper.trial.checkpoint import read

DATA = {"breast_cancer": datasets.breast_cancer, "diabetes": datasets.diabetes}


def build(cfg: DictConfig) -> nn.Module:
    """The network: (N, 30) -> (N, 2) or (N, 10) -> (N, 1)."""
    return models.build(cfg.model)


def data(cfg: DictConfig) -> Data:
    """The data set, split by its seed and scaled; with `full_data` all of it but the test set is for training."""
    found = pick("data", DATA, cfg.data.name)(**cfg.data.split, scaling=cfg.get("scaling"))
    return whole(found) if cfg.get("full_data") else found


@hydra.main(version_base="1.3", config_path="../conf", config_name="tabular")
def train(cfg: DictConfig) -> None:
    """Train, and report each epoch; or test a finished trial."""
    if cfg.evaluate:
        final.test(cfg.evaluate, build, data, OmegaConf.load, read)
        return
    trial = sweeper.current_trial()
    seed = cfg.seed if trial.seed is None else trial.seed
    learner = Learner(cfg, build, data, seed, trial.device)
    for _ in trial.epochs(cfg.epochs, state=learner.state):
        if learner.stopped:
            break
        trial.report(**learner.epoch())


if __name__ == "__main__":
    train()
