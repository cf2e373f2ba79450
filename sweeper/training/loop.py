"""One epoch of training, and an evaluation: losses are means per example.

Neither asks the device for a number before its end: `.item()` in each step would wait for the GPU each time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.training.batches import Batches
from sweeper.training.data import Examples
from sweeper.training.goals import Goal

# Examples per forward pass of an evaluation: a CNN's activations for 10,000 images at once would take gigabytes.
EVALUATION_BATCH = 1024


def train_epoch(model: nn.Module, optimizer: Optimizer, batches: Batches, goal: Goal) -> float:
    """One step per batch; the mean loss per example over the epoch, each batch's taken before its step."""
    model.train()
    total = torch.zeros((), device=batches.examples.targets.device)
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss = goal.loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(targets)
    return total.item() / len(batches.examples)


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
