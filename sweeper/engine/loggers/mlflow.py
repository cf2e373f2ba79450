"""MLflow: a run a trial, on the tracking server that is named, else in a database in the study's folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeper.engine.loggers.logger import Backlog, LoggedTrial
from sweeper.words.records import EpochReport, Failure, TrialState

MEMORY = "mlflow.json"
"""In the trial's folder: its run, for the attempt that takes it up again."""

SECONDS = "epoch_seconds"
"""A metric that every logged epoch has, so that a run knows which there were."""

STATUS = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.PAUSED: "FINISHED",
    TrialState.FAIL: "FAILED",
    TrialState.WAITING: "KILLED",
}

PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""MLflow's own (120 s, seven retries) would stop a training for minutes where a server is gone."""

MOST_AT_ONCE = 1000
"""Metrics that MLflow takes in one call; of params it is a tenth."""


class MLflow:
    """`tracking_uri`: else MLFLOW_TRACKING_URI, else mlflow.db in the study's folder. `experiment`: else the study."""

    def __init__(
        self, tracking_uri: str | None = None, experiment: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> None:
        self._uri, self._experiment, self._tags = tracking_uri, experiment, dict(tags or {})
        self._client: Any = None
        self._run_id = ""
        self._epochs_before: set[int] = set()
        self._epoch: int | None = None
        self._backlog = Backlog(())

    def begin(self, trial: LoggedTrial) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        local = f"sqlite:///{trial.folder.parent.absolute() / 'mlflow.db'}"
        uri = self._uri or os.environ.get("MLFLOW_TRACKING_URI") or local
        with one_at_a_time(trial.folder.parent / ".mlflow.lock"):
            self._client = MlflowClient(tracking_uri=uri)
        self._epochs_before, self._epoch, self._backlog = set(), None, Backlog(trial.reports)
        known = self._known(trial, uri)
        self._run_id = known or self._new(trial, uri, uri == local)
        if known:
            self._client.update_run(known, status="RUNNING")
            self._epochs_before = {point.step for point in self._client.get_metric_history(known, SECONDS)}

    def epoch(self, report: EpochReport) -> None:
        """MLflow takes no point back: an epoch that comes a second time keeps its first ones."""
        for each in [*self._backlog.before(report), report]:
            if each.epoch not in self._epochs_before:
                self._log(each)

    def end(self, state: TrialState, value: float | None, failure: Failure | None) -> None:
        if state not in STATUS:
            return  # another worker has it
        self._client.set_tag(self._run_id, "sweeper.state", str(state))
        if failure is not None:
            self._client.set_tag(self._run_id, "sweeper.failure", str(failure))
        self._client.set_terminated(self._run_id, STATUS[state])

    def _log(self, report: EpochReport) -> None:
        from mlflow.entities import Metric

        values = dict(report.metrics)
        if report.epoch != self._epoch:
            values[SECONDS] = report.seconds
            self._epoch = report.epoch
        now = int(time.time() * 1000)
        points = [
            Metric(_plain(name), math.nan if value is None else value, now, report.epoch)
            for name, value in values.items()
        ]
        for start in range(0, len(points), MOST_AT_ONCE):
            self._client.log_batch(self._run_id, metrics=points[start : start + MOST_AT_ONCE])

    def _known(self, trial: LoggedTrial, uri: str) -> str | None:
        """The run of an earlier attempt, unless somebody has deleted it."""
        from mlflow.exceptions import MlflowException

        try:
            memory = json.loads((trial.folder / MEMORY).read_text(encoding="utf-8"))
            if (memory["trial"], memory["server"]) != (trial.id, _digest(uri)):
                return None
            run = self._client.get_run(memory["run_id"])
        except (FileNotFoundError, ValueError, KeyError):
            return None
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return str(run.info.run_id) if run.info.lifecycle_stage == "active" else None

    def _new(self, trial: LoggedTrial, uri: str, local: bool) -> str:
        from mlflow.entities import Param

        tags = {
            **self._tags,
            "sweeper.study": trial.study,
            "sweeper.number": trial.number,
            "sweeper.seed": trial.seed,
            "sweeper.folder": trial.folder,
            **({} if trial.repeats is None else {"sweeper.repeats": trial.repeats}),
        }
        experiment = self._experiment_id(self._experiment or trial.study, trial, local)
        run = self._client.create_run(
            experiment, run_name=trial.name, tags={name: str(value) for name, value in tags.items()}
        )
        run_id = str(run.info.run_id)
        memory = {"trial": trial.id, "server": _digest(uri), "experiment_id": experiment, "run_id": run_id}
        (trial.folder / MEMORY).write_text(json.dumps(memory), encoding="utf-8")
        params = [Param(_plain(name), str(value)) for name, value in trial.params.items()]
        for start in range(0, len(params), MOST_AT_ONCE // 10):
            self._client.log_batch(run_id, params=params[start : start + MOST_AT_ONCE // 10])
        return run_id

    def _experiment_id(self, name: str, trial: LoggedTrial, local: bool) -> str:
        from mlflow.exceptions import MlflowException

        artifacts = (trial.folder.parent.absolute() / "mlartifacts").as_uri() if local else None
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=artifacts))
            except MlflowException:  # another worker's trial was first
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """MLflow makes its database's tables when it first sees it, and fails where two workers do so at once."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        yield


def _digest(uri: str) -> str:
    """A tracking server's address may hold a password."""
    return hashlib.sha256(uri.encode()).hexdigest()


def _plain(name: str) -> str:
    """A name in the letters that MLflow takes."""
    return re.sub(r"[^\w./: -]", "_", name)
