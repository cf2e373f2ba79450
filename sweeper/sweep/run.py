"""`sweeper.run`: a study in plain Python, without Hydra."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.engine.crew import WorkerTask, run_workers, worker_calls, worker_settings
from sweeper.engine.loggers import LoggerSpec
from sweeper.engine.opening import StudySettings, as_begun, open_study
from sweeper.machine import devices
from sweeper.machine.supervisor import Supervisor
from sweeper.search.completion import is_complete
from sweeper.search.grammar import parse
from sweeper.store import reads
from sweeper.store.connection import Store, default_url
from sweeper.sweep.study import Study
from sweeper.sweep.watch import Watch
from sweeper.trial.handle import Trial
from sweeper.words import source
from sweeper.words.errors import ConfigError, SweeperError
from sweeper.words.metrics import OBJECTIVE
from sweeper.words.records import StudyRecord, StudyState
from sweeper.words.settings import Door, Settings, reference


def run(
    train: Callable[[Trial], object],
    *,
    study: str,
    space: Mapping[str, Any],
    search: str | Mapping[str, Any] = "coarse_to_fine",
    epochs: int | None = None,
    budget: float = 20,
    metric: str = OBJECTIVE,
    direction: str = "minimize",
    store: str | None = None,
    folder: str | Path = "runs",
    workers: int | None = 1,
    seed: int = 0,
    sampler: str | Mapping[str, Any] | None = None,
    borders: str | None = None,
    confirm: bool | Mapping[str, int] | None = None,
    from_study: str | Mapping[str, str] | None = None,
    max_failures: int | None = 5,
    keep: int = 2,
    timeout: float | None = None,
    epoch_timeout: float | None = None,
    loggers: LoggerSpec | Iterable[LoggerSpec] | None = None,
    on_change: str = "stop",
) -> Study:
    """Search `space` for the best `metric` of `train(trial)`, or go on with the study of that name.

    `train` gets the trial handle (`trial.params`, `trial.epochs(n, state=…)`, `trial.report(**metrics)`); it may return
    a float, the metric `objective`. Several workers get it sent. Returns the study; raises SweeperError when failures
    stopped it.

    Args:
        the settings, each told in `sweeper.words.settings`
    """
    asked = dict(locals())
    return _run(asked.pop("train"), Settings(**asked))


run.__doc__ = (run.__doc__ or "").replace(
    "the settings, each told in `sweeper.words.settings`",
    "\n        ".join(f"{each.name}: {each.meaning}." for each in reference(Door.PYTHON)),
)


def _run(train: Callable[[Trial], Any], asked: Settings) -> Study:
    parsed = parse(asked.space)
    if parsed.fixed or parsed.added:
        raise ConfigError(f"A space given to sweeper.run holds ranges and choices alone, but got {parsed.fixed}.")
    slots = tuple(devices.slots(asked.workers))
    settings = StudySettings.of(asked, parsed.space, {"script": source.of_function(train)})
    store = Store(asked.store or default_url(asked.folder), create=True)
    study = open_study(store, settings)
    settings = as_begun(study, settings)
    if not is_complete(store, study, settings.plan):
        here = asked.workers == 1
        task = WorkerTask(worker_settings(store, settings, engine="python" if here else "local"), train, slots)
        left = task.work(0) == "left" if here else _run_processes(store, study, task)
        if left:
            raise KeyboardInterrupt(
                f"the study {study.name!r} is safe in its store; the same call goes on where it was"
            )
    study = reads.study(store, study.name)
    if study.state == StudyState.STOPPED:
        raise SweeperError(f"The study {study.name!r} was stopped: {study.message}.")
    return Study(store, study)


def _run_processes(store: Store, record: StudyRecord, task: WorkerTask) -> bool:
    """Run the workers and show the sweep; returns whether the person asked to leave."""
    from sweeper.report.terminal.live import view_for

    supervisor = Supervisor(task.slots)
    folder = Path(record.folder)

    def resize(workers: int) -> None:
        now = replace(task, slots=tuple(devices.slots(workers)))
        supervisor.resize(now.slots, worker_calls(now, folder))

    watch = Watch(
        store,
        record,
        lambda: run_workers(supervisor, task, folder),
        view_for(),
        leave=supervisor.leave,
        kill=supervisor.kill,
        resize=resize,
        workers=len(task.slots),
    )
    watch.run()
    return watch.asked > 0
