"""The public names for type checkers; at run time `__init__.py` imports each when it is first asked for."""

from sweeper.api import run as run
from sweeper.ensemble import load_ensemble as load_ensemble
from sweeper.errors import SweeperError as SweeperError
from sweeper.exchange import optuna_storage as optuna_storage
from sweeper.handle import Trial as Trial
from sweeper.handle import current_trial as current_trial
from sweeper.loggers import Logger as Logger
from sweeper.space import Categorical as Categorical
from sweeper.space import Float as Float
from sweeper.space import Int as Int
from sweeper.space import SearchSpace as SearchSpace
from sweeper.study import Study as Study
from sweeper.study import load_study as load_study
from sweeper.training.checks.task import Task as Task
from sweeper.trial import Failure as Failure
from sweeper.trial import TrialState as TrialState

__version__: str
