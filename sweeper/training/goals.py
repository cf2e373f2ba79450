"""What a network is trained for: the loss that is minimized and the score that a person reads.

`outputs` have the shape (N, K): K classes or K target values. `targets` have the shape (N,) with class numbers in
0..K-1 for a classification, (N, K) for a regression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Goal:
    """One kind of task; `loss` is a mean per example, in nats (classification) or target units squared (regression)."""

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    score_name: str
    score: Callable[[Tensor, Tensor], Tensor]


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of the examples whose largest output is the right class, in [0, 1]."""
    return (outputs.argmax(dim=1) == targets).double().mean()


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """Coefficient of determination: 1 is perfect, 0 is as good as the mean of the targets, below is worse."""
    left = (targets - outputs).square().sum()
    total = (targets - targets.mean(dim=0)).square().sum()
    return 1 - left / total.clamp(min=torch.finfo(total.dtype).tiny)


CLASSIFICATION = Goal("classification", functional.cross_entropy, "accuracy", accuracy)
REGRESSION = Goal("regression", functional.mse_loss, "r2", r2)
