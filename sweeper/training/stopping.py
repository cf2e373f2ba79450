"""Early stopping: no more epochs where the metric has stopped improving (Prechelt 1998), and the best weights back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from sweeper.training.choices import direction_sign, make, pick
from sweeper.words.errors import ConfigError


class Stopping:
    """Give it every epoch's metrics by `look`; `stopped` says whether `patience` epochs in a row were no better.

    A script ends its loop then, before the next epoch, so that the last one has its checkpoint:

    >>> for _ in trial.epochs(cfg.epochs, state=learner.state):
    ...     if learner.stopped:
    ...         break
    ...     trial.report(**learner.epoch())

    All of it is in `state_dict`: a resumed or promoted trial has the patience that it had. In a sweep a trial that ends
    so is COMPLETE, with what its last epoch reported as its value, and compares with those that trained to the end:
    with `best_weights` that is the best network's. It is not promoted (one that stops in a stage's very last epoch may
    pause there, and ends when it is taken up); a stage that promotes a share of those that reached the end of the one
    before does not count it; the epochs that it was granted and did not train stay spent. A patience shorter than a
    plan's first stage lets slow starters end where the plan would have judged them.
    """

    def __init__(
        self, *, metric: str, direction: str, patience: int, least_gain: float = 0.0, best_weights: bool = True
    ) -> None:
        if patience < 1 or least_gain < 0:
            raise ConfigError(
                f"`stopping.patience >= 1` and `stopping.least_gain >= 0` must hold, but got patience={patience}, "
                f"least_gain={least_gain}."
            )
        self._metric, self._patience, self._least_gain = metric, patience, least_gain
        self._sign = direction_sign("stopping.direction", direction)
        self._keeps_weights = best_weights
        self._best = math.inf
        self._waited = 0
        self._weights: dict[str, Tensor] | None = None

    @property
    def stopped(self) -> bool:
        return self._waited >= self._patience

    def look(self, metrics: Mapping[str, float], network: nn.Module) -> None:
        """After each epoch: its metrics, and the network that they were measured on."""
        value = self._sign * pick("stopping.metric", metrics, self._metric)
        if value < self._best - self._least_gain:
            self._best, self._waited = value, 0
            if self._keeps_weights:
                self._weights = {name: each.detach().clone() for name, each in network.state_dict().items()}
        else:
            self._waited += 1

    def restore(self, network: nn.Module) -> bool:
        """At the end: put the best weights back; False where there is nothing to put, or the last were the best."""
        if self._weights is None or self._waited == 0:
            return False
        network.load_state_dict(self._weights)
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "waited": self._waited, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._best, self._waited, self._weights = state["best"], state["waited"], state["weights"]


def never() -> Stopping | None:
    """Every training goes on to its last epoch."""
    return None


def build(settings: Mapping[str, Any]) -> Stopping | None:
    """The stopping of a `stopping` config: its `name`, patience or none, and its own keys."""
    makers: dict[str, Callable[..., Stopping | None]] = {"none": never, "patience": Stopping}
    return make("stopping", makers, settings)
