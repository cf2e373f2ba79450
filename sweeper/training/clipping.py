"""Gradients made smaller where they are too large, between the backward pass and the step, by PyTorch's own functions.

By norm: all gradients together keep their direction (Pascanu et al. 2013). By value: each number for itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm

from sweeper.training.choices import fill
from sweeper.words.errors import ConfigError


class Clipping:
    """Call it after each backward pass; `share()` says how many of the steps since the last call were clipped.

    Every number of the gradients lies in [-value, value] afterwards, then their norm is at most `norm`; None: any.
    """

    def __init__(self, parameters: Iterable[Tensor], *, norm: float | None = None, value: float | None = None) -> None:
        for key, limit in (("norm", norm), ("value", value)):
            if limit is not None and not limit > 0:
                raise ConfigError(f"`clipping.{key} > 0` must hold, but got {limit}; null clips nothing.")
        self.norm, self.value = norm, value
        self._parameters = list(parameters)
        self._steps, self._clipped = 0, torch.zeros(())

    def __bool__(self) -> bool:
        """Whether there is a limit at all."""
        return self.norm is not None or self.value is not None

    def __call__(self) -> None:
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        # a tensor that nobody waits for: asking the device for a number in each step would stall a GPU
        is_clipped = torch.zeros((), dtype=torch.bool, device=gradients[0].device)
        if self.value is not None:
            is_clipped = is_clipped | (get_total_norm(gradients, math.inf) > self.value)
            clip_grad_value_(self._parameters, self.value)
        if self.norm is not None:
            is_clipped = is_clipped | (clip_grad_norm_(self._parameters, self.norm) > self.norm)
        self._steps += 1
        self._clipped = self._clipped.to(is_clipped.device) + is_clipped

    def share(self) -> float:
        """The share of the steps since the last call whose gradient was clipped, in [0, 1]."""
        share = self._clipped.item() / max(1, self._steps)
        self._steps, self._clipped = 0, torch.zeros(())
        return share


def build(settings: Mapping[str, Any], parameters: Iterable[Tensor]) -> Clipping:
    """The clipping of a `clipping` config: `norm` and `value`, null for none."""
    return fill("clipping", Clipping, settings, parameters)
