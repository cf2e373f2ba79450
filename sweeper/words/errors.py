"""Errors a person can act on: each message says the law, the values that broke it, and the cure."""

from __future__ import annotations

from sweeper.words.program import typed


class SweeperError(Exception):
    """Root of every error that `sweeper` raises on purpose; the command line prints it without a traceback."""

    def __str__(self) -> str:
        return typed(super().__str__())


class SpaceError(SweeperError, ValueError):
    """A search space that breaks a law: the message names the parameter, the law and the values."""


class ConfigError(SweeperError, ValueError):
    """A setting that cannot be used: an unknown name, a wrong type, a value out of its bounds."""


class StoreError(SweeperError):
    """A store that cannot be opened or trusted, or a study that is not in it."""


class StudyTaken(StoreError):
    """Another process began a study of that name, or its first trial, a moment ago."""


class CheckpointError(SweeperError):
    """A checkpoint that is missing, torn, changed on disk, or of another shape than the state it should fill."""


class MetricError(SweeperError, ValueError):
    """A report that is not a number, or a study's metric that was never reported."""


class StudyChanged(SweeperError):
    """A study is resumed with another config, space or script than it was started with."""


class Diverged(SweeperError):
    """The study's metric or a loss became NaN or infinite; the trial ends as FAIL `diverged`."""


class LeaseLost(BaseException):
    """Another worker holds this trial now: stop and write nothing.

    A `BaseException`, so that an `except Exception` in a training script cannot swallow it.
    """


class TrialTimeout(BaseException):
    """The trial, or one of its epochs, took longer than it may; it ends as FAIL `timeout`.

    A `BaseException`, so that an `except Exception` in a training script cannot swallow it.
    """


class TrialInterrupted(BaseException):
    """The worker was asked to leave; the epoch is checkpointed and the trial handed back.

    A `BaseException`, so that an `except Exception` in a training script cannot swallow it.
    """
