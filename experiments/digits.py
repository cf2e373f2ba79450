"""An MLP on scikit-learn's 8x8 handwritten digits.

python experiments/digits.py optimizer.lr=0.01          one training
python experiments/digits.py --multirun                 a sweep over conf/space/mlp.yaml
python experiments/digits.py evaluate=runs/digits/0007  a finished trial on the test set
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig
from torch import nn

import toys
import training
from sweeper.training import models
from sweeper.training.data import Data

DATA = {"digits": toys.digits}


def build(cfg: DictConfig) -> nn.Module:
    """The network: (N, 64) -> (N, 10)."""
    return models.build(cfg.model)


def data(cfg: DictConfig) -> Data:
    """Train, validation and test set; with `full_data` all but the test set is for training."""
    found: Data = training.load(cfg, DATA)
    return found


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def train(cfg: DictConfig) -> None:
    training.run(cfg, build, data)


if __name__ == "__main__":
    train()
