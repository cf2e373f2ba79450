"""An MLP or a CNN on MNIST's IDX files, or on others of their format.

python experiments/mnist.py data.root=FOLDER                                  one training of a CNN
python experiments/mnist.py data.root=FOLDER model=mlp                        of an MLP
python experiments/mnist.py --multirun data.root=FOLDER                       a sweep over conf/space/cnn.yaml
python experiments/mnist.py --multirun data.root=FOLDER model=mlp space=mlp study=mnist-mlp
python experiments/mnist.py data.root=FOLDER evaluate=runs/mnist/0007         a finished trial on the test set
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig
from torch import nn

import first_layer
import idx
import training
from sweeper.training import models
from sweeper.training.data import Data
from sweeper.training.learner import Learner
from sweeper.trial.handle import Trial

DATA = {"mnist": idx.mnist}


def build(cfg: DictConfig) -> nn.Module:
    """The network: (N, 1, 28, 28) -> (N, 10)."""
    return models.build(cfg.model)


def data(cfg: DictConfig) -> Data:
    """Train, validation and test set; with `full_data` all but the test set is for training."""
    found: Data = training.load(cfg, DATA, root=cfg.data.root)
    return found


@hydra.main(version_base="1.3", config_path="../conf", config_name="mnist")
def train(cfg: DictConfig) -> None:
    """Train, and leave a picture of the first layer in the trial's folder."""

    def draw(learner: Learner, trial: Trial) -> None:
        first_layer.save(learner.model, trial.folder / "first_layer.png", shape=cfg.data.inputs)

    training.run(cfg, build, data, after_epoch=draw)


if __name__ == "__main__":
    train()
