"""A worker: a long-lived process on one device slot that takes trial after trial until the plan has no more.

claim → propose parameters → train → finish. Whatever engine started it, a worker asks nobody but the store; a thread
renews its lease and its beat, a signal asks it to leave after the epoch that it trains.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.engine.beat import Beat, Timeouts, end_process
from sweeper.engine.journal import StoreJournal
from sweeper.engine.leave import Leave
from sweeper.engine.loggers.audience import Audience
from sweeper.engine.loggers.logger import LoggedTrial
from sweeper.machine import environment
from sweeper.machine.meters import Meter
from sweeper.search.plan import Plan
from sweeper.store import claims, fenced, process, reads, writes
from sweeper.store.connection import Store
from sweeper.trial.checkpoint import sweep_orphans
from sweeper.trial.failure import classify, describe, disk_is_full, gives_up
from sweeper.trial.handle import Trial, as_current
from sweeper.words.errors import CheckpointError, LeaseLost, StoreError, TrialInterrupted, TrialTimeout
from sweeper.words.records import EpochReport, Failure, Idle, Lease, StudyRecord, StudyState, TrialRecord, TrialState
from sweeper.words.settings import Settings

log = logging.getLogger("sweeper.worker")

POLL_SECONDS = 0.5
"""How often a worker without a trial looks whether one was handed back."""

AGAIN_SECONDS = 0.02
"""How long it waits where another worker took the trial that it wanted."""
Train = Callable[[Trial], object]

at_work: list[tuple[str, str]] = []
"""The store's address and the study of every worker that lives in this very process."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker must know; it travels to another process or host, so it is plain.

    `plan` comes from the person's own settings, never from the store: a sampler may be any class that it names.
    `store`: the URL of the one that was opened.
    """

    asked: Settings
    plan: Plan
    store: str
    engine: str = "local"
    device: str = "cpu"
    slot: str | None = None
    threads: int | None = None
    driver_pid: int | None = None
    driver_started: float | None = None
    log: str | None = None
    lease_seconds: float = claims.LEASE_SECONDS

    @property
    def owns_process(self) -> bool:
        """Whether the process is an engine's, which may end and be started again."""
        return self.engine not in ("python", "basic")


@dataclass
class Worker:
    """One worker's life: `work()` returns how it ended (`finished`, `left`, `stopped`, `spent`).

    Spent: an error has broken CUDA for this process, as a device-side assert does; a new process is as good as new.
    """

    settings: WorkerSettings
    train: Train
    leave: Leave = field(default_factory=Leave)

    def work(self) -> str:
        from sweeper.search.search import Search  # imports Optuna, which a driver can do without

        self._store = Store(self.settings.store)
        study = reads.study(self._store, self.settings.asked.study)
        self._study = study
        self._search = Search(self._store, study, self.settings.plan)
        self._audience = Audience.of(self.settings.asked.loggers or ())
        self._patience = claims.Patience(self.settings.lease_seconds / 3)  # longer than between two beats
        here = (self._store.address, study.name)
        at_work.append(here)
        try:
            return self._live(study)
        finally:
            at_work.remove(here)

    def _live(self, study: StudyRecord) -> str:
        self._worker_id = self._register(study)
        ending = "died"
        try:
            with self._new_beat() as self._beat, self.leave.on_signals(self._beat):
                ending = self._take_trials()
        except TrialInterrupted:
            ending = "left"
        except StoreError:
            ending = "left"  # it is not the trial that killed it
            raise
        finally:
            with contextlib.suppress(StoreError):
                claims.end_worker(self._store, self._worker_id, ending)
            self._store.close()
        return ending

    def _new_beat(self) -> Beat:
        end = end_process if self.settings.owns_process else (lambda: None)
        meter = Meter(self.settings.device, self.settings.threads)
        timeouts = Timeouts(self.settings.asked.timeout, self.settings.asked.epoch_timeout)
        return Beat(self._store, self._worker_id, self.settings.lease_seconds, timeouts, end, meter)

    def _register(self, study: StudyRecord) -> int:
        return claims.add_worker(
            self._store,
            study.id,
            host=process.host(),
            pid=os.getpid(),
            process_started=process.start_time(os.getpid()),
            device=self.settings.device,
            slot=self.settings.slot,
            threads=self.settings.threads,
            environment=environment.now(self.settings.device),
            engine=self.settings.engine,
            driver_pid=self.settings.driver_pid,
            driver_started=self.settings.driver_started,
            log=self.settings.log,
            max_failures=self.settings.asked.max_failures,
        )

    def _take_trials(self) -> str:
        while not self.leave.asked.is_set():
            claimed = self._claim()
            if isinstance(claimed, TrialRecord):
                self._run_trial(claimed)
                if not _give_memory_back() and self.settings.owns_process:
                    log.error("CUDA is of no use to this process any more, so it ends")
                    return "spent"
            elif claimed is Idle.DONE:
                return "finished"
            elif claimed is Idle.STOPPED:
                return "stopped"
            elif claimed is Idle.AGAIN:
                self.leave.asked.wait(AGAIN_SECONDS)
            else:
                self.leave.asked.wait(POLL_SECONDS)
        return "left"

    def _claim(self) -> TrialRecord | Idle:
        step = self._search.next()
        claimed = claims.claim(
            self._store,
            self._study.id,
            self._worker_id,
            stage=step.stage,
            grant_epochs=step.epochs,
            promote=step.number,
            reserve=self._search.reserve,
            kept=self.settings.plan.kept_epochs,
            lease_seconds=self.settings.lease_seconds,
            patience=self._patience,
        )
        # another worker's trial may have ended meanwhile, and leave something to do
        return Idle.AGAIN if claimed is Idle.DONE and self._search.is_behind() else claimed

    def _run_trial(self, record: TrialRecord) -> None:
        lease = Lease(record.study_id, record.number, record.attempt, self._worker_id)
        started = time.monotonic()
        self._beat.lease = lease
        try:
            params = record.params if record.params is not None else self._propose(lease, record.stage)
            trial = self._handle(record, lease, dict(params))
            self._beat.take(trial, lease, record.seconds)
            self._train(trial, lease, started, record.alone)
        except TrialInterrupted:
            self._hand_back(lease, time.monotonic() - started)
        except LeaseLost as error:
            log.warning("dropped: %s", error)
        except OSError as error:  # not even a folder for it can be made
            if not disk_is_full(error):
                raise
            self._stop_for_disk(lease, error, time.monotonic() - started)
        finally:
            self._beat.lease = None
            self._tell_the_end(lease)

    def _tell_the_end(self, lease: Lease) -> None:
        """The loggers hear what the store has: RUNNING where another worker has taken the trial up already."""
        if self._audience:
            with contextlib.suppress(StoreError):
                row = reads.trial(self._store, lease.study_id, lease.number)
                failure = Failure(row["failure"]) if row["failure"] else None
                self._audience.end(TrialState(row["state"]), row["value"], failure)

    def _hand_back(self, lease: Lease, seconds: float) -> None:
        self.leave.ask()
        self._beat.lease = None
        try:
            fenced.release(self._store, lease, seconds)
            log.info("trial %d handed back", lease.number)
        except LeaseLost as error:
            log.warning("dropped: %s", error)

    def _propose(self, lease: Lease, stage: int) -> dict[str, Any]:
        """Ask the search, outside of any transaction, with everything that the store knows by now."""
        params = self._search.propose(lease.number, stage)
        fenced.set_params(self._store, lease, params)
        return params

    def _go_on(self, lease: Lease, epochs_done: int) -> int | None:
        """At the end of a stage: train on at once where the trial is worth it and the budget pays; None: pause."""
        step = self._search.after(lease, epochs_done)
        if step is None or step.epochs is None:
            return None
        kept = self.settings.plan.kept_epochs
        return step.epochs if claims.go_on(self._store, lease, step.stage, step.epochs, kept) else None

    def _handle(self, record: TrialRecord, lease: Lease, params: dict[str, Any]) -> Trial:
        folder = self._study.trial_folder(record.number)
        folder.mkdir(parents=True, exist_ok=True)
        go_on = functools.partial(self._go_on, lease)
        journal = StoreJournal(
            self._store, lease, record, folder, self.leave, self.settings.lease_seconds, go_on, self._audience
        )
        if self._audience:
            self._audience.begin(self._logged(record, lease, params, folder, journal.reports))
        if record.attempt > 1:
            known = [checkpoint.path for checkpoint in journal.checkpoints()]
            sweep_orphans(folder / "checkpoints", known, lease.attempt)
        return Trial(
            number=record.number,
            params=params,
            folder=folder,
            device=self.settings.device,
            seed=record.seed,
            journal=journal,
            metric=self._study.metric,
            direction=self._study.direction,
            target_epochs=record.target_epochs,
            keep=self.settings.asked.keep,
            attempt=lease.attempt,
            identity={"study": self._study.name, "config_sha256": _digest([self._study.config, params])},
        )

    def _logged(
        self, record: TrialRecord, lease: Lease, params: dict[str, Any], folder: Path, reports: Sequence[EpochReport]
    ) -> LoggedTrial:
        study = self._study
        return LoggedTrial(
            id=f"{study.name[:64]}-{record.number:04d}-{_digest([study.created, record.number, params])[:8]}",
            study=study.name,
            number=record.number,
            params=params,
            folder=folder,
            seed=record.seed,
            attempt=lease.attempt,
            metric=study.metric,
            space=study.space,
            repeats=record.repeats,
            reports=reports,
        )

    def _train(self, trial: Trial, lease: Lease, started: float, alone: bool) -> None:
        """Run the person's function and write the result; what goes wrong in it ends the trial, not the worker."""
        log.info("trial %d starts (attempt %d): %s", trial.number, lease.attempt, dict(trial.params))
        try:
            try:
                with as_current(trial):
                    value = trial.finish(self.train(trial))
            finally:
                self._beat.let_go()  # a result is written in peace
        except (StoreError, LeaseLost, TrialInterrupted):
            raise
        except (Exception, SystemExit, TrialTimeout) as error:
            if type(error).__name__ == "BdbQuit":
                raise TrialInterrupted("the debugger was left") from error
            if disk_is_full(error):
                self._stop_for_disk(lease, error, time.monotonic() - started)
                return
            if gives_up(error):
                fenced.finish(
                    self._store, lease, TrialState.PRUNED, value=trial.value, seconds=time.monotonic() - started
                )
                log.info("trial %d pruned: its script raised %s", trial.number, describe(error)[0])
                return
            if classify(error) is Failure.OUT_OF_MEMORY and not alone:
                log.warning("trial %d ran out of memory; it is tried again alone", trial.number)
                fenced.retry_alone(self._store, lease, describe(error)[0], time.monotonic() - started)
                return
            self._fail(trial, lease, error, time.monotonic() - started)
            return
        seconds = time.monotonic() - started
        full = self._study.full_epochs
        has_more = trial.paused and (full is None or trial.epochs_done < full)  # a script may want more than the plan
        state = TrialState.PAUSED if has_more else TrialState.COMPLETE
        fenced.finish(self._store, lease, state, value=value, seconds=seconds)
        log.info("trial %d %s: %s = %.6g (%.1f s)", trial.number, state.lower(), self._study.metric, value, seconds)

    def _fail(self, trial: Trial, lease: Lease, error: BaseException, seconds: float) -> None:
        failure = classify(error)
        message, trace = describe(error)
        if failure is Failure.DIVERGED and trial.whereabouts not in message:  # the script itself said so
            message += trial.whereabouts
        log.error("trial %d failed (%s): %s\n%s", trial.number, failure, message, trace)  # as any log can hold it
        with contextlib.suppress(OSError):  # the trial may have taken its folder away; the store has the traceback
            (trial.folder / "train.log").open("a", encoding="utf-8").write(trace)
        fenced.finish(
            self._store,
            lease,
            TrialState.FAIL,
            value=trial.value,
            failure=failure,
            message=message,
            traceback=trace,
            seconds=seconds,
            max_failures=self.settings.asked.max_failures,
        )

    def _stop_for_disk(self, lease: Lease, error: BaseException, seconds: float) -> None:
        """A full disk is not the trial's fault: hand it back and stop the study before it eats the others."""
        message = f"the disk is full: {error}"
        if not isinstance(error, CheckpointError):  # which tells how much is needed
            folder = Path(self._study.folder)
            there = next(path for path in (folder, *folder.parents) if path.exists())
            message += f"; {shutil.disk_usage(there).free:,} bytes are free at {there}"
        log.error("%s", message)
        fenced.release(self._store, lease, seconds)
        writes.set_state(self._store, lease.study_id, StudyState.STOPPED, message)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _give_memory_back() -> bool:
    """Free what the last trial left on the GPU, so that the next one has the whole device. False: CUDA is broken."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        import gc

        gc.collect()
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError:
            return False
    return True
