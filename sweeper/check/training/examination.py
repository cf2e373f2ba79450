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
    return [
        *([unknown("watch", told, "Tell the authors of sweeper.")] if survey.broken else []),
        inputs(survey.train, survey.normalised),
        labels(survey.first, survey.train, survey.val, survey.bad_labels, survey.whole),
        balance(survey.first, survey.train),
        overlap(survey.train, survey.val, survey.val_batches, survey.whole),
        outputs(survey.first),
        chance(survey.first, survey.first_loss, survey.loaded),
        regularisation(survey.pairs, survey.decays),
        movement(survey.parameters, survey.steps, survey.loaded),
        symmetry(survey.parameters),
        zeroing(survey.stale, survey.asked, survey.several),
        modes(bool(survey.val_batches), survey.trains is False, survey.validated_in_training, survey.changes),
        steps(survey.losses, survey.whole),
    ]


def tried(survey: Survey, seconds: float = SECONDS) -> list[Finding]:
    """What training a part of it again tells."""
    survey.restore()
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
