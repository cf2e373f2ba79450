"""The units of a network: what its nonlinearities give out, and which of them are dead or saturated."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.training.monitors.layers import matrices, spread
from sweeper.training.monitors.readings import Reading, mean, wide

SATURATED = 0.97
"""Of a tanh's range (a sigmoid is a tanh, moved): beyond it the slope is below 6 % of its largest."""

NOTHING = 1e-6

RECTIFIERS = (nn.ReLU, nn.ReLU6)
SQUASHERS = (nn.Tanh, nn.Sigmoid)
NONLINEARITIES = (
    *RECTIFIERS,
    *SQUASHERS,
    *(nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid),
)


class Activations:
    """Mean and spread of what nonlinearities give out, and their dead or saturated units.

    The hooks are there during a pass that is looked at, and in no other. A module that is called several times in a
    pass counts each call for itself; one that gives out the network's answer is left out.
    """

    def __init__(self, model: nn.Module) -> None:
        compiled = hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None
        named = {} if compiled or isinstance(model, torch.jit.ScriptModule) else dict(model.named_modules())
        bends = {name: module for name, module in named.items() if isinstance(module, NONLINEARITIES)}
        self._watched = spread(bends or {name: module for name, module in named.items() if matrices(module)})
        self._handles: list[Any] = []
        self._answers: set[str] = set()
        self._last: tuple[str, Any] = ("", None)
        self._forget()

    def _forget(self) -> None:
        self._moments: dict[str, tuple[list[Tensor], list[Tensor], list[int]]] = {}
        self._saturated: dict[str, list[Tensor]] = {}
        self._alive: dict[tuple[str, int], Tensor] = {}

    def watch(self, model: nn.Module) -> None:
        """The pass of `model` that begins."""
        self.leave()
        self._calls: dict[str, int] = {}
        for name, module in self._watched.items():
            self._handles.append(module.register_forward_hook(functools.partial(self._note, name)))
        self._handles.append(model.register_forward_hook(self._answered))

    def leave(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._last = ("", None)

    def _answered(self, model: nn.Module, args: Any, answer: Any) -> None:
        if answer is not None and self._last[1] is answer:
            self._answers.add(self._last[0])
        self.leave()

    @torch.no_grad()
    def _note(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        self._last = (name, output)
        if not isinstance(output, Tensor) or not output.is_floating_point() or not output.numel():
            return
        call = self._calls[name] = self._calls.get(name, -1) + 1
        output = wide(output.detach())
        means, norms, counts = self._moments.setdefault(name, ([], [], []))
        means.append(output.mean())
        norms.append(torch.linalg.vector_norm(output))  # torch.var takes thirty times as long
        counts.append(output.numel())
        if isinstance(module, RECTIFIERS):
            largest, before = _largest(output), self._alive.get((name, call))
            known = before is not None and before.shape == largest.shape
            self._alive[name, call] = torch.maximum(largest, before) if known else largest  # type: ignore[arg-type]
        elif isinstance(module, SQUASHERS):
            centred = output if isinstance(module, nn.Tanh) else 2 * output - 1
            self._saturated.setdefault(name, []).append((centred.abs() > SATURATED).float().mean())

    @torch.no_grad()
    def collect(self) -> list[Reading]:
        found: list[Reading] = []
        for name, (means, norms, counts) in self._moments.items():
            if name in self._answers:
                continue
            found.append((f"activation_mean/{name}", mean, means))
            found.append((f"activation_std/{name}", functools.partial(_deviation, counts), means + norms))
            largest = [each for (other, _), each in self._alive.items() if other == name]
            if largest:
                found.append((f"dead/{name}", mean, [(torch.cat(largest) <= 0).float().mean()]))
            if name in self._saturated:
                found.append((f"saturated/{name}", mean, self._saturated[name]))
        self._forget()
        return found


def _deviation(counts: list[int], moments: list[float]) -> float:
    """Of outputs by their means and then their norms; 0 where it is no more than what single precision adds up to."""
    means, norms = moments[: len(counts)], moments[len(counts) :]
    squares = [norm * norm / count for norm, count in zip(norms, counts, strict=True)]
    variance = mean([square - each * each for square, each in zip(squares, means, strict=True)])
    return 0.0 if variance <= NOTHING * mean(squares) else math.sqrt(variance)


def _largest(output: Tensor) -> Tensor:
    """Of each unit, a channel of images, over all examples and places."""
    unit = output.ndim - 1 if output.ndim == 3 else min(1, output.ndim - 1)  # (N, T, F) are sequences
    others = [axis for axis in range(output.ndim) if axis != unit]
    return output.amax(dim=others) if others else output.reshape(-1)
