"""The trial handle: what a training script holds while it trains, in a sweep or alone.

Per epoch the order is report → checkpoint → pointer to it; a kill between any two of them leaves a state from which
the same numbers come out. What a report and a pointer *are* is the journal's business: in a sweep the store's, fenced
by the trial's lease; alone a folder's.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, SupportsFloat

from sweeper.trial import checkpoint
from sweeper.trial.checkpoint import Checkpoint
from sweeper.trial.divergence import circumstances, lost
from sweeper.words.errors import ConfigError, Diverged, LeaseLost, MetricError
from sweeper.words.metrics import OBJECTIVE, is_monitor
from sweeper.words.records import Direction, EpochReport
from sweeper.words.text import storable

log = logging.getLogger("sweeper.trial")


class Journal(Protocol):
    """Where a trial's epochs are written down. Any method may raise LeaseLost."""

    last: EpochReport | None
    """The last epoch that earlier attempts reported."""
    value: float | None
    """The study's metric at that epoch."""

    def checkpoints(self) -> Sequence[Checkpoint]: ...

    def report(self, report: EpochReport, value: float | None) -> None: ...

    def point_to(self, new: Checkpoint, forget_epochs: Sequence[int]) -> None: ...

    def go_on(self, epochs_done: int) -> int | None:
        """At the end of a stage: the epochs to train to, all in all; None: the trial pauses here."""

    def leave_if_asked(self) -> None:
        """Raise TrialInterrupted when the worker should go; called where the trial is safe on the disk."""


class Trial:
    """One trial, as its training script sees it.

    Attributes:
        number: the trial's number in its study (0 when the script runs alone).
        params: its parameters by name; empty when the script runs alone, as Hydra's config has them.
        folder: the trial's own folder, a `Path`; nothing else writes there.
        device: "cpu" or "cuda:0".
        seed: follows from the study's seed and the number; alone SWEEPER_SEED says it, else it is None.
        paused: whether `epochs()` ended early, at the end of a stage of the plan; the trial may go on some day.
    """

    def __init__(
        self,
        *,
        number: int,
        params: Mapping[str, Any],
        folder: Path,
        device: str,
        seed: int | None,
        journal: Journal,
        metric: str = OBJECTIVE,
        direction: Direction = Direction.MINIMIZE,
        target_epochs: int | None = None,
        keep: int = 2,
        attempt: int = 1,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.number = number
        self.params = params
        self.folder = folder
        self.device = device
        self.seed = seed
        self.value = journal.value
        self.paused: bool = False
        self._journal = journal
        self._metric = metric
        self._direction = direction
        self._target_epochs = target_epochs
        self._keep = keep
        self._attempt = attempt
        self._identity = dict(identity or {})
        self._epoch: int | None = None
        self._next_epoch = 0
        self._started = time.monotonic()
        self._seconds = 0.0
        self._metrics: dict[str, float | None] = {}
        self._first: dict[str, float | None] = {}
        """Each metric as this attempt reported it first."""
        self._loops = False
        self._state: Mapping[str, Any] | None = None

    @property
    def epochs_done(self) -> int:
        return self._next_epoch if self._epoch is None else self._epoch

    @property
    def epoch_seconds(self) -> float:
        """How long the current epoch has trained; 0 outside of epochs."""
        return 0.0 if self._epoch is None else time.monotonic() - self._started

    @property
    def whereabouts(self) -> str:
        """Where a trial has diverged: ` at epoch 3 (step 1240, lr 0.31, gradient norm 4.1e+07)`."""
        epoch = "" if self._epoch is None else f" at epoch {self._epoch}"
        return epoch + circumstances(self._state, self._metrics)

    def __repr__(self) -> str:
        return f"Trial(number={self.number}, params={dict(self.params)})"

    def epochs(self, n: int, state: Mapping[str, Any] | None = None) -> Iterator[int]:
        """Yield the epochs that are left, counted from 0, up to `n` or to what the plan has granted.

        Restores the newest good checkpoint into `state` first: a mapping of names to anything with `state_dict` and
        `load_state_dict`, or `torch.Generator`s; the random generators of torch, NumPy and Python come along. After
        each epoch a checkpoint of `state` is written. `state={}`: there is nothing to restore, go on after the last
        report. Without `state` a trial that is taken up again starts at epoch 0.

        Raises MetricError when an epoch ends without a report of the study's metric, CheckpointError when a checkpoint
        does not fit `state`.
        """
        self._state = state
        epoch = self._restore(state)
        while self._may_train(epoch, n):
            self._begin(epoch)
            yield epoch
            self._require_metric()
            if state:
                self._save(epoch, state)
            epoch += 1
            if epoch < self._limit(n):
                self._journal.leave_if_asked()
        self._epoch = None

    def report(self, **metrics: SupportsFloat) -> None:
        """Report metrics of the current epoch, each a number: `trial.report(train_loss=0.3, val_loss=0.4)`.

        Several calls in one epoch add up, and a call after the loop adds to the last epoch. In a script without
        `epochs()` every call is an epoch of its own. Raises MetricError for what is no number, Diverged when the
        study's metric or a loss is NaN or infinite, or when the training is lost (see `sweeper.trial.divergence.lost`).
        """
        if self._epoch is not None:
            self._write(metrics)
        elif self._loops and self._next_epoch:
            self._write_last(metrics)
        else:
            self._epoch, self._metrics = self._next_epoch, {}
            self._next_epoch += 1
            self._write(metrics)
            self._epoch, self._started = None, time.monotonic()

    def finish(self, returned: Any) -> float:
        """The trial's value: the study's metric at the last epoch, or the float that the script returned."""
        if returned is not None and self._metric == OBJECTIVE:
            if self._next_epoch:
                self._write_last({OBJECTIVE: returned})
            else:
                self.report(**{OBJECTIVE: returned})
        if self.value is None:
            raise MetricError(
                f"A trial must report the study's metric {self._metric!r}, but this one reported "
                f"{', '.join(sorted(self._metrics)) or 'nothing'} and returned {returned!r}: call "
                f"trial.report({self._metric}=…), or set the sweep's `metric` to one of these (a returned float is "
                f"{OBJECTIVE!r})."
            )
        return self.value

    def _limit(self, n: int) -> int:
        return n if self._target_epochs is None else min(n, self._target_epochs)

    def _may_train(self, epoch: int, n: int) -> bool:
        """Whether another epoch is wanted; at the end of a stage the plan says whether the trial goes on."""
        if epoch >= self._limit(n) and epoch < n and self._target_epochs is not None:
            self._epoch = None
            self._journal.leave_if_asked()
            self._target_epochs = self._journal.go_on(epoch) or self._target_epochs
            self.paused = epoch >= self._target_epochs
        return epoch < self._limit(n)

    def _begin(self, epoch: int) -> None:
        self._epoch, self._next_epoch, self._metrics = epoch, epoch + 1, {}
        self._started = time.monotonic()

    def _write_last(self, metrics: Mapping[str, Any]) -> None:
        """Add to the last epoch, which is over: its seconds stay."""
        self._epoch = self._next_epoch - 1
        self._write(metrics, self._seconds)
        self._epoch = None

    def _write(self, metrics: Mapping[str, Any], seconds: float | None = None) -> None:
        assert self._epoch is not None
        new = {storable(name): _number(name, value) for name, value in metrics.items()}
        self._metrics.update({name: number if math.isfinite(number) else None for name, number in new.items()})
        self._seconds = time.monotonic() - self._started if seconds is None else seconds
        if self._metric in self._metrics:
            self.value = self._metrics[self._metric]
        report = EpochReport(self.number, self._epoch, dict(self._metrics), self._seconds)
        self._journal.report(report, self._metrics.get(self._metric))
        numbers = "  ".join(f"{name} {number:.4g}" for name, number in new.items() if not is_monitor(name))
        log.info("epoch %d  %s  (%.1f s)", self._epoch, numbers, self._seconds)
        for name, number in new.items():
            is_loss = "loss" in name.lower() and not is_monitor(name)
            if (name == self._metric or is_loss) and not math.isfinite(number):
                raise Diverged(f"{name} is {number}{self.whereabouts}")
        self._first = {**self._metrics, **self._first}
        if why := lost(self._first, self._metrics):
            raise Diverged(f"{why}{self.whereabouts}")

    def _require_metric(self) -> None:
        if self._metric in self._metrics or self._metric == OBJECTIVE:
            return
        raise MetricError(
            f"Every epoch must report the study's metric {self._metric!r}, but epoch {self._epoch} reported "
            f"{', '.join(sorted(self._metrics)) or 'nothing'}: call trial.report({self._metric}=…), or set the "
            "sweep's `metric` to one of these."
        )

    def _restore(self, state: Mapping[str, Any] | None) -> int:
        """Fill `state` from the newest good checkpoint; returns the epoch to go on with."""
        self._loops = True
        last = self._journal.last
        if state is None or (not state and last is None):
            return 0
        if not state and last is not None:
            self._remember(last.epoch, last.metrics, last.seconds)
            return last.epoch + 1
        found = checkpoint.load_newest(self._journal.checkpoints(), state)
        if found is None:
            return 0
        saved, extra = found
        self._remember(saved.epoch, extra.get("metrics", {}), extra.get("seconds", 0.0))
        self.value = saved.value
        log.info("trial %d goes on after epoch %d from %s", self.number, saved.epoch, saved.path)
        return saved.epoch + 1

    def _remember(self, epoch: int, metrics: Mapping[str, float | None], seconds: float) -> None:
        self._next_epoch, self._metrics, self._seconds = epoch + 1, dict(metrics), seconds

    def _save(self, epoch: int, state: Mapping[str, Any]) -> None:
        """Write the checkpoint, point to it, and only then delete what is not needed any more."""
        folder = self.folder / "checkpoints"
        extra = {"metrics": self._metrics, "seconds": self._seconds, "number": self.number, "seed": self.seed}
        extra = {**extra, **self._identity}
        metric = self._metric if self.value is not None else None
        new = checkpoint.save(folder, epoch, state, metric=metric, value=self.value, attempt=self._attempt, extra=extra)
        before = [old for old in self._journal.checkpoints() if old.path != new.path]
        # one that is newer than the epoch just trained was damaged, else the trial had gone on from it
        kept = checkpoint.kept([*(old for old in before if old.epoch < epoch), new], self._direction.sign, self._keep)
        gone = [old for old in before if old.epoch not in kept or old.epoch >= epoch]
        try:
            self._journal.point_to(new, [old.epoch for old in gone if old.epoch != epoch])
        except LeaseLost:
            checkpoint.delete(folder, [new])  # nobody will ever point to it
            raise
        checkpoint.delete(folder, gone)


class FolderJournal:
    """The journal of a script that runs alone: checkpoints in Hydra's output folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "checkpoints"
        self._known = [checkpoint.found(path) for path in sorted(self._folder.glob("epoch=*.pt"))]
        newest = self._known[-1] if self._known else None
        self.last: EpochReport | None = None if newest is None else EpochReport(0, newest.epoch, {}, 0.0)
        self.value: float | None = None if newest is None else newest.value

    def checkpoints(self) -> Sequence[Checkpoint]:
        return self._known

    def report(self, report: EpochReport, value: float | None) -> None:
        """Alone, the log is all there is."""

    def point_to(self, new: Checkpoint, forget_epochs: Sequence[int]) -> None:
        stay = [old for old in self._known if old.epoch != new.epoch and old.epoch not in forget_epochs]
        self._known = [*stay, new]

    def go_on(self, epochs_done: int) -> int | None:
        """Alone, there are no stages."""

    def leave_if_asked(self) -> None:
        """Alone, Ctrl-C ends the script as it always does."""


SEED = "SWEEPER_SEED"
"""The environment variable that a script which runs alone takes its `trial.seed` from."""

_current: list[Trial] = []


def current_trial() -> Trial:
    """The trial that this process trains now; alone (without a sweep) a stand-in for Hydra's output folder."""
    if _current:
        return _current[-1]
    from sweeper.trial.output import output_folder

    folder = output_folder()
    return Trial(number=0, params={}, folder=folder, device=_device(), seed=_seed(), journal=FolderJournal(folder))


@contextlib.contextmanager
def as_current(trial: Trial) -> Iterator[Trial]:
    _current.append(trial)
    try:
        yield trial
    finally:
        _current.pop()


def _seed() -> int | None:
    asked = os.environ.get(SEED)
    if asked is not None and not asked.isdecimal():
        raise ConfigError(f"{SEED} is a whole number from 0 on, but got {asked!r}.")
    return None if asked is None else int(asked)


def _device() -> str:
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _number(name: str, value: Any) -> float:
    """A metric as a float; truth values, texts and complex numbers are none."""
    is_bool = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
    if is_bool or value is None or isinstance(value, str | bytes | bytearray):
        raise MetricError(f"A metric is a number, but got {name}={value!r}.")
    try:
        return float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise MetricError(f"A metric is a number, but got {name}={value!r:.100} ({error}).") from None
