"""The names of metrics: which of them a script reports for itself, and which are monitors'."""

from __future__ import annotations

OBJECTIVE = "objective"
"""The metric that a returned float stands for."""

MONITORS = (
    *("monitor", "update_ratio", "weight_norm", "grad_norm"),
    *("activation_mean", "activation_std", "saturated", "dead"),
)
"""What monitors report is called `FAMILY/…`; see sweeper/training/monitors.py."""


def is_monitor(name: str) -> bool:
    """
    >>> is_monitor("grad_norm/loss_head"), is_monitor("val/loss")
    (True, False)
    """
    return "/" in name and name.partition("/")[0] in MONITORS
