"""The workers of a study: as a task that any launcher can run, and as processes of this machine."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.engine.opening import StudySettings
from sweeper.engine.worker import Worker, WorkerSettings
from sweeper.machine import devices
from sweeper.machine.supervisor import Call, Supervisor
from sweeper.search.completion import is_complete
from sweeper.store import claims, process, reads
from sweeper.store.connection import Store

log = logging.getLogger("sweeper")

SPENT_EXIT_CODE = 71


@dataclass(frozen=True)
class WorkerTask:
    """A worker as a task function of Hydra: any launcher can run it, in any process, on any host.

    `train` trains one trial; `slots` are the places of this host, by the worker's index.
    """

    settings: WorkerSettings
    train: Callable[[Any], Any]
    slots: tuple[devices.Slot, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        """What is imported from beside a script is found where this arrives, whatever its launcher says of paths."""
        import cloudpickle

        return _arrived, (tuple(sys.path), cloudpickle.dumps((self.settings, self.train, self.slots)))

    def __call__(self, cfg: Any = None) -> str:
        from sweeper.trial.output import job_number, output_folder

        return self.work(job_number(), str(output_folder()))

    def work(self, index: int, folder: str | None = None) -> str:
        slot = self._slot(index)
        settings = replace(self.settings, device=slot.device, slot=slot.name, threads=slot.threads, log=folder)
        ending = Worker(settings, self.train).work()
        if ending == "spent" and settings.engine == "local":
            sys.exit(SPENT_EXIT_CODE)  # without an answer: the supervisor starts a new process
        return ending

    def _slot(self, index: int) -> devices.Slot:
        """The local engine has set this process's environment; others have not, or run on another host."""
        if self.settings.engine in ("local", "basic", "python"):
            return self.slots[index % len(self.slots)]
        slot = self.slots[index % len(self.slots)] if self.settings.engine == "joblib" else devices.slots(1)[0]
        os.environ.update(slot.environment)
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(slot.threads)
        return slot

    def died(self, pid: int) -> None:
        """Told by the supervisor: give that worker's trial back at once."""
        store = Store(self.settings.store)
        study = reads.study(store, self.settings.asked.study)
        for row in reads.worker_rows(store, study.id, alive=True):
            if row["pid"] == pid and row["host"] == process.host():
                claims.end_worker(store, row["id"], "died")
        store.close()


def _arrived(path: Sequence[str], content: bytes) -> WorkerTask:
    import cloudpickle

    sys.path += [place for place in path if place not in sys.path]
    return WorkerTask(*cloudpickle.loads(content))


def worker_settings(store: Store, settings: StudySettings, **more: Any) -> WorkerSettings:
    return WorkerSettings(
        asked=replace(settings.asked, space={}),  # the store has it, and that of a person may not travel
        plan=settings.plan,
        store=store.url.render_as_string(hide_password=False),
        driver_pid=os.getpid(),
        driver_started=process.start_time(os.getpid()),
        **more,
    )


def run_workers(supervisor: Supervisor, task: WorkerTask, folder: Path) -> None:
    results = supervisor.run(worker_calls(task, folder))
    raise_first([result for result in results if isinstance(result, Exception)], task)


def worker_calls(task: WorkerTask, folder: Path) -> list[Call]:
    """One worker a slot of the task."""
    return [
        Call(
            functools.partial(task.work, index, str(folder / "workers" / str(index))),
            folder / "workers" / str(index) / "worker.log",
            restart=True,
            died=task.died,
        )
        for index in range(len(task.slots))
    ]


def raise_first(errors: Sequence[BaseException], task: WorkerTask) -> None:
    """Raise what ended a worker, unless the others have finished the study without it."""
    if not errors:
        return
    store = Store(task.settings.store)
    complete = is_complete(store, reads.study(store, task.settings.asked.study), task.settings.plan)
    store.close()
    if not complete:
        raise errors[0]
    log.warning("the study is complete, though a worker was given up: %s", errors[0])
