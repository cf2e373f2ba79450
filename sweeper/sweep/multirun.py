"""A sweep under Hydra, behind the Sweeper plugin: space and config from Hydra, workers through Hydra's launcher."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from sweeper.analysis import confirmed
from sweeper.engine.crew import WorkerTask, raise_first, worker_settings
from sweeper.engine.opening import StudySettings, as_begun, open_study
from sweeper.machine import devices
from sweeper.report.html.closing import leave_report
from sweeper.report.terminal.live import view_for
from sweeper.report.terminal.summary import final_summary
from sweeper.search.completion import is_complete
from sweeper.search.grammar import Parsed, parse
from sweeper.store import reads
from sweeper.store.address import options
from sweeper.store.connection import Store, default_url
from sweeper.sweep.config import FrozenConfig, HydraTask
from sweeper.sweep.gate import look_before, wanted
from sweeper.sweep.watch import Watch
from sweeper.trial.command import train_command
from sweeper.trial.overrides import as_override, group_overrides, shorthands
from sweeper.words import source
from sweeper.words.errors import SweeperError
from sweeper.words.records import StudyRecord, StudyState, TrialRecord
from sweeper.words.settings import Door, Settings, reference

STEERING = frozenset(each.name for each in reference(Door.HYDRA) if each.steers)
"""Keys of `hydra.sweeper` that steer the sweep; top-level shorthands for them are no part of a trial's config."""

LOCAL = "hydra_plugins.sweeper_hydra.local.LocalLauncher"

HERE = frozenset({"local", "basic", "joblib"})
"""Engines whose workers run on this machine."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell gives it."""


@dataclass
class Multirun:
    """One `--multirun` of the `sweeper` sweeper. `asked`: its settings, read from `hydra.sweeper`."""

    hydra_context: HydraContext
    task_function: Any
    config: DictConfig
    asked: Settings

    def run(self, arguments: Sequence[str]) -> list[TrialRecord]:
        """Run the sweep to its end; `arguments` are the command line's overrides. Returns the best trials."""
        short = shorthands(self.config.hydra.sweeper, STEERING)
        steering = frozenset(short.values())
        mine = [text for text in arguments if text.lstrip("+").partition("=")[0].partition(".")[0] not in steering]
        parsed = parse(self.asked.space, mine, self._group_options)
        frozen = FrozenConfig.compose(self._loader, self.config, parsed.space, parsed.overrides, parsed.added)
        settings = self._study_settings(parsed, frozen, short)
        look = wanted(self.asked.check)
        slots = self._slots()
        store = Store(self.asked.store or default_url(self.asked.folder), create=True)
        study = open_study(store, settings)
        if not is_complete(store, study, settings.plan):
            if self.asked.on_change == "keep":
                settings, frozen = as_begun(study, settings), frozen.with_frozen(study.config, steering)
            self._look_over(look, study, settings, frozen, slots)
            self._launch(store, study, settings, frozen, slots)
            study = reads.study(store, study.name)
            if study.state == StudyState.STOPPED:
                leave_report(store, study)  # it says why
            self._check_ending(store, study, is_complete(store, study, settings.plan))
        return self._summary(store, study)

    @property
    def _loader(self) -> Any:
        return self.hydra_context.config_loader

    def _group_options(self, group: str) -> Sequence[str] | None:
        return self._loader.get_group_options(group, results_filter=ObjectType.CONFIG) or None

    def _study_settings(self, parsed: Parsed, frozen: FrozenConfig, short: dict[str, str]) -> StudySettings:
        config = frozen.to_json(frozenset(short.values()))
        config |= {"shorthands": short, "script": source.of_script(self.task_function)}
        return StudySettings.of(self.asked, parsed.space, config)

    @property
    def _engine(self) -> str:
        """The launcher's name. Hydra's own default is `basic`, ours is `local`: basic has to be asked for."""
        name = str(self.config.hydra.runtime.choices.get("hydra/launcher", "basic"))
        return (
            "local" if name == "basic" and f"hydra/launcher={name}" not in self.config.hydra.overrides.hydra else name
        )

    def _slots(self) -> tuple[devices.Slot, ...]:
        """One worker each; Hydra's basic launcher runs one, in this process, so that a debugger works."""
        return tuple(devices.slots(1 if self._engine == "basic" else self.asked.workers))

    def _look_over(
        self,
        how: str | None,
        study: StudyRecord,
        settings: StudySettings,
        frozen: FrozenConfig,
        slots: tuple[devices.Slot, ...],
    ) -> None:
        """Before its first trial, on this machine: raises SweeperError where the ends of the space do not run."""
        script = source.kept(settings.config).get("path")
        if how is None or script is None or study.next_number or self._engine not in HERE:
            return
        name = self.config.hydra.job.config_name
        words = [*(["--config-name", str(name)] if name else []), *frozen.fixed]
        look_before(how, Path(script), words, frozen, settings.space, vars(self.asked), slots)

    def _launch(
        self,
        store: Store,
        study: StudyRecord,
        settings: StudySettings,
        frozen: FrozenConfig,
        slots: tuple[devices.Slot, ...],
    ) -> None:
        """Launch the workers and show the sweep until they are done."""
        in_process = self._engine == "basic"
        told = worker_settings(store, settings, engine=self._engine)
        train = HydraTask(self.task_function, self.hydra_context, frozen, settings.space)
        task = WorkerTask(told, train, slots)
        launcher = self._launcher(task, study.folder, len(slots))

        def jobs(workers: int) -> list[list[str]]:
            return [_job(frozen, study.folder, index) for index in range(workers)]

        def resize(workers: int) -> None:
            launcher.resize(jobs(workers), replace(task, slots=tuple(devices.slots(workers))))

        Watch(
            store,
            study,
            lambda: raise_first(_errors(launcher.launch(jobs(len(slots)), initial_job_idx=0)), task),
            view_for(plain=in_process),
            leave=getattr(launcher, "leave", None),
            kill=getattr(launcher, "kill", None),
            resize=resize if hasattr(launcher, "resize") else None,
            workers=len(slots),
            in_process=in_process,
        ).run()

    def _launcher(self, task: WorkerTask, folder: str, workers: int) -> Any:
        config = copy.deepcopy(self.config)
        with open_dict(config.hydra):
            config.hydra.sweep.dir = folder
            if self._engine == "local":
                config.hydra.launcher = {"_target_": LOCAL, "workers": workers}
            for key in {"workers", "n_jobs"} & set(config.hydra.launcher):  # the local launcher's, joblib's
                config.hydra.launcher[key] = workers
        without_callbacks = HydraContext(config_loader=self._loader, callbacks=Callbacks())  # they run once a trial
        return Plugins.instance().instantiate_launcher(
            hydra_context=without_callbacks, task_function=task, config=config
        )

    def _check_ending(self, store: Store, study: StudyRecord, complete: bool) -> None:
        if study.state == StudyState.OPEN and not complete:
            print(
                f"Interrupted: {study.name!r} is safe in its store. The same command again goes on where it was.",
                file=sys.stderr,
            )
            sys.exit(INTERRUPTED)
        if study.state == StudyState.STOPPED:
            raise SweeperError(
                f"The sweep {study.name!r} was stopped: {str(study.message).rstrip('.')}. `sweeper failures "
                f"{options(store, study.name)}` tells where. Mend the cause; the same command again goes on."
            )

    def _summary(self, store: Store, study: StudyRecord) -> list[TrialRecord]:
        best = reads.best(store, study, 5)
        command = None
        if best:
            sure = confirmed.leader(store, study)
            winner = reads.trial(store, study.id, best[0].number if sure is None else sure)
            command = train_command(study, winner["params"], winner["seed"], winner["threads"])
        final_summary(store, study, command)
        leave_report(store, study)
        return best


def _errors(jobs: Sequence[Any]) -> list[BaseException]:
    """What workers' jobs raised: a launcher's or a worker's failure, a trial's never gets here."""
    return [job._return_value for job in jobs if job.status is JobStatus.FAILED]


def _job(frozen: FrozenConfig, folder: str, index: int) -> list[str]:
    """The overrides of a worker's own Hydra job: any of the study's configs, in a folder beside the trials'."""
    place = [f"hydra.sweep.dir={as_override(folder)}", f"hydra.sweep.subdir=workers/{index}"]
    return [*frozen.fixed, *group_overrides(frozen.variants[0].choices, frozen.added), *place]
