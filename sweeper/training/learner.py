"""Everything one training needs, made from a config: seeds, data, network, optimizer, schedule, batches and the rest.

The groups of the config and the modules that read them: data.batch_size (batches), optimizer, schedule, and, each with
a default that leaves the training as it is, loss, regularisation, clipping, augmentation, averaging, stopping.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from sweeper.training import (
    augmentation,
    averaging,
    clipping,
    losses,
    optimizers,
    regularisation,
    schedules,
    stopping,
)
from sweeper.training.batches import Batches
from sweeper.training.data import Data
from sweeper.training.loop import evaluate, train_epoch
from sweeper.training.models import has_batch_norm
from sweeper.training.monitors import Monitors
from sweeper.words.errors import ConfigError

NONE = {"name": "none"}


class Learner:
    """One training, epoch by epoch.

    `config` has the keys `epochs`, `data.batch_size`, `optimizer` and `schedule`, and may have the other groups of this
    module; `build` and `data` are the script's and take the whole config. `seed` fixes the first weights, the dropout,
    the augmentation and the order of the examples. Raises ConfigError.
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
        self.epochs = config["epochs"]
        self.data = data(config).to(device)
        self.model = build(config).to(device)
        self.batches = Batches(
            self.data.train,
            config["data"]["batch_size"],
            seed,
            augment=augmentation.build(config.get("augmentation", {})),
            least=2 if has_batch_norm(self.model) else 1,
        )
        loss = losses.build(config.get("loss", {"name": "auto"}), self.data.goal, self.data.train.targets)
        self.trained_goal = replace(self.data.goal, loss=loss)
        self.regularisation = regularisation.build(config.get("regularisation", {}))
        self.optimizer = optimizers.build(self.regularisation.parameters(self.model), config["optimizer"])
        self.clipping = clipping.build(config.get("clipping", {}), self.model.parameters())
        takes_all = optimizers.takes_all_examples(self.optimizer)
        if takes_all and self.clipping:
            raise ConfigError(
                "optimizer=lbfgs looks for the minimum along its gradients, so they must not be clipped, but got "
                f"clipping.norm={self.clipping.norm}, clipping.value={self.clipping.value}: choose clipping=none."
            )
        steps = 1 if takes_all else len(self.batches)
        self.schedule = schedules.build(self.optimizer, config["schedule"], self.epochs, steps)
        self.averaging = averaging.build(
            config.get("averaging", NONE), self.model, self.optimizer, self.schedule, self.epochs
        )
        self.stopping = stopping.build(config.get("stopping", NONE))
        self.monitors = Monitors(self.model, self.optimizer) if config.get("monitor", False) else None

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold, so that the training goes on as if nothing had been."""
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "loader": self.batches.generator,
            **self.averaging.state,
            **({"stopping": self.stopping} if self.stopping else {}),
        }

    @property
    def stopped(self) -> bool:
        """Whether early stopping wants no further epoch: what a script's loop then ends by (see stopping.py)."""
        return self.stopping is not None and self.stopping.stopped

    def epoch(self) -> dict[str, float]:
        """Train for one epoch and evaluate; the metrics to report: train_loss, val_loss, val_accuracy or val_r2.

        train_loss is the loss that is trained, val_loss the goal's own, of the averaged weights where there is an
        average. With clipping there is `monitor/clipped`, the share of the steps whose gradient was clipped, and with
        `monitor: true` in the config what monitors.py tells.
        """
        train_loss = train_epoch(
            self.model,
            self.optimizer,
            self.batches,
            self.trained_goal,
            penalty=self._penalty if self.regularisation.has_penalty else None,
            before_step=self.clipping if self.clipping else None,
            after_step=self._after_step,
        )
        self.averaging.after_epoch(self.data.train.inputs, self.schedule.epochs + 1)
        metrics = {"train_loss": train_loss, **self._evaluated()}
        self.schedule.after_epoch(metrics)
        if self.stopping is not None:
            self.stopping.look(metrics, self.averaging.network)
            is_last = self.stopped or self.schedule.epochs >= self.epochs
            if is_last and self.stopping.restore(self.averaging.network):
                metrics.update(self._evaluated())
        clipped = {"monitor/clipped": self.clipping.share()} if self.clipping else {}
        return {**metrics, **clipped, **(self.monitors.epoch() if self.monitors else {})}

    def _penalty(self) -> torch.Tensor:
        return self.regularisation.penalty(self.model)

    def _after_step(self) -> None:
        self.regularisation.bound(self.model)
        self.averaging.after_step()
        self.schedule.after_step()

    def _evaluated(self) -> dict[str, float]:
        return evaluate(self.averaging.network, self.data.val, self.data.goal, "val")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch (CPU and every GPU), so that weights, dropout and augmentation are repeatable."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # NumPy's old generator takes 32 bits
    torch.manual_seed(seed)
