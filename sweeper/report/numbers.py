"""Numbers as a person writes them: three significant digits, units, and a curve on one line."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BARS = "▁▂▃▄▅▆▇█"
MISSING = "-"

_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def number(value: Any, *, pad: bool = False) -> str:
    """A value in a table's cell. `pad` keeps trailing zeros, so that measured values line up.

    >>> number(0.00123456), number(1.23456e-7), number(4321.5), number(0.5), number(0.5, pad=True), number(None)
    ('0.00123', '1.23e-7', '4322', '0.5', '0.500', '-')
    """
    if value is None:
        return MISSING
    if not isinstance(value, float):
        return str(value).lower() if isinstance(value, bool) else plain(str(value))
    if not math.isfinite(value):
        return str(value)
    if 1000 <= abs(value) < 1e6:
        return f"{value:.0f}"
    text = f"{value:#.3g}" if pad else f"{value:.3g}"
    mantissa, exponent, power = text.rstrip(".").partition("e")
    return f"{mantissa}e{int(power)}" if exponent else mantissa


def duration(seconds: float) -> str:
    """A span of time.

    >>> duration(0.123), duration(1.23), duration(40.2), duration(200), duration(7500), duration(200_000)
    ('0.12 s', '1.2 s', '40 s', '3 min 20 s', '2 h 05 min', '2 d 7 h')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def about(seconds: float) -> str:
    """A span of time that is an estimate: one unit, no more digits than are known.

    >>> about(3.2), about(43), about(200), about(7500)
    ('3 s', '40 s', '3 min', '2 h 05 min')
    """
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 55:
        return f"{round(seconds, -1):.0f} s"
    return f"{round(seconds / 60)} min" if seconds < 3570 else duration(seconds)


def size(size_bytes: int) -> str:
    """
    >>> size(999), size(1_234_567)
    ('999 B', '1.23 MB')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return f"{number(size_bytes / scale)} {unit}"
    return f"{size_bytes} B"


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """A curve as bars, at most `width` of them; a gap where a value is missing.

    >>> sparkline([3.0, 2.0, None, 1.0])
    '█▅ ▁'
    """
    count = min(width, len(values))
    picked = [values[index * len(values) // count] for index in range(count)]
    if count:
        picked[-1] = values[-1]
    known = [value for value in picked if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if value is None else BARS[round((value - low) * scale)] for value in picked)


def plain(text: str) -> str:
    """Without escape codes and control characters: what others wrote must not move a person's cursor."""
    return _CONTROL.sub("?", _ESCAPE.sub("", text))


def line(text: str, width: int = 200) -> str:
    """The first line of a text, cut to `width` characters."""
    first = plain((text.strip().splitlines() or [""])[0])
    return first if len(first) <= width else first[: width - 1] + "…"


def reason(failure: str, message: str | None) -> str:
    """A failure on one line; an exception that is named like its reason is not named twice.

    >>> reason("diverged", "Diverged: val_loss is nan"), reason("error", "KeyError: 'x'"), reason("timeout", None)
    ('diverged: val_loss is nan', "error: KeyError: 'x'", 'timeout')
    """
    said = line((message or "").removeprefix(f"{failure.title()}: "))
    return f"{failure}: {said}" if said else failure


def place(path: Path | str) -> str:
    """A path as seen from the current folder: relative where it lies inside."""
    try:
        return str(Path(path).absolute().relative_to(os.getcwd()))
    except ValueError:
        return str(path)
