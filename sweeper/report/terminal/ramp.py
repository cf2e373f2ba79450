"""A learning-rate range test for eyes: the curve in letters, the marks in words, the range to paste; and as a PNG.

Numbers come from `sweeper.training.lr_range`; nothing is computed here but where a number stands in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.words.errors import ConfigError
from sweeper.words.numbers import number

if TYPE_CHECKING:
    from sweeper.check import LrCheck
    from sweeper.check.rates import LrRange

WIDTH, HEIGHT = 64, 10
MARKS = {
    "learns": ("L", "the smallest rate that learns in these few steps"),
    "steepest": ("S", "where the loss falls fastest"),
    "stable": ("M", "the largest that does not diverge"),
    "diverges": ("D", "the training is lost"),
}


def text(check: LrCheck) -> str:
    """All that `sweeper check --lr` says."""
    return "\n".join([*curve(check.found), "", *marks(check.found), "", *verdict(check)])


def curve(found: LrRange, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """The smoothed loss over the logarithm of the rate; a climb above what was there at the start is cut off."""
    top = max(found.start, found.best) + 0.15 * max(found.start - found.best, found.noise)
    scale = (height - 1) / (top - found.best) if top > found.best else 0.0
    rows = [[" "] * width for _ in range(height)]
    for rate, loss in zip(found.rates, found.smooth, strict=True):
        row = height - 1 if scale == 0.0 else round((top - min(max(loss, found.best), top)) * scale)
        rows[row][_column(found, rate, width)] = "•" if loss <= top else "↑"
    margin = [f"{number(top, pad=True):>8}", *[" " * 8] * (height - 2), f"{number(found.best, pad=True):>8}"]
    lines = [f"{label} ┤{''.join(row)}".rstrip() for label, row in zip(margin, rows, strict=True)]
    return ["    loss", *lines, f"{'':8} └{_axis(found, width)}", *_scale(found, width)]


def marks(found: LrRange) -> list[str]:
    known = [(*MARKS[name], getattr(found, name)) for name in MARKS]
    return [f"  {letter}  {number(rate):<9} {words}" for letter, words, rate in known if rate is not None]


def verdict(check: LrCheck) -> list[str]:
    """What it means, for the range that is searched now and for the script's own rate."""
    found = check.found
    said = [f"({check.ending})"] if check.ending else []
    if found.learns is None or found.stable is None or found.interval is None:
        return [
            *said,
            f"Cannot tell: at no rate from {number(found.low)} to {number(found.rates[-1])} does the loss "
            f"({number(found.start)}) fall by more than its noise ({number(found.noise)}).",
            "The model learns too slowly for this test (--steps 1000), or its batches are too noisy (--repeats 9), or "
            "nothing is learned at all: then labels, loss and gradients need a look.",
        ]
    low, high = map(number, found.interval)
    end = (
        f"nothing diverges up to {number(found.high)}: the end of the range is that of the test"
        if found.diverges is None and found.stable >= 0.9 * found.rates[-1]
        else f"above {number(found.stable)} the loss climbs again"
    )
    return [
        *said,
        f"From {low} to {high} the loss falls from {number(found.start)} to {number(found.best)}; {end}.",
        f"Begin with {number(found.suggestion)}, a third of the largest rate that does not diverge. Search:",
        "",
        f"  {check.yaml}",
        "",
        *judged(check),
    ]


def judged(check: LrCheck) -> list[str]:
    """The script's own rate and its sweep's range beside the proposal."""
    found, own = check.found, check.own_rate
    assert found.learns is not None
    assert found.stable is not None
    assert found.suggestion is not None
    said = [f"The script's own rate {number(own)} {_place(own, found)}."]
    if check.searched is None:
        return said
    low, high = check.searched
    span = f"The searched range [{number(low)}, {number(high)}]"
    if high < found.learns:
        said.append(f"{span} is too low: nothing in it learns in these few steps.")
    elif low > found.stable:
        said.append(f"{span} is too high: all of it lies above the largest stable rate.")
    elif high < found.suggestion:
        said.append(f"{span} ends too low, below the suggested {number(found.suggestion)}.")
    elif low > found.suggestion:
        said.append(f"{span} begins too high, above the suggested {number(found.suggestion)}.")
    elif (share := _share_above(found.stable, low, high)) > 1 / 3:
        said.append(f"{span} holds the suggested rate, but {share:.0%} of it lies above the largest stable one.")
    else:
        said.append(f"{span} holds the suggested rate.")
    return said


def png(check: LrCheck, file: Path) -> None:
    """The same picture with matplotlib. Raises ConfigError where that is not installed."""
    figure: Any = figures()()
    axes = figure.add_subplot()
    found = check.found
    axes.plot(found.rates, found.losses, ".", color="0.75", label=f"median of {check.ramps} ramps")
    axes.plot(found.rates, found.smooth, color="C0", label="smoothed")
    for index, (name, (_, words)) in enumerate(MARKS.items()):
        if (rate := getattr(found, name)) is not None:
            axes.axvline(rate, color=f"C{index + 1}", linestyle="--", label=f"{number(rate)}: {words}")
    if found.interval is not None:
        axes.axvspan(*found.interval, color="C2", alpha=0.1, label="proposed range")
    height = max(found.start - found.best, found.noise)
    axes.set(xscale="log", xlabel=check.key, ylabel="training loss", title="learning-rate range test")
    axes.set_ylim(found.best - 0.1 * height, found.start + 0.5 * height)
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    figure.savefig(file, dpi=150, bbox_inches="tight")


def figures() -> Any:
    """matplotlib's `Figure`; raises ConfigError where that is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "--plot needs matplotlib: pip install 'sweeper-hpo[plots]'. The curve above needs nothing."
        ) from None
    return Figure


def _column(found: LrRange, rate: float, width: int) -> int:
    return round((width - 1) * math.log(rate / found.low) / math.log(found.high / found.low))


def _axis(found: LrRange, width: int) -> str:
    """The ramp's axis, with the letters of the marks in it."""
    line = ["─"] * width
    for decade in _decades(found):
        line[_column(found, decade, width)] = "┴"
    for name, (letter, _) in MARKS.items():
        if (rate := getattr(found, name)) is not None:
            line[_column(found, rate, width)] = letter
    return "".join(line)


def _scale(found: LrRange, width: int) -> list[str]:
    line = " " * (width + 20)
    for decade in _decades(found):
        label = number(decade)
        at = 10 + _column(found, decade, width)
        if not line[max(at - 1, 0) : at + len(label)].strip():
            line = line[:at] + label + line[at + len(label) :]
    return [line.rstrip()]


def _decades(found: LrRange) -> Sequence[float]:
    first, last = math.ceil(math.log10(found.low) - 1e-9), math.floor(math.log10(found.high) + 1e-9)
    return [10.0**power for power in range(first, last + 1)]


def _place(rate: float, found: LrRange) -> str:
    assert found.learns is not None
    assert found.stable is not None
    if rate > found.stable:
        return (
            "is too high: it diverges"
            if found.diverges and rate >= found.diverges
            else "is too high: above the largest stable one"
        )
    if found.interval and rate < found.interval[0]:
        return "is too low: hardly anything is learned"
    return "lies inside"


def _share_above(rate: float, low: float, high: float) -> float:
    """Of the range's logarithm."""
    if low <= 0 or high <= low:
        return 0.0
    return min(max(math.log(high / max(rate, low)) / math.log(high / low), 0.0), 1.0)
