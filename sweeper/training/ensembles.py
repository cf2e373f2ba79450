"""Several trained models that answer as one, chosen on the validation set without training anything again.

What is averaged are probabilities for a classification and outputs for everything else. The weights are those of
Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of Models" (ICML 2004): begin with the
model, add again and again the one that makes the average best, the same one more than once too, and keep the best that
was met on the way. How often each was taken is its weight.

The validation set has chosen, so what it says of the gain is optimistic. The bootstrap says both how uncertain the gain
is, and what it is on examples that took no part in the choice: each sample chooses anew, and the examples that are not
in the sample judge (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 17).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.training.goals import Goal
from sweeper.training.loop import predict

PROBABILITIES, OUTPUTS = "probabilities", "outputs"
ROUNDS = 25
"""How often a model is added; a weight is a multiple of 1/25 or more."""
SAMPLES = 1000
"""Of the bootstrap."""
ELECTIONS = 100
"""Of these so many choose anew: each costs as much as the choice itself."""


def averaged(goal: Goal) -> str:
    """What an ensemble averages for this goal."""
    return PROBABILITIES if goal.name == "classification" else OUTPUTS


def answers(outputs: Tensor, kind: str) -> Tensor:
    """Outputs (N, K) of a model as what is averaged, in double precision."""
    return outputs.double().softmax(dim=1) if kind == PROBABILITIES else outputs.double()


def as_outputs(answers: Tensor, kind: str) -> Tensor:
    """Averaged answers as outputs that a goal takes: its softmax of a logarithm gives the probabilities back."""
    return answers.clamp_min(torch.finfo(answers.dtype).tiny).log() if kind == PROBABILITIES else answers


class Ensemble(nn.Module):
    """Models with the same inputs and outputs, and a weight for each: inputs (N, ...) -> averaged answers (N, K)."""

    if TYPE_CHECKING:

        def __call__(self, inputs: Tensor) -> Tensor: ...

    def __init__(self, members: Sequence[nn.Module], weights: Sequence[float], kind: str) -> None:
        super().__init__()
        self.members: nn.ModuleList = nn.ModuleList(members)
        self.weights: tuple[float, ...] = tuple(weights)
        self.kind = kind

    def forward(self, inputs: Tensor) -> Tensor:
        """Without dropout and without gradients, in the members' precision."""
        place = next(self.parameters()).device
        outputs = [predict(member, inputs.to(place)) for member in self.members]
        told = [weight * answers(each, self.kind) for weight, each in zip(self.weights, outputs, strict=True)]
        return torch.stack(told).sum(dim=0).to(outputs[0].dtype)


# ---- the choice ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Votes:
    """What M models say of the same N examples. `values` (M, N, ...) may be averaged, `losses` of them are (M, N)."""

    values: Tensor
    losses: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, each: Tensor, targets: Tensor, goal: Goal) -> Votes:
        """`each` (M, N, K): the answers of each model."""
        if averaged(goal) == PROBABILITIES:  # of all K only that of the right class counts
            right = targets.long().expand(len(each), -1).unsqueeze(2)
            return cls(each.gather(2, right).squeeze(2), lambda value: -value.clamp_min(1e-300).log())
        one = torch.vmap(lambda output, target: goal.loss(output.unsqueeze(0), target.unsqueeze(0)))
        wanted = targets.to(each)

        def losses(values: Tensor) -> Tensor:
            many = wanted.expand(len(values), *wanted.shape)
            each: Tensor = one(values.flatten(0, 1), many.flatten(0, 1)).unflatten(0, values.shape[:2])
            return each

        return cls(each, losses)

    def average(self, weights: Tensor) -> Tensor:
        """The losses (N,) of the models' average, weighted by (M,)."""
        return self.losses(torch.tensordot(weights, self.values, dims=1).unsqueeze(0))[0]

    def greedy(self, shares: Tensor) -> Tensor:
        """Weights (M,), which add up to 1; `shares` (N,) is how much each example counts."""
        counts, total = torch.zeros(len(self.values), dtype=shares.dtype), torch.zeros_like(self.values[0])
        best, chosen = float("inf"), counts
        for size in range(1, ROUNDS + 1):
            losses = self.losses((total + self.values) / size) @ shares
            index = int(losses.argmin())
            total, counts = total + self.values[index], counts.clone()
            counts[index] += 1
            if losses[index] < best:
                best, chosen = float(losses[index]), counts / size
        return chosen


@dataclass(frozen=True)
class Choice:
    """The ensemble and what it gains over the best single model, as a difference of mean losses: above 0 is better.

    Attributes:
        weights: one for each model, 0 for those that take no part.
        single: the index of the model with the lowest loss.
        gain: on the validation set, which has chosen both.
        error: its standard error over validation examples.
        gain_elsewhere: on examples that took no part in the choice, by the bootstrap; None where there are too few.
    """

    weights: tuple[float, ...]
    single: int
    gain: float
    error: float
    gain_elsewhere: float | None


def choose(votes: Votes, elections: int = ELECTIONS) -> Choice:
    """The greedy ensemble of the models, and its gain."""
    count = votes.values.shape[1]
    alone = votes.losses(votes.values)
    everyone = torch.full((count,), 1 / count, dtype=alone.dtype)
    weights, single = votes.greedy(everyone), int((alone @ everyone).argmin())
    gains = alone[single] - votes.average(weights)
    random = np.random.default_rng(0)
    drawn = torch.from_numpy(random.multinomial(count, np.full(count, 1 / count), size=SAMPLES)).to(alone) / count
    left_out = [_gain_left_out(votes, alone, shares) for shares in drawn[:elections]]
    elsewhere = [gain for gain in left_out if gain is not None]
    return Choice(
        weights=tuple(weights.tolist()),
        single=single,
        gain=float(gains.mean()),
        error=float((drawn @ gains).std()),
        gain_elsewhere=float(np.mean(elsewhere)) if elsewhere else None,
    )


def _gain_left_out(votes: Votes, alone: Tensor, shares: Tensor) -> float | None:
    """Both chosen on a sample, and compared on the examples that are not in it."""
    left = shares == 0
    if not left.any():
        return None
    single = int((alone @ shares).argmin())
    return float((alone[single] - votes.average(votes.greedy(shares)))[left].mean())
