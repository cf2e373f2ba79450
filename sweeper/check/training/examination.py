"""Every check over what a survey has seen."""

from __future__ import annotations

from collections.abc import Callable

from sweeper.check.finding import Finding, unknown
from sweeper.check.training.chance import HOW_SEEN, chance
from sweeper.check.training.gradients import NAME as GRADIENTS
from sweeper.check.training.gradients import gradients
from sweeper.check.training.inputs import inputs
from sweeper.check.training.labels import balance, labels
from sweeper.check.training.movement import movement, symmetry, zeroing
from sweeper.check.training.outputs import outputs
from sweeper.check.training.overfit import NAME as OVERFIT
from sweeper.check.training.overfit import SECONDS, overfit
from sweeper.check.training.regularisation import regularisation
from sweeper.check.training.split import modes, overlap
from sweeper.check.training.steps import steps
from sweeper.check.training.survey import Survey


def seen(survey: Survey) -> list[Finding]:
    """What watching alone tells."""
    told = f"The watch gave up: {survey.broken}"
    known, calls, parameters = survey.forwards, survey.calls, survey.parameters
    return [
        *([unknown("watch", told, "Tell the authors of sweeper.")] if survey.broken else []),
        inputs(known.train, survey.normalised),
        labels(calls.first, known.train, known.val, calls.bad_labels, survey.whole),
        balance(calls.first, known.train),
        overlap(known.train, known.val, known.val_batches, survey.whole),
        outputs(calls.first),
        chance(calls.first, calls.first_loss, survey.loaded),
        regularisation(calls.pairs, parameters.decays),
        movement(parameters.seen, survey.steps, survey.loaded),
        symmetry(parameters.seen),
        zeroing(parameters.stale, parameters.asked, parameters.several),
        modes(bool(known.val_batches), known.trains is False, known.validated_in_training, survey.changes),
        steps(calls.losses, survey.whole),
    ]


def tried(survey: Survey, seconds: float = SECONDS) -> list[Finding]:
    """What training a part of it again tells."""
    survey.parameters.restore()
    task = survey.task()
    if isinstance(task, str):
        return [unknown(name, f"Cannot tell: {task}.", HOW_SEEN) for name in (OVERFIT, GRADIENTS)]
    return [_tried(OVERFIT, lambda: overfit(task, seconds)), _tried(GRADIENTS, lambda: gradients(task))]


def _tried(name: str, check: Callable[[], Finding]) -> Finding:
    """Beside what the script still holds there may be no memory left, and a model may refuse a part of its batch."""
    try:
        return check()
    except Exception as error:
        return unknown(name, f"Cannot tell: {type(error).__name__}: {error!s:.200}")
