"""`sweeper`: hyperparameter sweeps for PyTorch and Hydra.

The words, used everywhere (Optuna's and CS231n's):

study         one search over one space for one metric; running the same name again resumes it
search space  the named parameters with their scale, current range and hard limits
plan, stage   how the study spends its budget, from coarse to fine; a stage has its epochs, sampler and ranges
trial         one set of parameters; it has one number, one folder, one chain of checkpoints
epoch         the unit of progress, of reporting and of the budget
full training the epochs of the last stage; a budget of 50 = 50 full trainings' worth of epochs
worker        a long-lived process on one device slot that takes trial after trial
lease         a worker's right to write for a trial; every new lease raises the trial's attempt number
study store   the database; the only truth
engine        what starts workers: local processes, joblib, Slurm, …
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {  # and `__init__.pyi` says it to type checkers
    "Categorical": "search.space",
    "Failure": "words.records",
    "Float": "search.space",
    "Int": "search.space",
    "Logger": "engine.loggers",
    "SearchSpace": "search.space",
    "Study": "sweep.study",
    "SweeperError": "words.errors",
    "Task": "training.task",
    "Trial": "trial.handle",
    "TrialState": "words.records",
    "current_trial": "trial.handle",
    "load_ensemble": "retraining.ensemble",
    "load_study": "sweep.study",
    "optuna_storage": "search.optuna",
    "run": "sweep.run",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `import sweeper` alone costs nothing."""
    home = "words.version" if name == "__version__" else _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'sweeper' has no attribute {name!r}; it has {', '.join(_HOME)}")
    return getattr(importlib.import_module(f"sweeper.{home}"), name)


def __dir__() -> list[str]:
    return __all__
