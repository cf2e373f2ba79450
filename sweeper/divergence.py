"""What a diverged trial's record says beside the metric: its step, the learning rate, the norm of the gradients.

Read from what the script reports and from the `state` that it checkpoints: whatever has `param_groups` is an optimizer,
whatever has `parameters()` a model; torch itself is not asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

STEPS = ("step", "steps", "global_step")
"""Metrics that say how many steps of the optimizer were taken."""


def circumstances(state: Mapping[str, Any] | None, metrics: Mapping[str, float | None]) -> str:
    """` (step 1240, lr 0.31, gradient norm 4.1e+07)`, as far as they are known; '' without any.

    >>> circumstances(None, {"val_loss": None, "step": 1240.0})
    ' (step 1240)'
    """
    steps = [f"step {metrics[name]:g}" for name in STEPS if metrics.get(name) is not None][:1]
    try:
        told = [*steps, *_of_state(list((state or {}).values()))]
    except Exception:  # a strange optimizer must not hide that the trial diverged
        told = steps
    return f" ({', '.join(told)})" if told else ""


def _of_state(held: list[Any]) -> list[str]:
    groups = [group for each in held for group in getattr(each, "param_groups", ())]
    rates = dict.fromkeys(f"{float(group['lr']):.3g}" for group in groups if "lr" in group)
    parameters = [parameter for group in groups for parameter in group["params"]]
    models = [each for each in held if callable(getattr(each, "parameters", None))]
    norm = _norm(parameters or (parameter for model in models for parameter in model.parameters()))
    return [
        *([f"lr {' and '.join(rates)}"] if rates else []),
        *([f"gradient norm {norm:.2g}"] if norm is not None else []),
    ]


def _norm(parameters: Iterable[Any]) -> float | None:
    """Of all gradients together, as the last step has left them; None without any."""
    gradients = [each.grad for each in parameters if getattr(each, "grad", None) is not None]
    return math.hypot(*(float(gradient.detach().norm()) for gradient in gradients)) if gradients else None
