"""Examples and what training may see of them.

The test set measures a model that is finished; whatever reads it before that spoils it. So `Data` holds the training
and the validation set, and the test set is opened by a call of its own, `open_test()`, made by `final.py` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweeper.training import scaling as scalings
from sweeper.training.goals import REGRESSION, Goal
from sweeper.training.scaling import Scaling
from sweeper.words.errors import ConfigError


@dataclass(frozen=True)
class Examples:
    """`inputs` (N, ...) and `targets` (N,) or (N, K) that belong together."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Tensor) -> Examples:
        return Examples(self.inputs[index], self.targets[index])

    def to(self, device: str | torch.device) -> Examples:
        return Examples(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Data:
    """The scaled training and validation set, what they are for, and the way to the test set."""

    train: Examples
    val: Examples
    goal: Goal
    open_test: Callable[[], Examples] = field(repr=False)

    def to(self, device: str | torch.device) -> Data:
        return Data(self.train.to(device), self.val.to(device), self.goal, lambda: self.open_test().to(device))


def holdout(labels: Tensor, shares: Sequence[float], seed: int, stratify: bool) -> list[Tensor]:
    """Disjoint index sets over `labels` (N,): one for each share in (0, 1), then one with all the rest.

    `stratify` keeps the mix of classes the same in each. The same seed gives the same sets on every machine.
    """
    if not all(0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise ConfigError(
            f"`0 < val, 0 < test, val + test < 1` must hold for the shares of a split, but got {list(shares)}."
        )
    random = np.random.default_rng(seed)
    classes = labels.numpy() if stratify else np.zeros(len(labels))
    parts: list[list[np.ndarray]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(classes):
        members = random.permutation(np.flatnonzero(classes == label))
        cuts = np.round(np.cumsum(shares) * len(members)).astype(int)
        for part, indices in zip(parts, np.split(members, cuts), strict=True):
            part.append(indices)
    return [torch.from_numpy(np.sort(np.concatenate(part))) for part in parts]


def assemble(
    pool: Examples,
    train: Tensor,
    val: Tensor,
    open_test: Callable[[], Examples],
    goal: Goal,
    per_feature: bool,
    scaling: Mapping[str, Any] | None = None,
) -> Data:
    """Scale with the statistics of `pool[train]`; `open_test` gives raw examples and is called only on demand.

    `per_feature`: whether the inputs' features are of different kinds; `scaling`: a `scaling` config, None: standard.
    The targets of a regression are scaled too, always to zero mean and unit spread, so that a loss of 1 is that of
    always answering the mean.
    """
    fitted = pool[train]
    inputs = scalings.fit(scaling, fitted.inputs, per_feature)
    targets = Scaling.fit(fitted.targets, per_feature=True) if goal is REGRESSION else None

    def scaled(raw: Examples) -> Examples:
        return Examples(inputs(raw.inputs), targets(raw.targets) if targets else raw.targets)

    return Data(scaled(fitted), scaled(pool[val]), goal, lambda: scaled(open_test()))


def split(
    pool: Examples,
    val: float,
    test: float,
    seed: int,
    goal: Goal,
    per_feature: bool,
    scaling: Mapping[str, Any] | None = None,
) -> Data:
    """One pool of raw examples into train, validation and test; `val` and `test` are shares of all examples."""
    stratify = goal is not REGRESSION
    for_val, for_test, for_train = holdout(pool.targets, (val, test), seed, stratify)
    return assemble(pool, for_train, for_val, lambda: pool[for_test], goal, per_feature, scaling)
