"""What the monitors say: gradients, updates, dead and saturated units. Without monitors these rules are silent."""

from __future__ import annotations

import math
import statistics

from sweeper.analysis.diagnosis.diagnosis import (
    CS231N_1,
    CS231N_2,
    GLOROT,
    RECIPE,
    Diagnosis,
    Kind,
    Severity,
    share,
)
from sweeper.analysis.diagnosis.observed import Line, Run, known
from sweeper.words.numbers import short

WANTED = 1e-3
"""Of updates to weights (CS231n: "somewhere around 1e-3")."""
VANISHING = 1e-4
"""The first layer's gradient, as a share of the last one's."""
EXPLODING = 1e3
"""Times that a gradient's norm may grow, or that it may be larger in the first layer than in the last."""
MANY = 0.5
"""Of the units of a layer."""


def gradients_carried(run: Run) -> Diagnosis | None:
    left = known(run.line("monitor/carried"))[1:]  # before the first step there is nothing to forget
    if not left or statistics.median(left) <= MANY:
        return None
    return Diagnosis(
        Kind.GRADIENTS_CARRIED,
        Severity.BROKEN,
        f"Gradients are never set to zero: {share(statistics.median(left))} of the steps that were looked at began "
        "with those of earlier steps.",
        "call optimizer.zero_grad() once a step, before loss.backward()",
        RECIPE,
        {"share": statistics.median(left)},
    )


def no_gradient(run: Run) -> Diagnosis | None:
    """From the first step on; what dies later is the learning rate's doing."""
    norms = run.layers("grad_norm")
    if not norms or not all(_first(line) == 0 and max(known(line), default=1.0) == 0 for line in norms.values()):
        return None
    flat = [layer for layer, line in run.layers("activation_std").items() if _first(line) == 0]
    why = f", and {flat[0]} gives the same for every example" if flat else ""
    return Diagnosis(
        Kind.NO_GRADIENT,
        Severity.BROKEN,
        f"No weight gets a gradient: its norm is 0 in all {len(norms)} layers that were looked at, from the first "
        f"step on{why}.",
        "draw the first weights at random (all zeros learn nothing), and look at the biases",
        CS231N_2,
        {"layers": len(norms), "flat": flat},
    )


def all_dead(run: Run) -> Diagnosis | None:
    """A layer that lets nothing through, from the first epoch on."""
    return _all_dead(run, born=True)


def all_died(run: Run) -> Diagnosis | None:
    return _all_dead(run, born=False)


def _all_dead(run: Run, *, born: bool) -> Diagnosis | None:
    for layer, line in run.layers("dead").items():
        found = known(line)
        if not found or found[-1] < 1 or (found[0] == 1) is not born:
            continue
        since = "from the first epoch on" if born else f"since epoch {1 + found.index(1.0)} of {len(line)}"
        where = "the first weights and biases of the layer before it, and the scale of the inputs"
        return Diagnosis(
            Kind.DEAD,
            Severity.BROKEN,
            f"Every ReLU of {layer} is dead, {since}: all its units gave 0 for every example, so nothing of the "
            "inputs gets through.",
            f"look at {where}" if born else "a lower learning rate, a wider layer, or a LeakyReLU or GELU",
            CS231N_1,
            {"layer": layer, "dead": 1.0},
        )
    return None


def vanishing(run: Run) -> Diagnosis | None:
    ends = _ends(run)
    if ends is None or ends[1] <= 0 or ends[0] >= VANISHING * ends[1]:
        return None
    first, final, layers = *ends, list(run.layers("grad_norm"))
    return Diagnosis(
        Kind.VANISHING,
        Severity.BROKEN,
        f"Gradients vanish on their way back: their norm is {short(final)} in {layers[-1]} and {short(first)} in "
        f"{layers[0]}, so the first layers stay as they were drawn.",
        "ReLU instead of a sigmoid or tanh, normalisation or skip connections between the layers, or fewer of them",
        GLOROT,
        {"first": first, "last": final},
    )


def exploding(run: Run) -> Diagnosis | None:
    """By how the signal grows from layer to layer at first, or by how the gradient does on its way back."""
    spreads = {layer: _first(line) for layer, line in run.layers("activation_std").items() if _first(line) > 0}
    if len(spreads) > 2 and (times := max(spreads.values()) / next(iter(spreads.values()))) > EXPLODING:
        first, most = next(iter(spreads)), max(spreads, key=lambda each: spreads[each])
        told = f"activations spread by {short(spreads[first])} in {first} and by {short(spreads[most])} in {most}"
        return _exploding(f"Signals explode on their way: {told}, in the first epoch.", {"times": times})
    ends = _ends(run)
    if ends is not None and ends[0] > EXPLODING * ends[1] > 0:
        layers = list(run.layers("grad_norm"))
        told = f"their norm is {short(ends[1])} in {layers[-1]} and {short(ends[0])} in {layers[0]}"
        return _exploding(f"Gradients explode on their way back: {told}.", {"first": ends[0], "last": ends[1]})
    return None


def _exploding(sentence: str, evidence: dict[str, object]) -> Diagnosis:
    cure = "smaller first weights (He's or Glorot's), normalisation between the layers, clipped gradients"
    return Diagnosis(Kind.EXPLODING, Severity.BROKEN, sentence, cure, GLOROT, evidence)


def dead_from_the_start(run: Run) -> Diagnosis | None:
    return _dead(run, born=True)


def died(run: Run) -> Diagnosis | None:
    return _dead(run, born=False)


def _dead(run: Run, *, born: bool) -> Diagnosis | None:
    now = {layer: known(line)[-1] for layer, line in run.layers("dead").items() if known(line)}
    first = {layer: _first(line) for layer, line in run.layers("dead").items()}
    many = {layer: dead for layer, dead in now.items() if dead > MANY and (first[layer] > MANY) is born}
    if not many:
        return None
    layer = max(many, key=lambda each: many[each])
    since = "from the first epoch on" if born else f"in the first epoch it was {share(first[layer])}"
    others = f" ({len(many) - 1} more layers are like it)" if len(many) > 1 else ""
    return Diagnosis(
        Kind.DEAD,
        Severity.BAD,
        f"{share(many[layer])} of the ReLUs of {layer} are dead, 0 for every example; {since}{others}.",
        "smaller biases and first weights (He's)" if born else "a lower learning rate, or a LeakyReLU or GELU",
        CS231N_1,
        {"layer": layer, "dead": many[layer], "first": first[layer]},
    )


def saturated(run: Run) -> Diagnosis | None:
    now = {layer: known(line)[-1] for layer, line in run.layers("saturated").items() if known(line)}
    layer = max(now, key=lambda each: now[each], default=None)
    if layer is None or now[layer] <= MANY:
        return None
    first = _first(run.layers("saturated")[layer])
    early = first > MANY
    cure = "scale the inputs to mean 0 and variance 1, or draw smaller first weights"
    return Diagnosis(
        Kind.SATURATED,
        Severity.BAD,
        f"{share(now[layer])} of the outputs of {layer} are saturated, where hardly a gradient passes"
        + (", from the first epoch on." if early else f"; in the first epoch it was {share(first)}."),
        cure if early else "a lower learning rate, weight decay, or a ReLU",
        CS231N_1,
        {"layer": layer, "saturated": now[layer], "first": first},
    )


def frozen(run: Run) -> Diagnosis | None:
    """Layers that never move while others do; one whose gradient is too small to see is no frozen one."""
    moves = {layer: max(known(line), default=0.0) for layer, line in run.layers("update_ratio").items()}
    norms = run.layers("grad_norm")
    still = [each for each, most in moves.items() if most == 0 and (each not in norms or _first(norms[each]) > 1e-8)]
    if not still or len(still) == len(moves):
        return None
    unknown = all(layer not in norms for layer in still)
    why = "it gets no gradient" if unknown else "it gets a gradient, but the optimizer does not have it"
    also = f" and {len(still) - 1} more" if len(still) > 1 else ""
    return Diagnosis(
        Kind.FROZEN,
        Severity.HINT,
        f"{still[0]}{also} never changed in {len(run.reports)} epochs: {why}.",
        "if it is not frozen on purpose: requires_grad, a forgotten detach(), or the parameters given to the optimizer",
        RECIPE,
        {"layers": still},
    )


def pace(run: Run) -> Line:
    """By epoch the ratio of updates to weights, in the middle of the layers."""
    lines = [line for line in run.layers("update_ratio").values() if any(known(line))]
    if not lines:
        return ()
    by_epoch = [[value for value in values if not math.isnan(value)] for values in zip(*lines, strict=True)]
    return tuple(statistics.median(values) if values else math.nan for values in by_epoch)


def told_pace(run: Run) -> str:
    """`, updates are 0.0012 of the weights (about 0.001 is wanted)`; '' without monitors."""
    found = known(pace(run))
    if not found:
        return ""
    return f", updates are {short(statistics.median(found))} of the weights (about {short(WANTED)} is wanted)"


def _first(line: Line) -> float:
    return next(iter(known(line)), math.nan)


def _ends(run: Run) -> tuple[float, float] | None:
    """The norm of the gradient in the first and in the last layer, in the middle of the epochs."""
    lines = [known(line) for line in run.layers("grad_norm").values()]
    if len(lines) < 3 or not lines[0] or not lines[-1]:
        return None
    return statistics.median(lines[0]), statistics.median(lines[-1])
