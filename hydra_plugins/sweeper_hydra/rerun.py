"""Hydra's callback of `sweeper rerun`: puts a trial of a study in the hands of a script that runs alone.

It sees what Hydra alone sees: the config as composed, and the float that a script returns.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf


class Rerun(Callback):
    """From the job's start to its end `sweeper.current_trial()` is the trial of the request."""

    def __init__(self) -> None:
        self._until_end = ExitStack()
        self._trial: Any = None

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        from sweeper.retraining.request import Request

        request = Request.of_this_process()
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        request.write(config=OmegaConf.to_yaml(task))
        self._trial = self._until_end.enter_context(request.trial(Path(config.hydra.runtime.output_dir)))

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        from hydra.core.utils import JobStatus

        with self._until_end:
            if job_return.status is JobStatus.COMPLETED:
                self._trial.finish(job_return.return_value)
