"""Backward against centred differences, (f(x+h) − f(x−h)) / 2h, in double precision on few examples.

The relative error |a − n| / max(|a|, |n|) is judged with CS231n's thresholds: above 1e-2 the gradient is probably
wrong; 1e-4 is good with kinks (ReLU, max-pooling), 1e-7 without. A difference that straddles a kink is wrong although
the gradient is right: such ones are taken again with a smaller step, and fewer examples straddle less.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.training.task import Loss, Task
from sweeper.words.errors import ConfigError
from sweeper.words.numbers import listed

NAME = "gradients"
EXAMPLES = 4
WRONG, KINKS, SMOOTH = 1e-2, 1e-4, 1e-7
STEPS = (1e-5, 1e-6, 1e-7)
DIRECTIONS = 2
"""Random ones for each tensor: every element of it takes part."""
TENSORS = 40
"""At most so many tensors are looked at, spread over the model."""
NOTHING = 1e-9
"""Below, both count as zero: rounding is all there is."""
KINKED = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6, nn.Hardtanh, nn.ELU, nn.SELU, nn.MaxPool1d, nn.MaxPool2d)


@dataclass(frozen=True)
class Difference:
    """One tensor's worst direction: what backward says along it, what the differences say."""

    name: str
    analytic: float
    numeric: float

    @property
    def error(self) -> float:
        largest = max(abs(self.analytic), abs(self.numeric))
        return 0.0 if largest < NOTHING else abs(self.analytic - self.numeric) / largest


def gradients(task: Task) -> Finding:
    try:
        found = differences(task)
    except ConfigError as error:
        return unknown(NAME, f"Cannot tell: {error}.")
    except Exception as error:  # a layer that knows single precision alone
        why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return unknown(NAME, f"Cannot tell: the model does not run in double precision ({why:.120}).")
    if not found:
        return unknown(NAME, "Cannot tell: no parameter has a gradient (see movement).")
    worst = max(found, key=lambda each: each.error)
    kinked = any(isinstance(module, KINKED) for module in task.model.modules())
    numbers = {"error": worst.error, "tensor": worst.name, "tensors": len(found)}
    said = f"relative error {worst.error:.0e} at worst, over {len(found)} tensors in double precision"
    if worst.error > WRONG:
        wrong = [each for each in found if each.error > WRONG]
        lines = [f"{e.name}: backward says {e.analytic:.4g}, differences {e.numeric:.4g}" for e in wrong]
        return fails(
            NAME,
            f"Backward is wrong: {said} (above {WRONG:g}), in {listed([each.name for each in wrong])}.",
            "Look at the backward of your own autograd functions, at in-place changes and at detach() or .data.",
            *lines,
            **numbers,
        )
    if worst.error > KINKS:
        return unknown(
            NAME,
            f"Uncomfortable: {said}, at {worst.name} ({worst.analytic:.4g} against {worst.numeric:.4g}).",
            "With kinks (ReLU, max-pooling) this may be chance; without any, or with a backward of your own, it is "
            "probably wrong.",
            **numbers,
        )
    grade = "good" if worst.error <= SMOOTH else "good with kinks" if kinked else "fair: 1e-7 where nothing has kinks"
    return passes(NAME, f"Backward agrees with centred differences: {said} ({grade}).", **numbers)


def differences(task: Task) -> list[Difference]:
    """Of each tensor the worst of its random directions. Raises ConfigError where the loss is no fixed number."""
    model = task.copied().cpu().double()  # not every device knows double precision
    model.eval()  # a batch's own statistics tie the examples together; those that are stored are constants
    inputs, targets = task.some(EXAMPLES)
    inputs, targets = tuple(map(_double, inputs)), _double(targets)
    loss_of = _in_double(task.loss)

    def loss() -> Tensor:
        return loss_of(model(*inputs), targets)

    value = loss()
    if value.dtype != torch.float64:
        raise ConfigError(f"the loss of a model in double precision is {value.dtype}: something casts it")
    if float(value.detach()) != float(loss().detach()):
        raise ConfigError("the same examples and weights give another loss each time, though dropout is off")
    named = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
    grads = torch.autograd.grad(value, [each for _, each in named], allow_unused=True)
    used = [(name, each, grad) for (name, each), grad in zip(named, grads, strict=True) if grad is not None]
    spread = used[:: max(1, -(-len(used) // TENSORS))]
    random = torch.Generator().manual_seed(0)
    return [_worst(name, each, grad, loss, random) for name, each, grad in spread]


def _worst(name: str, tensor: Tensor, grad: Tensor, loss: Callable[[], Tensor], random: torch.Generator) -> Difference:
    found = []
    for _ in range(DIRECTIONS):
        signs = torch.randint(0, 2, tensor.shape, generator=random).mul_(2).sub_(1).to(tensor)
        direction = signs / tensor.numel() ** 0.5
        analytic = float((grad * direction).sum())
        attempts = []
        for step in STEPS:
            attempts.append(Difference(name, analytic, _centred(tensor, direction, step, loss)))
            if attempts[-1].error <= KINKS:
                break
        found.append(min(attempts, key=lambda each: each.error))
    return max(found, key=lambda each: each.error)


@torch.no_grad()
def _centred(tensor: Tensor, direction: Tensor, step: float, loss: Callable[[], Tensor]) -> float:
    before = tensor.detach().clone()
    tensor.copy_(before + step * direction)
    above = float(loss())
    tensor.copy_(before - step * direction)
    below = float(loss())
    tensor.copy_(before)
    return (above - below) / (2 * step)


def _double(values: Tensor) -> Tensor:
    return values.double().cpu() if values.is_floating_point() else values.cpu()


def _in_double(loss: Loss) -> Loss:
    """A module's own tensors are taken along."""
    return copy.deepcopy(loss).cpu().double() if isinstance(loss, nn.Module) else loss
