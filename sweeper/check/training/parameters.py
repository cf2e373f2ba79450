"""What is known of the parameters: the first weights, where gradients arrive and are zeroed, what moves and decays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.check.training.regularisation import Decay
from sweeper.check.training.sightings import FIRST, NORMS, ParameterSeen, units_alike


class Parameters:
    """Those of every optimizer that steps.

    Attributes:
        seen: each of them after the epoch.
        stale: of `asked` backward passes that came first after a step, those that found gradients from before.
    """

    def __init__(self) -> None:
        self.optimizers: list[Optimizer] = []
        self.decays: list[Decay] = []
        self.seen: list[ParameterSeen] = []
        self.stale = self.asked = 0
        self._initial: list[tuple[Tensor, Tensor]] = []
        self._unused: dict[int, Tensor] = {}
        self._used: set[int] = set()
        self._stepped = False

    @property
    def several(self) -> bool:
        """Optimizers."""
        return len(self.optimizers) > 1

    def owned(self) -> set[int]:
        """The ids of those that an optimizer has."""
        return {id(each) for each in _owned(self.optimizers)}

    # ---- steps -------------------------------------------------------------------------------------------------------

    def meet(self, optimizer: Optimizer) -> None:
        """Before its first step."""
        self.optimizers.append(optimizer)
        self.remember(_owned([optimizer]))

    def expect(self, optimizer: Optimizer) -> None:
        """Gradients at each of its parameters, and the decay of each of its groups."""
        self._unused.update({id(each): each for each in _owned([optimizer])})
        decoupled = type(optimizer).__name__ in ("AdamW",) or bool(optimizer.defaults.get("decoupled_weight_decay"))
        for group in optimizer.param_groups:
            squares = sum(float(each.detach().float().square().sum()) for each in group["params"])
            self.decays.append(Decay(float(group.get("weight_decay") or 0), squares, float(group["lr"]), decoupled))

    def before_backward(self) -> None:
        """The first one after a step must find no gradients."""
        if not self._stepped or self.asked >= FIRST:
            return
        self._stepped = False
        self.asked += 1
        self.stale += any(
            parameter.grad is not None and bool(parameter.grad.any()) for parameter in _owned(self.optimizers)
        )

    def look_at_gradients(self) -> None:
        for key, parameter in list(self._unused.items()):
            if parameter.grad is not None and bool(parameter.grad.any()):
                self._used.add(key)
                del self._unused[key]

    def stepped(self) -> None:
        self.look_at_gradients()
        self._stepped = True

    # ---- the first weights -------------------------------------------------------------------------------------------

    def remember(self, state: list[Tensor]) -> None:
        """As it is before the first step."""
        known = {id(each) for each, _ in self._initial}
        self._initial += [(each, each.detach().to("cpu", copy=True)) for each in state if id(each) not in known]

    @torch.no_grad()
    def restore(self) -> None:
        """The first weights, again."""
        for tensor, first in self._initial:
            if tensor.shape == first.shape:
                tensor.copy_(first)

    def look_back(self, modules: Sequence[nn.Module]) -> None:
        """At what has become of the parameters of these."""
        self.seen = list(self._seen(modules))

    def _seen(self, modules: Sequence[nn.Module]) -> Iterator[ParameterSeen]:
        owned = self.owned()
        before = {id(each): first for each, first in self._initial}
        for module in modules:
            prefix = f"{type(module).__name__}." if len(modules) > 1 else ""
            normalises = any(isinstance(each, NORMS) for each in module.modules())
            for name, each in module.named_parameters():
                yield ParameterSeen(
                    name=prefix + name,
                    count=each.numel(),
                    trainable=each.requires_grad,
                    owned=id(each) in owned,
                    used=id(each) in self._used,
                    moved=id(each) in before and not torch.equal(before[id(each)], each.detach().cpu()),
                    alike=units_alike(each),
                    idle=normalises and each.ndim == 1 and name.endswith("bias"),
                )


def _owned(optimizers: list[Optimizer]) -> list[Tensor]:
    return [each for optimizer in optimizers for group in optimizer.param_groups for each in group["params"]]
