"""An MLP on a few hundred rows: breast cancer, a classification, or diabetes, a regression.

python experiments/tabular.py                                       one training on breast cancer
python experiments/tabular.py --multirun                            a sweep over conf/space/tabular.yaml
python experiments/tabular.py --multirun experiment=diabetes        the same for diabetes
python experiments/tabular.py experiment=diabetes evaluate=runs/diabetes/0007   a finished trial on the test set
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig
from torch import nn

import toys
import training
from sweeper.training import models
from sweeper.training.data import Data

DATA = {"breast_cancer": toys.breast_cancer, "diabetes": toys.diabetes}


def build(cfg: DictConfig) -> nn.Module:
    """The network: (N, 30) -> (N, 2) or (N, 10) -> (N, 1)."""
    return models.build(cfg.model)


def data(cfg: DictConfig) -> Data:
    """Train, validation and test set; with `full_data` all but the test set is for training."""
    found: Data = training.load(cfg, DATA)
    return found


@hydra.main(version_base="1.3", config_path="../conf", config_name="tabular")
def train(cfg: DictConfig) -> None:
    training.run(cfg, build, data)


if __name__ == "__main__":
    train()
