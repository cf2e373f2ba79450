"""`sweeper.run`: a study in plain Python, without Hydra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.engine.ancestor import Ancestor
from sweeper.engine.beat import Timeouts
from sweeper.engine.crew import WorkerTask, run_workers, worker_calls, worker_settings
from sweeper.engine.loggers import asked
from sweeper.engine.opening import StudySettings, as_begun, check_limits, direction_of, open_study
from sweeper.machine import devices
from sweeper.machine.supervisor import Supervisor
from sweeper.search.completion import is_complete
from sweeper.search.grammar import parse
from sweeper.search.plans import make_plan
from sweeper.store import reads
from sweeper.store.connection import Store, default_url
from sweeper.sweep.study import Study
from sweeper.sweep.watch import Watch
from sweeper.trial.handle import OBJECTIVE, Trial
from sweeper.words import source
from sweeper.words.errors import ConfigError, SweeperError
from sweeper.words.records import StudyState


def run(
    train: Callable[[Trial], Any],
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
    workers: int = 1,
    seed: int = 0,
    sampler: str | Mapping[str, Any] | None = None,
    borders: str | None = None,
    confirm: bool | Mapping[str, int] | None = None,
    from_study: str | Mapping[str, str] | None = None,
    max_failures: int | None = 5,
    keep: int = 2,
    timeout: float | None = None,
    epoch_timeout: float | None = None,
    loggers: Any = (),
    on_change: str = "stop",
) -> Study:
    """Search `space` for the best `metric` of `train(trial)`, or go on with the study of that name.

    Args:
        train: gets the trial handle (`trial.params`, `trial.epochs(n, state=…)`, `trial.report(**metrics)`); may return
            a float, the metric `objective`.
        space: parameters by name, in Hydra's grammar (`"interval(0, 1)"`), as mappings (`{"interval": [0, 1]}`) or as
            `sweeper.Float` and friends.
        epochs: of a full training; None when trials have none or decide themselves.
        budget: in full trainings. A study that is run again goes on up to this budget; it is a total.
        store: an SQLAlchemy URL; by default `sweeper.db` in `folder`.
        folder: trials train in `folder/<study>/<number>/`.
        workers: 1 runs in this process; more are processes, one a device slot, and `train` is sent to them.
        borders: `warn`, or `widen` ranges (within their limits) where the best trials crowd an edge; None: as the
            search has it.
        confirm: at the end train the best `top` trials again, with `seeds` other seeds each, within the budget; as
            `{"top": 3, "seeds": 5}`, which is True. None: as the search has it.
        from_study: the name of an older study, or `{"study": NAME, "store": URL}`, whose best settings come first.
        max_failures: that many failed trials in a row stop the study.
        timeout, epoch_timeout: seconds that a trial, or one of its epochs, may take; then it is FAIL `timeout`.
        keep: how many of the newest checkpoints of a trial stay, beside the best.
        loggers: where the trials' epochs are told besides: `tensorboard`, `mlflow`, `wandb`, mappings with settings
            (`{"name": "wandb", "project": "digits"}`), functions of (trial, report), `sweeper.engine.loggers.Logger`s.
        on_change: `stop` or `keep`, when the study was begun with another definition or another `train`.

    Returns the study. Raises SweeperError when failures stopped it.
    """
    parsed = parse(space)
    if parsed.fixed or parsed.added:
        raise ConfigError(f"A space given to sweeper.run holds ranges and choices alone, but got {parsed.fixed}.")
    check_limits(keep, max_failures, timeout, epoch_timeout)
    told_to = asked(loggers)
    slots = tuple(devices.slots(workers))
    ancestor = Ancestor.parse(from_study)
    settings = StudySettings(
        name=study,
        metric=metric,
        direction=direction_of(direction),
        seed=seed,
        budget=budget,
        plan=make_plan(
            search,
            epochs=epochs,
            sampler=sampler,
            borders=borders,
            confirm=confirm,
            from_study=ancestor.study if ancestor else None,
        ),
        space=parsed.space,
        folder=Path(folder) / study,
        config={"script": source.of_function(train)},
        from_study=ancestor,
    )
    opened = Store(store or default_url(folder), create=True)
    record = open_study(opened, settings, on_change=on_change)
    settings = as_begun(record, settings)
    if not is_complete(opened, record, settings.plan):
        engine = "python" if workers == 1 else "local"
        timeouts = Timeouts(timeout, epoch_timeout)
        told = worker_settings(
            opened, record, settings.plan, engine=engine, max_failures=max_failures, keep=keep, timeouts=timeouts,
            loggers=told_to,
        )  # fmt: skip
        task = WorkerTask(told, train, slots)
        left = task.work(0) == "left" if workers == 1 else _run_processes(opened, record, task)
        if left:
            raise KeyboardInterrupt(f"the study {study!r} is safe in its store; the same call goes on where it was")
    record = reads.study(opened, study)
    if record.state == StudyState.STOPPED:
        raise SweeperError(f"The study {study!r} was stopped: {record.message}.")
    return Study(opened, record)


def _run_processes(store: Store, record: Any, task: WorkerTask) -> bool:
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
