"""Why a training ended: the reason that the store keeps for an exception, and the words for it."""

from __future__ import annotations

import traceback

from sweeper.words.errors import CheckpointError, Diverged, TrialTimeout
from sweeper.words.records import Failure
from sweeper.words.text import said, storable

OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "not enough memory")
"""What torch and CUDA's libraries say in a RuntimeError when memory is short."""


def describe(error: BaseException) -> tuple[str, str]:
    """An exception as one line and as its traceback, as any store can hold them."""
    line = f"{storable(type(error).__name__)}: {said(error)}".splitlines()[0]
    return line[:500], storable("".join(traceback.format_exception(error)))[-20_000:]


def classify(error: BaseException) -> Failure:
    """The reason that the store keeps for an exception."""
    if isinstance(error, Diverged):
        return Failure.DIVERGED
    if isinstance(error, TrialTimeout):
        return Failure.TIMEOUT
    said_so = isinstance(error, RuntimeError) and any(words in said(error) for words in OUT_OF_MEMORY)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or said_so:
        return Failure.OUT_OF_MEMORY
    return Failure.ERROR


def gives_up(error: BaseException) -> bool:
    """Whether a script has pruned its own trial, as scripts written for Optuna do."""
    return any(kind.__name__ == "TrialPruned" and kind.__module__.startswith("optuna") for kind in type(error).__mro__)


def disk_is_full(error: BaseException | None) -> bool:
    import errno

    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ if isinstance(error, CheckpointError) else None
    return False
