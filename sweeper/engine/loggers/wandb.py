"""Weights & Biases: a run a trial, in the study's group; its files lie in the trial's folder, `wandb/`.

A kill takes from W&B what it had not sent yet, and offline all of it: the next attempt tells it again, as the store
has it. So offline a trial has one folder, that of its last attempt, and `wandb sync` needs no more.
"""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

from sweeper.engine.loggers.logger import Backlog, LoggedTrial
from sweeper.words.records import EpochReport, Failure, TrialState

LOGIN_SECONDS, INIT_SECONDS, FINISH_SECONDS = 30, 60, 60
"""How long W&B may ask for a login, start and upload: a trial does not wait for ever on a network that is down."""

EXIT_CODES = {TrialState.FAIL: 1, TrialState.WAITING: 255}
"""As W&B reads them: failed, and interrupted."""


class WandB:
    """`project`: else WANDB_PROJECT, else `sweeper`. `mode`: online, offline, disabled; else WANDB_MODE or online."""

    def __init__(
        self,
        project: str | None = None,
        entity: str | None = None,
        mode: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        self._project, self._entity, self._mode, self._tags = project, entity, mode, tags
        self._run: Any = None
        self._first = 0
        self._backlog = Backlog(())

    def begin(self, trial: LoggedTrial) -> None:
        import wandb

        self._run = wandb.init(
            project=self._project or os.environ.get("WANDB_PROJECT", "sweeper"),
            entity=self._entity,
            mode=self._mode,  # type: ignore[arg-type]
            tags=self._tags,
            id=trial.id,
            name=trial.name,
            group=trial.study,
            resume="allow",
            config={**trial.params, "sweeper": {"number": trial.number, "seed": trial.seed, "repeats": trial.repeats}},
            dir=str(trial.folder),
            reinit="create_new",  # a script's own run is another one
            settings=wandb.Settings(
                silent=True,
                console="off",
                login_timeout=LOGIN_SECONDS,
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
            ),
        )
        self._first = self._run.step  # 0, or what the server has of it
        self._backlog = Backlog(trial.reports)
        if self._run.offline:
            for folder in (trial.folder / "wandb").glob(f"offline-run-*-{trial.id}"):
                if folder != Path(self._run.dir).parent:
                    shutil.rmtree(folder)

    def epoch(self, report: EpochReport) -> None:
        """W&B takes no point back: an epoch that comes a second time keeps its first ones."""
        for each in [*self._backlog.before(report), report]:
            if each.epoch >= self._first:
                values = {name: math.nan if value is None else value for name, value in each.metrics.items()}
                self._run.log(values, step=each.epoch)

    def end(self, state: TrialState, value: float | None, failure: Failure | None) -> None:
        self._run.summary.update({"state": str(state), **({} if failure is None else {"failure": str(failure)})})
        self._run.finish(exit_code=EXIT_CODES.get(state, 0))
