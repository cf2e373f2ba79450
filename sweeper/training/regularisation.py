"""What keeps weights small: penalties on their size, a bound on each unit's weights, and which of them it concerns.

A weight here is an entry of a layer's matrix or kernel; biases and the parameters of normalisations and PReLU are none,
for they have one dimension. CS231n, "Neural Networks Part 2".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.training.choices import fill
from sweeper.training.optimizers import Parameters
from sweeper.words.errors import ConfigError


class Regularisation:
    """Penalties to add to the loss, and the bound to put on the weights after each step.

    Attributes:
        l1: the loss gains l1 * sum |w|, which makes weights exactly unimportant.
        l2: the loss gains l2 / 2 * sum w^2: what the optimizer's `weight_decay` is, but for AdamW's.
        max_norm: no unit's incoming weights are longer than that (Srivastava et al. 2014: 3 to 4); None: any.
        biases: whether l1, l2 and the optimizer's `weight_decay` pull the biases and normalisations to 0 as well.
    """

    def __init__(self, *, l1: float = 0.0, l2: float = 0.0, max_norm: float | None = None, biases: bool = True) -> None:
        for key, strength in (("l1", l1), ("l2", l2)):
            if strength < 0:
                raise ConfigError(f"`regularisation.{key} >= 0` must hold, but got {strength}; 0 is no penalty.")
        if max_norm is not None and not max_norm > 0:
            raise ConfigError(f"`regularisation.max_norm > 0` must hold, but got {max_norm}; null is no bound.")
        self.l1, self.l2, self.max_norm, self.biases = l1, l2, max_norm, biases

    @property
    def has_penalty(self) -> bool:
        return self.l1 > 0 or self.l2 > 0

    def penalty(self, model: nn.Module) -> Tensor:
        """What the loss gains, a scalar with a gradient."""
        concerned = list(model.parameters()) if self.biases else _weights(model)
        total = torch.zeros((), device=concerned[0].device)
        if self.l1 > 0:
            total = total + self.l1 * torch.stack([each.abs().sum() for each in concerned]).sum()
        if self.l2 > 0:
            total = total + self.l2 / 2 * torch.stack([each.square().sum() for each in concerned]).sum()
        return total

    def bound(self, model: nn.Module) -> None:
        """Shorten the incoming weights (one row of a matrix, one kernel) of every unit that has longer ones."""
        if self.max_norm is not None:
            for weight in _weights(model):
                weight.data.renorm_(2, 0, self.max_norm)

    def parameters(self, model: nn.Module) -> Parameters:
        """The model's parameters for its optimizer: in one group, or the biases in one without weight decay."""
        if self.biases:
            return list(model.parameters())
        others = [each for each in model.parameters() if each.ndim <= 1]
        decayed: dict[str, Any] = {"params": _weights(model)}
        return [decayed, {"params": others, "weight_decay": 0.0}]


def build(settings: Mapping[str, Any]) -> Regularisation:
    """The regularisation of a `regularisation` config: `l1`, `l2`, `max_norm` and `biases`."""
    return fill("regularisation", Regularisation, settings)


def _weights(model: nn.Module) -> list[nn.Parameter]:
    return [each for each in model.parameters() if each.ndim > 1]
