"""One epoch of training, and an evaluation: losses are means per example.

Neither asks the device for a number before its end: `.item()` in each step would wait for the GPU each time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.training.batches import Batches
from sweeper.training.data import Examples
from sweeper.training.goals import Goal
from sweeper.training.optimizers import takes_all_examples

# Examples per forward pass of an evaluation: a CNN's activations for 10,000 images at once would take gigabytes.
EVALUATION_BATCH = 1024


def train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Batches,
    goal: Goal,
    *,
    penalty: Callable[[], Tensor] | None = None,
    before_step: Callable[[], object] | None = None,
    after_step: Callable[[], object] | None = None,
) -> float:
    """One step per batch; the mean loss per example over the epoch, each batch's taken before its step.

    `penalty` is trained beside the loss, and no part of the number returned. `before_step` is called with the gradients
    there, `after_step` with the new weights. L-BFGS takes one step on all the examples instead.
    """
    model.train()
    if takes_all_examples(optimizer):
        return _train_on_all(model, optimizer, batches, goal, penalty, after_step)
    total = torch.zeros((), device=batches.examples.targets.device)
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss = goal.loss(model(inputs), targets)
        (loss if penalty is None else loss + penalty()).backward()
        if before_step is not None:
            before_step()
        optimizer.step()
        if after_step is not None:
            after_step()
        total += loss.detach() * len(targets)
    return total.item() / len(batches.examples)


def _train_on_all(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Batches,
    goal: Goal,
    penalty: Callable[[], Tensor] | None,
    after_step: Callable[[], object] | None,
) -> float:
    """One step whose closure is the loss of all examples, in parts; the loss before it.

    Its line search compares losses of several weights, so augmentation and dropout draw once for the whole step.
    """
    inputs, targets = batches.whole()
    parts = -(-len(targets) // EVALUATION_BATCH)
    seed = int(torch.randint(2**62, (), generator=batches.generator))
    devices = [inputs.device] if inputs.is_cuda else []
    losses: list[Tensor] = []

    def closure() -> float:
        optimizer.zero_grad()
        total = torch.zeros((), device=targets.device)
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for some, wanted in zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True):
                loss = goal.loss(model(some), wanted) * (len(wanted) / len(targets))
                loss.backward()
                total += loss.detach()
        losses.append(total)
        if penalty is None:
            return total.item()
        extra = penalty()
        extra.backward()
        return total.item() + extra.item()

    optimizer.step(closure)
    if after_step is not None:
        after_step()
    return losses[0].item()


def evaluate(model: nn.Module, examples: Examples, goal: Goal, name: str) -> dict[str, float]:
    """Loss and score without dropout, named for a report: `{"val_loss": 0.1, "val_accuracy": 0.97}` for name="val"."""
    outputs = predict(model, examples.inputs)
    loss, score = goal.loss(outputs, examples.targets), goal.score(outputs, examples.targets)
    return {f"{name}_loss": loss.item(), f"{name}_{goal.score_name}": score.item()}


@torch.inference_mode()
def predict(model: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs (N, K) for inputs (N, ...), in evaluation mode and without gradients."""
    model.eval()
    return torch.cat([model(part) for part in inputs.split(EVALUATION_BATCH)])
