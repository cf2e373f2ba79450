"""The layers of a network: those with a weight matrix, and the norms of weights, gradients and updates of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.training.monitors.readings import Reading, mean, ratio, rms, wide

MOST_LAYERS = 8
"""Of a deeper network the first, the last and some between; each layer is some ten numbers an epoch in the store."""
MOST_ENTRIES = 65_536
"""Of a larger weight so many entries, evenly spread, tell its update: the copy of the step before stays small."""


class Weights:
    """Norms of the weights, of their gradients and of their updates, layer by layer."""

    def __init__(self, model: nn.Module) -> None:
        found = ((name, matrices(module)) for name, module in model.named_modules())
        layers = spread({name: own for name, own in found if own})
        self._names = [name for name, own in layers.items() for _ in own]
        self._parameters = [matrix for own in layers.values() for matrix in own]
        self._whole = {name: _growth(own) for name, own in layers.items()}
        self._last = next((each for each in reversed(self._parameters) if each.requires_grad), None)
        self._before: list[Tensor] = []
        self._hook: Any = None
        self._forget()

    def _forget(self) -> None:
        self._steps = 0
        self._updates: dict[str, list[Tensor]] = {}
        self._sizes: dict[str, list[Tensor]] = {}
        self._gradients: dict[str, list[Tensor]] = {}
        self._carried: list[Tensor] = []

    def arm(self) -> None:
        """Before the backward pass of the next step: is there a gradient of an earlier step still?"""
        self.disarm()
        if self._last is not None and self._last.requires_grad:
            self._hook = self._last.register_hook(self._incoming)

    def disarm(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    def _incoming(self, gradient: Tensor) -> None:
        """Once a step: its later gradients may be added to its first on purpose."""
        self.disarm()
        assert self._last is not None
        there = self._last.grad
        self._carried.append(torch.zeros(()) if there is None else _dense(there.detach()).abs().amax())

    @torch.no_grad()
    def before(self, scale: Tensor | None) -> None:
        """`scale`: gradients are still that many times too large, where the step itself unscales them."""
        known = zip(self._names, self._parameters, strict=True)
        having = [(name, _dense(each.grad)) for name, each in known if each.grad is not None]
        norms = _norms([gradient for _, gradient in having])
        for (name, _), norm in zip(having, norms, strict=True):
            self._gradients.setdefault(name, []).append(norm if scale is None else norm / scale)
        self._before = [_thinned(each).clone() for each in self._parameters]

    @torch.no_grad()
    def after(self) -> None:
        if not self._before:  # no layer, or the step was not begun under watch
            return
        now = [_thinned(each) for each in self._parameters]
        updates, sizes = _norms(torch._foreach_sub(now, self._before)), _norms(now)
        for name, update, size in zip(self._names, updates, sizes, strict=True):
            self._updates.setdefault(name, []).append(update)
            self._sizes.setdefault(name, []).append(size)
        self._before = []
        self._steps += 1

    def collect(self) -> list[Reading]:
        steps = self._steps
        found: list[Reading] = []
        for name, updates in self._updates.items():
            sizes, whole = self._sizes[name], self._whole[name]
            found.append((f"update_ratio/{name}", ratio, updates + sizes))
            found.append((f"weight_norm/{name}", lambda norms, whole=whole: whole * rms(norms, steps), sizes))  # type: ignore[misc]
            if name in self._gradients:
                found.append((f"grad_norm/{name}", lambda norms: rms(norms, steps), self._gradients[name]))
        if self._carried:
            found.append(("monitor/carried", lambda left: mean([each > 0 for each in left]), self._carried))
        self._forget()
        return found


def matrices(module: nn.Module) -> list[nn.Parameter]:
    """The weights of a layer itself; a bias or a norm's gain has no size that an update could be compared with."""
    own = (parameter for parameter in module.parameters(recurse=False))
    return [each for each in own if each.ndim >= 2 and not isinstance(each, nn.UninitializedParameter)]


def spread(layers: Mapping[str, Any]) -> dict[str, Any]:
    """At most `MOST_LAYERS`, the first and the last among them; the network itself is called `model`."""
    names = list(layers)
    if len(names) > MOST_LAYERS:
        names = [names[index * (len(names) - 1) // (MOST_LAYERS - 1)] for index in range(MOST_LAYERS)]
    return {name or "model": layers[name] for name in names}


def _thinned(parameter: Tensor) -> Tensor:
    """At most `MOST_ENTRIES` of it, evenly."""
    values = parameter.detach()
    return values if values.numel() <= MOST_ENTRIES else values.reshape(-1)[:: _stride(values)]


def _stride(values: Tensor) -> int:
    """It has no divisor in common with the length of a row: else some columns would never be seen."""
    stride = -(-values.numel() // MOST_ENTRIES)
    while stride > 1 and math.gcd(stride, values[0].numel()) > 1:
        stride += 1
    return stride


def _growth(parameters: Sequence[Tensor]) -> float:
    """How much larger the norm of a whole layer is than that of the entries which are looked at."""
    seen = sum(-(-each.numel() // _stride(each)) for each in parameters)
    return math.sqrt(sum(each.numel() for each in parameters) / max(1, seen))


def _norms(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    return torch._foreach_norm([wide(each) for each in tensors]) if tensors else ()


def _dense(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient
