"""Something that can be mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Repair:
    """`text` says what will be done, `names` every file or row that goes."""

    text: str
    do: Callable[[], str]
    """Looks again first, and returns what was done in words. May raise StoreError or OSError."""
    names: tuple[str, ...] = ()
