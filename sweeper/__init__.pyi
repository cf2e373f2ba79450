"""The public names for type checkers; at run time `__init__.py` imports each when it is first asked for."""

from sweeper.engine.loggers import Logger as Logger
from sweeper.retraining.ensemble import load_ensemble as load_ensemble
from sweeper.search.optuna import optuna_storage as optuna_storage
from sweeper.search.space import Categorical as Categorical
from sweeper.search.space import Float as Float
from sweeper.search.space import Int as Int
from sweeper.search.space import SearchSpace as SearchSpace
from sweeper.sweep.run import run as run
from sweeper.sweep.study import Study as Study
from sweeper.sweep.study import load_study as load_study
from sweeper.training.task import Task as Task
from sweeper.trial.handle import Trial as Trial
from sweeper.trial.handle import current_trial as current_trial
from sweeper.words.errors import SweeperError as SweeperError
from sweeper.words.records import Failure as Failure
from sweeper.words.records import TrialState as TrialState

__version__: str
