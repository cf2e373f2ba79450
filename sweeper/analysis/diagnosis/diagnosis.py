"""One thing that the curves say: what it is, the numbers that say so, what to do, and whose rule it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MOST = 5
"""Diagnoses that are told: a person acts on the first one, and then asks again."""

CS231N = "CS231n, Neural Networks Part 3 (cs231n.github.io/neural-networks-3)"
CS231N_2 = "CS231n, Neural Networks Part 2 (cs231n.github.io/neural-networks-2)"
CS231N_1 = "CS231n, Neural Networks Part 1 (cs231n.github.io/neural-networks-1)"
RECIPE = "Karpathy, A Recipe for Training Neural Networks (2019)"
PLAYBOOK = "Godbole et al., Deep Learning Tuning Playbook (2023)"
GLOROT = "Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks (2010)"


class Severity(StrEnum):
    """The graver a diagnosis, the earlier it is told."""

    BROKEN = "broken"
    """Nothing is learned, or what is learned is not what was asked for: mend it before anything is searched."""
    BAD = "bad"
    """It learns, far worse than it could."""
    HINT = "hint"
    """There is something to be had."""


class Kind(StrEnum):
    NO_GRADIENT = "no_gradient"
    DIVERGED = "diverged"
    GRADIENTS_CARRIED = "gradients_carried"
    LR_TOO_HIGH = "lr_too_high"
    LR_TOO_LOW = "lr_too_low"
    VANISHING = "vanishing_gradients"
    EXPLODING = "exploding_gradients"
    DEAD = "dead_units"
    SATURATED = "saturated_units"
    FROZEN = "frozen_layer"
    SOFTMAX_TWICE = "softmax_twice"
    CHANCE = "stuck_at_chance"
    RISING = "loss_rising"
    REGULARISED = "regularised_too_much"
    UNDERFITTING = "underfitting"
    OVERFITTING = "overfitting"
    NOISY = "noisy"
    IMPROVING = "still_improving"
    SETTLED = "settled_early"
    DIVERGING_REGION = "diverging_region"
    THIN = "thinly_sampled"
    IMPORTANT = "what_matters"


@dataclass(frozen=True)
class Diagnosis:
    """`sentence` has the numbers of `evidence` in it; `cure` says what to do; `source` whose rule it is."""

    kind: Kind
    severity: Severity
    sentence: str
    cure: str
    source: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """JSON-plain."""
        words = {"kind": self.kind.value, "severity": self.severity.value}
        told = {name: getattr(self, name) for name in ("sentence", "cure", "source")}
        return {**words, **told, "evidence": dict(self.evidence)}


def share(value: float) -> str:
    """
    >>> share(0.934), share(0.004)
    ('93 %', '0.4 %')
    """
    return f"{100 * value:.0f} %" if value >= 0.01 or value == 0 else f"{100 * value:.1g} %"
