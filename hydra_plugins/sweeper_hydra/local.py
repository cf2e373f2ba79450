"""Hydra's Launcher plugin `local`: each job in a process of its own, one a device slot of this machine.

It keeps the contract of every Hydra launcher, and is the default engine of the `sweeper` sweeper, whose workers it
starts again when they die. Imported at every Hydra start: nothing heavy at the top, no
`from __future__ import annotations`.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Sequence

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@dataclass
class LocalConf:
    """`hydra.launcher`: `workers` is how many processes run at once; null: one a GPU, else one per two cores."""

    _target_: str = "hydra_plugins.sweeper_hydra.local.LocalLauncher"
    workers: Optional[int] = None


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalConf, provider="sweeper")


class LocalLauncher(Launcher):
    """Runs jobs in local processes. `leave()` asks them to finish, `kill()` ends them, `resize()` changes how many."""

    def __init__(self, workers: Optional[int] = None) -> None:
        self.workers = workers
        self.config: Optional[DictConfig] = None
        self.task_function: Optional[TaskFunction] = None
        self.hydra_context: Optional[HydraContext] = None
        self._supervisor: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.hydra_context = hydra_context
        self.task_function = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from sweeper.machine.devices import slots
        from sweeper.machine.supervisor import Supervisor

        setup_globals()
        assert self.config is not None
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        self._supervisor = Supervisor(slots(self.workers))
        calls = [self._call(initial_job_idx + index, list(job)) for index, job in enumerate(job_overrides)]
        return [_job_return(result) for result in self._supervisor.run(calls)]

    def resize(self, job_overrides: Sequence[Sequence[str]], task_function: TaskFunction) -> None:
        """While `launch` runs: from now on it is these jobs, one a process; those that run already go on."""
        from sweeper.machine.devices import slots

        self.task_function = task_function
        if self._supervisor is not None:
            calls = [self._call(index, list(job)) for index, job in enumerate(job_overrides)]
            self._supervisor.resize(slots(len(calls)), calls)

    def leave(self, number: int) -> None:
        if self._supervisor is not None:
            self._supervisor.leave(number)

    def kill(self) -> None:
        if self._supervisor is not None:
            self._supervisor.kill()

    def _call(self, number: int, overrides: List[str]) -> Any:
        from sweeper.machine.supervisor import Call

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        config = sweep_config(self.hydra_context, self.config, number, overrides)
        run = functools.partial(
            execute_job, number, overrides, self.hydra_context, self.config, self.task_function, Singleton.get_state()
        )
        log = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir) / "worker.log"
        died = getattr(self.task_function, "died", None)
        return Call(run, log, restart=died is not None, died=died)


def sweep_config(hydra_context: HydraContext, config: DictConfig, number: int, overrides: List[str]) -> DictConfig:
    """Hydra's config of one job: composed anew with the job's overrides, as every launcher does."""
    composed = hydra_context.config_loader.load_sweep_config(config, overrides)
    with open_dict(composed):
        composed.hydra.job.id = f"{composed.hydra.job.name}_{number}"
        composed.hydra.job.num = number
    return composed


def execute_job(
    number: int,
    overrides: List[str],
    hydra_context: HydraContext,
    config: DictConfig,
    task_function: TaskFunction,
    singleton_state: Any,
) -> JobReturn:
    """One job, in its own process."""
    Singleton.set_state(singleton_state)
    setup_globals()
    return run_job(
        hydra_context=hydra_context,
        task_function=task_function,
        config=sweep_config(hydra_context, config, number, overrides),
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _job_return(result: Any) -> JobReturn:
    """A process that died, or failed before its job began, is a failed job."""
    if not isinstance(result, Exception):
        done: JobReturn = result
        return done
    failed = JobReturn(overrides=filter_overrides([]), status=JobStatus.FAILED)
    failed.return_value = result
    return failed
