"""Inputs as the model gets them: finite, about mean 0 and spread 1, features on one scale."""

from __future__ import annotations

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.check.training.sightings import Seen
from sweeper.words.numbers import listed, short

NAME = "inputs"
WIDE, NARROW = 10.0, 0.01
"""Spreads of all inputs together that no first weights are drawn for."""
OFF = 10.0
"""How many spreads the mean may lie from 0."""
UNEQUAL = 30.0
"""How many times the spread of the middle feature another one may have."""


def inputs(train: Seen, normalised: bool) -> Finding:
    """`normalised`: the model's first layer normalises, so that no scale matters."""
    if train.whole_numbers and not train.spread.count:
        return passes(NAME, "Whole numbers: nothing to scale.")
    spread = train.spread
    if not spread.count:
        return unknown(NAME, "Cannot tell: the model's inputs were not seen.", "Call the model with tensors.")
    if not spread.finite:
        return fails(NAME, "Inputs hold values that are NaN or infinite.", "Drop or fill what is missing.")
    means, spreads = spread.means, spread.spreads
    varied = spreads[spreads > 0]
    constant = int((spreads == 0).sum())
    numbers = {
        "mean": spread.mean,
        "spread": spread.spread,
        "low": spread.low,
        "high": spread.high,
        "features": len(spreads),
        "constant": constant,
    }
    told = f"mean {short(spread.mean)}, spread {short(spread.spread)}, from {short(spread.low)} to {short(spread.high)}"
    if normalised:
        return passes(NAME, f"The first layer normalises them ({told}).", **numbers)
    if not len(varied):
        return fails(NAME, f"All inputs are the same ({told}).", "Look at how they are loaded.", **numbers)
    cure = "Take away each feature's mean and divide by its spread, both of the training set (images: of all pixels)."
    wide = float(varied.median()) * UNEQUAL
    unequal = [index for index, each in enumerate(spreads.tolist()) if each > wide] if len(varied) > 2 else []
    far = float(((means.abs() / spreads.clamp(min=1e-12))[spreads > 0]).median())
    if spread.spread > WIDE or spread.spread < NARROW or unequal or far > OFF:
        names = [f"feature {index}: spread {short(float(spreads[index]))}" for index in unequal]
        middle = short(float(varied.median()))
        problems = [f"far above the middle one's {middle}: {listed(names)}"] if names else []
        return fails(NAME, f"Inputs are not scaled: {told}.", cure, *problems, **numbers)
    return passes(NAME, f"Inputs are scaled: {told}.", **numbers)
