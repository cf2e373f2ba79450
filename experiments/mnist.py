"""An MLP or a CNN on MNIST's IDX files, or on others of their format.

python experiments/mnist.py data.root=FOLDER                                  one training of a CNN
python experiments/mnist.py data.root=FOLDER model=mlp                        of an MLP
python experiments/mnist.py --multirun data.root=FOLDER                       a sweep over conf/space/cnn.yaml
python experiments/mnist.py --multirun data.root=FOLDER model=mlp space=mlp study=mnist-mlp
python experiments/mnist.py data.root=FOLDER evaluate=runs/mnist/0007         a finished trial on the test set
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig, OmegaConf
from torch import nn

import sweeper
from sweeper.training import final, first_layer, models
from sweeper.training.choices import pick
from sweeper.training.data import Data
from sweeper.training.learner import Learner
from sweeper.training.mnist import mnist
from sweeper.training.whole import whole
from sweeper.trial.checkpoint import read

DATA = {"mnist": mnist}


def build(cfg: DictConfig) -> nn.Module:
    """The network: (N, 1, 28, 28) -> (N, 10)."""
    return models.build(cfg.model)


def data(cfg: DictConfig) -> Data:
    """The data set, split by its seed and scaled; with `full_data` all of it but the test set is for training."""
    found = pick("data", DATA, cfg.data.name)(cfg.data.root, **cfg.data.split, scaling=cfg.get("scaling"))
    return whole(found) if cfg.get("full_data") else found


@hydra.main(version_base="1.3", config_path="../conf", config_name="mnist")
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
        first_layer.save(learner.model, trial.folder / "first_layer.png", shape=cfg.data.inputs)


if __name__ == "__main__":
    train()
