"""PED-ANOVA as Optuna computes it: how much a parameter tells the best tenth of the trials from all of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from sweeper.search.optuna.copy import to_optuna
from sweeper.search.space import SearchSpace
from sweeper.words.records import Direction, TrialRecord


def ped_anova(space: SearchSpace, trials: Sequence[TrialRecord], direction: Direction) -> dict[str, float]:
    """Shares by name; nothing where it cannot tell, as for a metric that is the same for all."""
    study = to_optuna(space, trials, direction)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
        except (ValueError, RuntimeError):
            return {}
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}
