"""Everything one training needs, made from a config: seeds, data, network, optimizer, schedule and batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from sweeper.training import optimizers, schedules
from sweeper.training.batches import Batches
from sweeper.training.data import Data
from sweeper.training.loop import evaluate, train_epoch
from sweeper.training.seeds import seed_everything


class Learner:
    """One training, epoch by epoch.

    `config` has the keys `epochs`, `data.batch_size`, `optimizer` and `schedule`; `build` and `data` are the script's
    and take the whole config. `seed` fixes the first weights, the dropout and the order of the examples.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        build: Callable[[Any], nn.Module],
        data: Callable[[Any], Data],
        seed: int,
        device: str | torch.device = "cpu",
    ) -> None:
        seed_everything(seed)
        self.data = data(config).to(device)
        self.batches = Batches(self.data.train, config["data"]["batch_size"], seed)
        self.model = build(config).to(device)
        self.optimizer = optimizers.build(self.model.parameters(), config["optimizer"])
        self.schedule = schedules.build(self.optimizer, config["schedule"], config["epochs"])

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold, so that the training goes on as if nothing had been."""
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "loader": self.batches.generator,
        }

    def epoch(self) -> dict[str, float]:
        """Train for one epoch and evaluate; the metrics to report: train_loss, val_loss, val_accuracy or val_r2."""
        train_loss = train_epoch(self.model, self.optimizer, self.batches, self.data.goal)
        self.schedule.step()
        return {"train_loss": train_loss, **evaluate(self.model, self.data.val, self.data.goal, "val")}
