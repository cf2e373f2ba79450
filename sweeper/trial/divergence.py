"""When a training is lost, and what its record says beside the metric: step, learning rate, norm of the gradients.

A loss that is no number is the handle's business; here is what is lost though every number is finite. It is told as
FAIL `diverged` and not `error`: it is the parameters' doing, so a sampler is told that they are bad.

Circumstances are read from what the script reports and from the `state` that it checkpoints: whatever has
`param_groups` is an optimizer, whatever has `parameters()` a model; torch itself is not asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sweeper.words.metrics import is_monitor

STEPS = ("step", "steps", "global_step")
"""Metrics that say how many steps of the optimizer were taken."""
TRAINING_LOSS = re.compile(r"(^|[^a-z])train(ing)?([^a-z].*)?loss|^loss([^a-z].*train(ing)?)?$")
EXPLODED = 1e4
"""A training's loss is lost above so many times the first epoch's, and above so many. On digits, with a learning rate a
hundred times too high, it is 1e4 to 1e5 times that of guessing; a healthy one never was above three times its first.
A loss on the validation set is no sign: with batch norm it may be huge for an epoch and recover."""


def lost(first: Mapping[str, float | None], metrics: Mapping[str, float | None]) -> str | None:
    """Why this training cannot come to anything, by its `metrics` and the `first` ones that it reported; None: it may.

    Without a gradient it is lost only where a layer gives the same for every example too: a hinge loss that has
    learned all its examples has no gradient either.

    >>> lost({"train_loss": 2.3}, {"train_loss": 1e6})
    'train_loss is 1e+06, more than 10000 times the 2.3 of the first epoch'
    """
    for name, value in metrics.items():
        begun = first.get(name)
        if value is None or begun is None or is_monitor(name) or not TRAINING_LOSS.search(name.lower()):
            continue
        if value > EXPLODED * max(1.0, abs(begun)):
            return f"{name} is {value:.3g}, more than {EXPLODED:g} times the {begun:.3g} of the first epoch"
    norms = [value for name, value in metrics.items() if name.startswith("grad_norm/")]
    still = [name for name, value in metrics.items() if name.startswith("activation_std/") and value == 0]
    if still and norms and all(norm == 0 for norm in norms):
        layer = still[0].removeprefix("activation_std/")
        return f"nothing can be learned any more: no layer has a gradient, and {layer} gives the same for every example"
    return None


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
