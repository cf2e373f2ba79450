"""Numbers as a person writes them: three significant digits, units, and a curve on one line."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BARS = "▁▂▃▄▅▆▇█"
MISSING = "-"
NOT_A_NUMBER = "×"
DECADES = 1.3
"""A curve that spans more than so many decades is shown by its logarithm."""
FLAT = 2
"""So is one that falls to less than a half at once, and then lies flat."""

_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def number(value: Any, *, pad: bool = False) -> str:
    """A value in a table's cell. `pad` keeps trailing zeros, so that measured values line up.

    >>> number(0.00123456), number(1.23456e-7), number(4321.5), number(0.5), number(0.5, pad=True), number(None)
    ('0.00123', '1.23e-7', '4322', '0.5', '0.500', '-')
    >>> number(0.999), number(0.99987), number(0.9999), number(1.0)
    ('0.999', '0.9999', '0.9999', '1')
    """
    if value is None:
        return MISSING
    if not isinstance(value, float):
        return str(value).lower() if isinstance(value, bool) else plain(str(value))
    if not math.isfinite(value):
        return str(value)
    if 1000 <= abs(value) < 1e6:
        return f"{value:.0f}"
    if 0.9995 <= abs(value) < 1:  # as a momentum may be: 1 would be another thing
        return f"{value:.{math.ceil(-math.log10(1 - abs(value)))}g}"
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


def between(low: float, high: float) -> str:
    """A span of time that lies between two, in as few digits as such an estimate deserves.

    >>> between(3.2, 8), between(43, 200), between(700, 1230), between(5000, 9000), between(290, 310)
    ('3–8 s', '40 s – 3 min', '12–20 min', '1.4–2.5 h', '5 min')
    """
    (first, small), (last, large) = _rough(low), _rough(high)
    if small != large:
        return f"{first} {small} – {last} {large}"
    return f"{last} {large}" if first == last else f"{first}–{last} {large}"


def _rough(seconds: float) -> tuple[str, str]:
    for unit, length, least in (("d", 86400, 48 * 3600), ("h", 3600, 3570), ("min", 60, 55)):
        if seconds >= least:
            digits = 1 if unit != "min" and seconds < 9.95 * length else 0
            return f"{seconds / length:.{digits}f}", unit
    return (f"{max(1, round(seconds))}" if seconds < 10 else f"{round(seconds, -1):.0f}"), "s"


def short(value: float) -> str:
    """Three digits, as Python writes them.

    >>> short(2.3026), short(0.00012345), short(123456.0)
    ('2.3', '0.000123', '1.23e+05')
    """
    return f"{value:.3g}"


def counted(count: int, noun: str, many: str | None = None) -> str:
    """
    >>> counted(1, "file"), counted(2, "file"), counted(0, "study", "studies")
    ('1 file', '2 files', '0 studies')
    """
    return f"{count} {noun if count == 1 else many or f'{noun}s'}"


def listed(names: Sequence[Any], most: int = 4) -> str:
    """
    >>> listed(["a", "b"]), listed("abcdef")
    ('a, b', 'a, b, c, d and 2 more')
    """
    left = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {left} more" if left > 0 else "")


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
    """A curve as bars on its own scale, at most `width` of them; a gap where a value is missing, × where it is NaN.

    >>> sparkline([3.0, 2.0, None, 1.0]), sparkline([1000.0, 100.0, 10.0, 1.0]), sparkline([2.0, math.nan])
    ('█▅ ▁', '█▆▃▁', '▁×')
    """
    count = min(width, len(values))
    picked = [values[index * len(values) // count] for index in range(count)]
    if count:
        picked[-1] = values[-1]
    known = [value for value in picked if value is not None and math.isfinite(value)]
    shown = math.log if _is_logarithmic(known) else float
    low, high = (shown(end(known)) for end in (min, max)) if known else (0.0, 0.0)
    span = high - low or 1.0
    return "".join(_bar(value, lambda each: (shown(each) - low) / span) for value in picked)


def _is_logarithmic(values: Sequence[float]) -> bool:
    """Positive values that span decades, or of which a first large one would press most against the bottom."""
    if not values or min(values) <= 0:
        return False
    low, middle, high = min(values), sorted(values)[len(values) // 2], max(values)
    return math.log10(high / low) > DECADES or (high / low > FLAT and (middle - low) < (high - low) / len(BARS))


def _bar(value: float | None, height: Callable[[float], float]) -> str:
    if value is None:
        return " "
    return BARS[round(height(value) * (len(BARS) - 1))] if math.isfinite(value) else NOT_A_NUMBER


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


def iso(seconds: float | None) -> str | None:
    """
    >>> iso(0.5)
    '1970-01-01T00:00:00.500000+00:00'
    """
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
