"""A trial trained again, alone and in a fresh process, and compared with what the store has of it, to the last bit.

A Hydra study runs the person's own script, with the trial's parameters as overrides and a callback of Hydra
(`hydra_plugins/sweeper_hydra/rerun.py`) that puts the trial in its hands; a study of `sweeper.run` runs its function.
Nothing of it is written into the study but an event.

A store may come from somebody else. What it may say here are numbers, names and values: the script is one of the
current folder, or one that the person names, and `overrides_of_trust` refuses what could make Hydra build or load
anything else.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper.machine import devices, environment
from sweeper.machine.supervisor import Call, Supervisor
from sweeper.retraining.outcome import Outcome, compare
from sweeper.retraining.request import CALLBACK, REQUEST, Request, train_for
from sweeper.store import process, reads, writes
from sweeper.store.connection import Store
from sweeper.trial.handle import Trial
from sweeper.trial.overrides import as_frozen, as_override, difference
from sweeper.words import source
from sweeper.words.errors import ConfigError, StoreError
from sweeper.words.records import StudyRecord

# ---- in the fresh process --------------------------------------------------------------------------------------------


# ---- the trial as it was ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Before:
    """What the store has of a trial: its row, its worker's place and environment, its epochs."""

    study: StudyRecord
    row: Mapping[str, Any]
    epochs: dict[int, dict[str, float | None]]
    otherwise: tuple[str, ...] = ()
    """Overrides of values that differ this time on purpose."""

    @classmethod
    def of(cls, store: Store, study: StudyRecord, number: int) -> Before:
        """Raises StoreError where there is nothing to compare with."""
        row = reads.trial(store, study.id, number)
        epochs = {report.epoch: dict(report.metrics) for report in reads.epoch_reports(store, study.id, number)}
        if row["params"] is None or not epochs:
            raise StoreError(
                f"A trial must have reported an epoch to be compared with, but trial {number} of {study.name} is "
                f"{row['state']} and has none: sweeper show {number} tells more."
            )
        return cls(study, row, epochs)

    @property
    def environment(self) -> dict[str, Any] | None:
        environment: dict[str, Any] | None = self.row["environment"]
        return environment

    @property
    def threads(self) -> int | None:
        """What torch had; of an older sweeper, what its worker was given."""
        threads: int | None = (self.environment or {}).get("threads") or self.row["threads"]
        return threads

    @property
    def failure(self) -> str | None:
        return self.row["failure"] if self.row["state"] == "FAIL" else None

    def request(self, device: str, folder: Path) -> Request:
        return Request(
            number=self.row["number"],
            params=self.row["params"],
            seed=self.row["seed"],
            device=device,
            metric=self.study.metric,
            direction=str(self.study.direction),
            epochs=max(self.epochs) + 1,
            record=str(folder / "rerun.jsonl"),
        )

    def slot(self, device: str | None = None) -> devices.Slot:
        """A place like the one that it trained in, or on `device`: cpu, cuda, cuda:1. Raises ConfigError."""
        kind, _, index = (device or self.row["device"] or "cpu").partition(":")
        if kind not in ("cpu", "cuda") or (index and not index.isdecimal()) or (kind == "cpu" and index):
            raise ConfigError(f"A device is cpu, cuda or cuda:NUMBER, but got {device or self.row['device']!r}.")
        chosen = self._gpu(None if device is None else int(index or 0)) if kind == "cuda" else []
        return devices.slots(1, gpus=chosen, cores=self.threads)[0]

    def _gpu(self, index: int | None) -> list[devices.Gpu]:
        """The GPU with that index; None: the trial's own on this host, else the first."""
        found = devices.gpus()
        own = self.row["slot"] if self.row["host"] == process.host() else None
        wanted = [gpu for gpu in found if (f"gpu {gpu.index}" == own if index is None else gpu.index == index)]
        chosen = wanted or (found if index is None else [])
        if not chosen:
            there = ", ".join(f"cuda:{gpu.index}" for gpu in found) or "none"
            raise ConfigError(
                f"Trial {self.row['number']} trained on {self.row['device']}; of GPUs here is {there}: name another "
                "--device, or cpu, whose last digits differ."
            )
        return chosen[:1]

    def outcome(
        self,
        record: Path,
        *,
        ending: str | None,
        seconds: float,
        changes: Sequence[str] = (),
        ignore: Collection[str] = (),
    ) -> Outcome:
        """Compare with what the fresh process has written down."""
        lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
        again = {line["epoch"]: line["metrics"] for line in lines if "epoch" in line}
        now: dict[str, Any] = next((line["environment"] for line in reversed(lines) if "environment" in line), {})
        then = self.environment
        return Outcome(
            study=self.study.name,
            number=self.row["number"],
            metric=self.study.metric,
            value=self.row["value"],
            compared=compare(self.epochs, again, ignore),
            epochs=len(self.epochs),
            trained=len(self.epochs.keys() & again.keys()),
            ending=ending,
            failure=self.failure,
            environment=None if then is None else environment.differences(then, now),
            changes=[*changes, *_config_changes(self, lines)],
            seconds=seconds,
        )


def note(store: Store, study: StudyRecord, outcome: Outcome) -> None:
    """The event that stays in the study."""
    writes.add_event(store, study.id, "rerun", outcome.headline(), outcome.number)


# ---- a function ------------------------------------------------------------------------------------------------------


def of_function(
    before: Before,
    train: Callable[[Trial], object],
    *,
    device: str | None = None,
) -> Outcome:
    """Train a trial of `sweeper.run` again; Ctrl-C ends it. Raises SweeperError where that cannot be."""
    if "variants" in before.study.config:
        raise ConfigError(f"A Hydra script's trial is trained again by: sweeper rerun {before.row['number']}.")
    slot, started = before.slot(device), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sweeper-rerun-") as place:
        request = before.request(slot.device, Path(place))
        supervisor = Supervisor([slot])
        try:
            (result,) = supervisor.run([Call(functools.partial(train_for, request, train), Path(place) / "rerun.log")])
        except BaseException:
            supervisor.kill()
            raise
        if not Path(request.record).exists():
            raise result
        ending = None if result is None else f"{type(result).__name__}: {result}".splitlines()[0]
        changes = _text_changes(before.study, source.of_function(train).get("text"))
        return before.outcome(Path(request.record), ending=ending, seconds=time.monotonic() - started, changes=changes)


# ---- a script --------------------------------------------------------------------------------------------------------


def of_script(
    before: Before,
    script: Path,
    overrides: Sequence[str],
    slot: devices.Slot,
    *,
    folder: Path | None = None,
    ignore: Collection[str] = (),
) -> Outcome:
    """Train a trial of a Hydra script again, in `folder` (None: a temporary one); Ctrl-C ends it.

    `script` comes from `own_script`, `overrides` through `overrides_of_trust`. Its output goes to stderr. Raises
    ConfigError where its training never began.
    """
    number, started = before.row["number"], time.monotonic()
    with _place(folder) as place:
        request = before.request(slot.device, place)
        ours = ["hydra.mode=RUN", f"hydra.run.dir={as_override(str(place))}", CALLBACK]
        numbered = [f"hydra.job.num={number}", f"hydra.job.id={number}"]
        code = process.run_aside(
            [sys.executable, str(script), *overrides, *ours, *numbered],
            {**os.environ, **slot.environment, REQUEST: json.dumps(asdict(request))},
        )
        ending = None if code == 0 else f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if not Path(request.record).exists():
            raise ConfigError(f"The script ended with {ending or 'exit code 0'} before its training began; see above.")
        changes = _text_changes(before.study, script.read_text(encoding="utf-8"))
        return before.outcome(
            Path(request.record), ending=ending, seconds=time.monotonic() - started, changes=changes, ignore=ignore
        )


@contextlib.contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="sweeper-rerun-") as made:
            yield Path(made)
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"A folder to train in must be new or empty, but {folder} holds files.")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()


# ---- what has changed ------------------------------------------------------------------------------------------------


def _text_changes(study: StudyRecord, now: str | None) -> list[str]:
    text = source.kept(study.config).get("text")
    if text is None or now is None or text == now:
        return []
    return [f"the training code has changed since the study began:\n{difference(text, now, 'script')}"]


def _config_changes(before: Before, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The config as composed now beside the one that the study has frozen, both with the trial's parameters."""
    text = next((line["config"] for line in lines if "config" in line), None)
    config = before.study.config
    if text is None or "variants" not in config:
        return []
    from omegaconf import OmegaConf

    then, now = as_frozen(before.study, before.row["params"]) or OmegaConf.create(), OmegaConf.create(text)
    for word in before.otherwise:
        key, _, value = word.lstrip("+").partition("=")
        if not OmegaConf.is_config(OmegaConf.select(then, key)):
            OmegaConf.update(then, key, OmegaConf.from_dotlist([f"value={value}"]).value, force_add=True)
    for key in set(config.get("shorthands", {}).values()):  # they steer the sweep, and no training depends on them
        now.pop(key, None)
    if OmegaConf.to_container(then) == OmegaConf.to_container(now):
        return []
    texts = [OmegaConf.to_yaml(side, sort_keys=True) for side in (then, now)]
    return [f"the config has changed since the study began:\n{difference(texts[0], texts[1], 'config')}"]
