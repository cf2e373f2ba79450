"""Who may take part: stored checkpoints of a study's best trials, and the same settings with other seeds."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from torch import nn

from sweeper.machine import devices
from sweeper.retraining import rerun
from sweeper.retraining import trained as retraining
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.training import weights
from sweeper.trial import checkpoint
from sweeper.trial.checkpoint import Checkpoint
from sweeper.trial.overrides import as_frozen
from sweeper.words.errors import CheckpointError, ConfigError, SweeperError
from sweeper.words.records import StudyRecord, TrialRecord, TrialState
from sweeper.words.seeds import derive

log = logging.getLogger("sweeper")


class Kind(StrEnum):
    """What a candidate is."""

    TRIAL = "trial"
    """One of the best, as its best checkpoint has it."""
    SEED = "seed"
    """The setting of one of the best, trained with another seed."""
    CHECKPOINT = "checkpoint"
    """Another epoch of one of these, as far as it is kept."""
    AVERAGE = "average"
    """Of its weights: a running one that its checkpoint holds, or that of its checkpoints."""


@dataclass(frozen=True)
class Candidate:
    """One set of weights. Of several checkpoints it is their mean; `entry` is where in them the weights lie."""

    trial: int
    kind: Kind
    seed: int
    config: Any
    checkpoints: tuple[Checkpoint, ...]
    entry: str | None = None

    @property
    def epochs(self) -> tuple[int, ...]:
        return tuple(each.epoch for each in self.checkpoints)

    @property
    def name(self) -> str:
        """Of its files: `0007-seed-12-epoch-11`."""
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", f"-{self.entry}" if self.entry else "")
        return f"{self.trial:04d}-seed-{self.seed}-epoch-{'-'.join(map(str, self.epochs))}{plain}"

    def model(self, build: Callable[[Any], nn.Module]) -> nn.Module:
        """Built and filled. Raises CheckpointError where the weights are another model's."""
        made = build(self.config)
        states = [self._weights(each, made) for each in self.checkpoints]
        return weights.fill(made, states[0] if len(states) == 1 else weights.mean(states), self.name)

    def _weights(self, saved: Checkpoint, model: nn.Module) -> Mapping[str, Any]:
        checkpoint.verify(saved)
        entries = checkpoint.read(saved.path)["state"]
        found = weights.fitting(entries, model)
        if found:
            return found[self.entry or next(iter(found))]
        if weights.MODEL in entries:
            weights.fill(model, entries[weights.MODEL], str(saved.path))  # torch says what does not fit
        raise CheckpointError(
            f"A checkpoint must hold the weights of the model that `build(cfg)` gives, but {saved.path} holds "
            f'{", ".join(entries) or "nothing"}: give trial.epochs() the state={{"model": model, …}}.'
        )


def config_of(study: StudyRecord, params: Mapping[str, Any]) -> Any:
    """A trial's config as the study has frozen it, without what steers the sweep; in Python, its parameters."""
    if "variants" not in study.config:
        return dict(params)
    config = as_frozen(study, params)
    if config is None:
        raise ConfigError(f"The study {study.name} has composed no config for {dict(params)}.")
    return config


def candidates(
    store: Store,
    study: StudyRecord,
    build: Callable[[Any], nn.Module],
    top: int,
    *,
    checkpoints: bool = False,
    averages: bool = False,
) -> tuple[list[Candidate], list[str]]:
    """The best trials, and their repeats with other seeds; and what is missing of them, in words."""
    best = reads.best(store, study, top)
    numbers = {trial.number for trial in best}
    again = [trial for trial in reads.confirmed_trials(store, study) if trial.repeats in numbers]
    found: list[Candidate] = []
    left_out = []
    for trial in [*best, *(trial for trial in again if trial.state is TrialState.COMPLETE)]:
        kept = _kept(store, study, trial.number)
        if not kept:
            left_out.append(f"trial {trial.number} has no checkpoint left")
            continue
        first = _of_trial(study, trial, kept[0])
        found.append(first)
        if checkpoints:
            found += [replace(first, kind=Kind.CHECKPOINT, checkpoints=(each,)) for each in kept[1:]]
        if averages:
            found += _averages(first, kept, build)
    return found, left_out


def _kept(store: Store, study: StudyRecord, number: int) -> list[Checkpoint]:
    """The checkpoints of a trial that are still there, the best first."""
    folder = study.trial_folder(number)
    rows = reads.checkpoint_rows(store, study.id, number)
    there = [found for row in rows if (found := Checkpoint.of_row(row, folder)).path.exists()]
    return _best_first(there, study.direction.sign)


def _best_first(found: Sequence[Checkpoint], sign: int) -> list[Checkpoint]:
    def rank(each: Checkpoint) -> tuple[float, int]:
        return (float("inf") if each.value is None else sign * each.value), -each.epoch

    return sorted(found, key=rank)


def _of_trial(study: StudyRecord, trial: TrialRecord, best: Checkpoint) -> Candidate:
    """`trial` is one of the best, or repeats one."""
    kind, number = (Kind.TRIAL, trial.number) if trial.repeats is None else (Kind.SEED, trial.repeats)
    return Candidate(number, kind, trial.seed, config_of(study, trial.params or {}), (best,))


def _averages(first: Candidate, kept: Sequence[Checkpoint], build: Callable[[Any], nn.Module]) -> Iterator[Candidate]:
    """Running averages in the best checkpoint that are not what was validated, and the mean of all that are kept."""
    entries = weights.fitting(checkpoint.read(kept[0].path)["state"], build(first.config))
    names = [name for name in list(entries)[1:] if name != weights.MODEL]
    yield from (replace(first, kind=Kind.AVERAGE, entry=name) for name in names)
    if len(kept) > 1:
        in_order = tuple(sorted(kept, key=lambda each: each.epoch))
        yield replace(first, kind=Kind.AVERAGE, checkpoints=in_order)


def with_seeds(
    before: rerun.Before, count: int, script: Path, overrides: Sequence[str], slot: devices.Slot
) -> tuple[list[Candidate], list[str]]:
    """A trial's setting trained with `count` other seeds; what was trained by an earlier call is taken as it is.

    `script` comes from `rerun.own_script`, `overrides` through `rerun.overrides_of_trust`.
    """
    study, number = before.study, before.row["number"]
    config = config_of(study, before.row["params"])
    found, left_out = [], []
    for index in range(count):
        seed = derive(study.seed, "ensemble", number, index)
        folder = Path(study.folder) / "seeds" / f"{number:04d}-{seed}"
        try:
            trained = _once(before, script, overrides, slot, folder, seed)
        except SweeperError as error:
            left_out.append(f"seed {seed} of trial {number}: {error}")
            continue
        best = _best_first(trained, study.direction.sign)[0]
        found.append(Candidate(number, Kind.SEED, seed, config, (best,)))
    return found, left_out


def _once(
    before: rerun.Before, script: Path, overrides: Sequence[str], slot: devices.Slot, folder: Path, seed: int
) -> list[Checkpoint]:
    """The checkpoints of a training in `folder`, which takes its name when it is over."""
    if not folder.exists():
        building = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            trained = retraining.train(before, script, overrides, slot, building, seed=seed)
            trained.checkpoints()
            for change in trained.changes:
                log.warning("seed %d of trial %d: %s", seed, before.row["number"], change)
            building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return [checkpoint.found(path) for path in sorted((folder / "checkpoints").glob("epoch=*.pt"))]
