"""A model, its loss and some examples: what can be trained again, beside the training itself.

Most scripts need none of this: their own training is watched. One whose loss or model cannot be seen names a function
that returns a `Task`: `sweeper check train.py:task`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.words.errors import ConfigError

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Task:
    """`loss(model(*inputs), targets)` is what is trained; every tensor holds N examples along its first dimension.

    Attributes:
        model: with its first weights.
        loss: a mean over the examples.
        inputs, targets: the training set; `inputs` may be several tensors.
        val_inputs, val_targets: the validation set.
        optimizer: over the model's parameters; None: Adam.
        batch_size: of one step.
    """

    model: nn.Module
    loss: Loss
    inputs: Tensor | Sequence[Tensor]
    targets: Tensor
    val_inputs: Tensor | Sequence[Tensor] | None = None
    val_targets: Tensor | None = None
    optimizer: Optimizer | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        self.inputs = tensors(self.inputs)
        if not self.inputs or any(len(each) != len(self.targets) for each in self.inputs):
            raise ConfigError(
                "A task's inputs and targets hold the same number of examples, but got inputs "
                f"{[tuple(each.shape) for each in self.inputs]} and targets {tuple(self.targets.shape)}."
            )

    def __len__(self) -> int:
        return len(self.targets)

    def copied(self) -> nn.Module:
        """The model with its first weights, its own to change. Raises ConfigError where a model cannot be copied."""
        try:
            model = copy.deepcopy(self.model)
        except Exception as error:
            raise ConfigError(f"the model cannot be copied ({type(error).__name__}: {error})") from error
        model.zero_grad(set_to_none=True)
        return model

    def some(self, count: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """The first `count` examples that differ from one another."""
        index, seen = [], set()
        for row in range(len(self)):
            bits = b"".join(each[row].detach().cpu().contiguous().numpy().tobytes() for each in tensors(self.inputs))
            if bits not in seen:
                seen.add(bits)
                index.append(row)
            if len(index) == count:
                break
        where = torch.tensor(index, device=self.targets.device)
        return tuple(each[where] for each in tensors(self.inputs)), self.targets[where]


def tensors(inputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def without_dropout(model: nn.Module) -> nn.Module:
    """The same function of the inputs each time: nothing is dropped, in modules and in functions.

    Evaluation mode, unless a layer learns otherwise in it: batch normalisation, recurrent layers on a GPU.
    """
    model.eval()
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm | nn.RNNBase) for module in model.modules()):
        model.train()
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
            elif isinstance(module, nn.RNNBase | nn.MultiheadAttention):
                module.dropout = 0.0
    return model


def rehearse(task: Task) -> None:
    """Train it, as a script would; whoever watches ends it."""
    model, count = task.model, len(task)
    inputs = tensors(task.inputs)
    optimizer = task.optimizer or torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_of = task.loss if isinstance(task.loss, nn.Module) else Criterion(task.loss)
    while True:
        model.train()
        for index in torch.randperm(count).to(task.targets.device).split(task.batch_size):
            optimizer.zero_grad()
            loss = loss_of(model(*(each[index] for each in inputs)), task.targets[index])
            loss.backward()
            optimizer.step()
        if task.val_inputs is not None and task.val_targets is not None:
            model.eval()
            with torch.no_grad():
                loss_of(model(*tensors(task.val_inputs)), task.val_targets)


class Criterion(nn.Module):
    """A function as a module, so that a call of it can be seen."""

    def __init__(self, function: Loss) -> None:
        super().__init__()
        self.function = function

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.function(outputs, targets)
