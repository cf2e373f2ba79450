"""What the loss gets: logits or probabilities as it expects them, of the targets' shape."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.check.training.sightings import Call, Kind

NAME = "outputs"


def outputs(first: Call | None) -> Finding:
    if first is None:
        return unknown(NAME, "Cannot tell: no loss of torch.nn.functional was seen.", "See chance.")
    values = first.outputs.detach()
    if not bool(torch.isfinite(values).all()):
        return fails(NAME, "The first outputs are not all finite.", "Look at the inputs, and at logarithms and roots.")
    if first.name == "cross_entropy" and (first.squashed == "softmax" or _sums_to_one(values)):
        return fails(
            NAME,
            "Softmax twice: cross_entropy takes logits, but gets outputs that are non-negative and sum to one.",
            "Leave the softmax out of the model; the loss has its own. With it the loss of C classes cannot fall below "
            "log(1 + (C − 1)/e), and its gradient is small.",
        )
    if first.name == "nll_loss" and values.numel() and float(values.min()) >= 0:
        return fails(
            NAME,
            "nll_loss takes logarithms of probabilities, but gets outputs that are not negative.",
            "Use cross_entropy on the logits, or log_softmax before nll_loss.",
        )
    if first.name == "binary_cross_entropy_with_logits" and first.squashed == "sigmoid":
        return fails(
            NAME,
            "Sigmoid twice: binary_cross_entropy_with_logits takes logits, but gets a sigmoid's outputs.",
            "Leave the sigmoid out of the model; the loss has its own.",
        )
    if first.kind is Kind.NUMBERS and values.shape != first.targets.shape:
        shapes = f"{tuple(values.shape)} and {tuple(first.targets.shape)}"
        return fails(
            NAME,
            f"Outputs and targets differ in shape, {shapes}: the loss compares every one with every other.",
            "Bring both to one shape: targets.unsqueeze(1), or outputs.squeeze(1).",
        )
    return passes(NAME, f"{first.name} gets outputs {tuple(values.shape)} as it expects them.")


def _sums_to_one(values: Tensor) -> bool:
    if values.ndim < 2 or values.shape[1] < 2 or not values.numel():
        return False
    return float(values.min()) >= 0 and bool(((values.sum(dim=1) - 1).abs() < 1e-3).all())
