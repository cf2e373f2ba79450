"""Every parameter gets a gradient and moves; gradients are zeroed between steps; the units of a layer differ."""

from __future__ import annotations

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.check.training.sightings import ParameterSeen
from sweeper.words.numbers import listed


def movement(parameters: list[ParameterSeen], steps: int, loaded: bool) -> Finding:
    """`loaded`: weights were read from a file, so that a part of them may well be frozen."""
    name = "movement"
    if not parameters or not steps:
        return unknown(name, "Cannot tell: no step of an optimizer over an nn.Module's parameters was seen.")
    count = sum(each.count for each in parameters)
    frozen = [each for each in parameters if not each.trainable]
    missed = [each for each in parameters if each.trainable and not each.owned]
    unused = [each for each in parameters if each.trainable and each.owned and not each.used and not each.idle]
    still = [
        each for each in parameters if each.trainable and each.owned and each.used and not (each.moved or each.idle)
    ]
    problems = [
        f"{words}: {listed([each.name for each in found])}"
        for words, found in (
            ("the optimizer does not have", missed),
            ("no gradient arrives at", unused),
            ("with a gradient, yet never moved", still),
            ("frozen (requires_grad=False)", [] if loaded else frozen),
        )
        if found
    ]
    stuck = sum(each.count for each in (*missed, *unused, *still, *([] if loaded else frozen)))
    numbers = {"parameters": count, "stuck": stuck, "frozen": sum(each.count for each in frozen), "steps": steps}
    if problems:
        return fails(
            name,
            f"{stuck:,} of {count:,} parameters stay as they were drawn.",
            "Give the optimizer model.parameters() after the whole model is built and moved; look for detach(), "
            "no_grad(), zeros as first weights, and layers that forward() leaves out.",
            *problems,
            **numbers,
        )
    rest = f", {numbers['frozen']:,} of them frozen beside weights that were loaded" if frozen else ""
    return passes(name, f"All {count:,} parameters{rest or ' get a gradient and move'}.", **numbers)


def zeroing(stale: int, asked: int, several: bool) -> Finding:
    """`stale`: of `asked` backward passes that came first after a step, those that found gradients from before."""
    name = "zero_grad"
    if several or not asked:
        why = "several optimizers take turns" if several else "there was no second step"
        return unknown(name, f"Cannot tell whether gradients are zeroed: {why}.")
    if stale:
        return fails(
            name,
            "Gradients of earlier steps are still there when the next backward adds to them.",
            "Call optimizer.zero_grad() once for each step.",
            stale=stale,
            steps=asked,
        )
    return passes(name, "Gradients are zeroed between steps.", stale=0, steps=asked)


def symmetry(parameters: list[ParameterSeen]) -> Finding:
    """Zeros, or any constant, as first weights: every unit of the layer computes the same, for ever."""
    name = "symmetry"
    matrices = [each for each in parameters if each.count > 1]
    alike = [each.name for each in matrices if each.alike]
    if not matrices:
        return unknown(name, "Cannot tell: no parameters of an nn.Module were seen.")
    if alike:
        return fails(
            name,
            f"All units are alike in {listed(alike)}, also after an epoch.",
            "Draw the first weights at random (He, Glorot: torch.nn.init); zeros are for biases.",
            layers=alike,
        )
    return passes(name, "The units of each layer differ.")
