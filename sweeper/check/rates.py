"""A script's learning-rate range test, in a fresh process or from what one has written down."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.check.script import command, hydra_words, rate_of, run, text
from sweeper.training.lr_range import Curve, analyse, geometric
from sweeper.training.lr_range import LrRange as LrRange
from sweeper.words.errors import ConfigError
from sweeper.words.numbers import number

NAME = "learning rate"
RECORD = "ramps.jsonl"
"""In the folder of a test: a line for each step."""
TAKEN = 20
"""Steps of a ramp after which an exception counts as the script's word on the rate: it looks at the loss itself."""


@dataclass(frozen=True)
class Ramp:
    """The rates that are tried: from `low` to `high` in `steps`, `repeats` times."""

    low: float
    high: float
    steps: int
    repeats: int

    def __post_init__(self) -> None:
        geometric(self.low, self.high, self.steps)
        if self.repeats < 1:
            raise ConfigError(f"`repeats >= 1` must hold for a range test, but got {self.repeats}.")


@dataclass(frozen=True)
class LrCheck:
    """A script's range test: what was found, its own rate, and the range that its sweep searches (None: none).

    `key` is the learning rate's name in its config; `ramps` is how many were climbed.
    """

    found: LrRange
    key: str
    own_rate: float
    searched: tuple[float, float] | None
    limits: tuple[float, float]
    ramps: int
    seconds: float
    ending: str | None

    @property
    def yaml(self) -> str | None:
        """The parameter to paste into a space."""
        if self.found.interval is None:
            return None
        ends = [", ".join(number(end) for end in pair) for pair in (self.found.interval, self.limits)]
        return f"{self.key}: {{interval: [{ends[0]}], log: true, limits: [{ends[1]}]}}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "interval": self.found.interval, "suggestion": self.found.suggestion, "yaml": self.yaml}


def lr_of_script(script: Path, overrides: Sequence[str], ramp: Ramp) -> LrCheck:
    """Run the script with its rate on the ramps; Ctrl-C ends it. Its output goes to stderr.

    Raises ConfigError where it did not train, or not for long enough.
    """
    words, started = command(script, overrides), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sweeper-check-") as made:
        place = Path(made)
        words = [*words, *hydra_words(script, place)]
        code = run({"kind": "ramps", "words": words, "place": made, "ramp": asdict(ramp)})
        return lr_of_record(place, ramp, code, started)


def lr_of_record(place: Path, ramp: Ramp, code: int, started: float) -> LrCheck:
    """What the ramps have written down in `place`. Raises ConfigError where it is too little."""
    lines = [json.loads(line) for line in text(place / RECORD).splitlines()]
    curves, ending = climbed(lines, ramp, code)
    found = analyse(curves, ramp.low, ramp.high, ramp.steps)
    own_rate = float(next(line["own_rate"] for line in lines if line.get("own_rate") is not None))
    key, searched, limits = rate_of(place / ".hydra", own_rate)
    seconds = time.monotonic() - started
    return LrCheck(found, key, own_rate, searched, limits or (ramp.low, ramp.high), len(curves), seconds, ending)


def climbed(lines: Sequence[Mapping[str, Any]], ramp: Ramp, code: int) -> tuple[list[Curve], str | None]:
    """The ramps that reached their end, and how the script ended if not by the test."""
    curves: list[Curve] = [[] for _ in range(ramp.repeats)]
    for line in lines:
        if "ramp" in line:
            curves[line["ramp"]].append((line["rate"], line["loss"]))
    curves = [curve for curve in curves if curve]
    steps = sum(map(len, curves))
    if not steps:
        raise ConfigError(
            "A range test watches the steps of a PyTorch optimizer, but the script "
            + (f"ended with exit code {code} before the first; see above." if code else "took none.")
        )
    if code == 0 and not any("ended" in line for line in lines):
        return curves, None
    lost = code != 0 and len(curves[-1]) >= TAKEN
    if lost:
        ending = f"the script itself ended with exit code {code} at the rate {curves[-1][-1][0]:.2g}; see above"
    elif len(curves) > 1:
        curves, ending = curves[:-1], f"the script ended after {steps} steps"
    elif code != 0:
        raise ConfigError(
            f"A range test needs {ramp.steps} steps, but the script ended with exit code {code}; see above."
        )
    else:
        raise ConfigError(
            f"A range test needs {ramp.steps} steps, but the script ended after {steps}: let it train longer (without "
            "trial.epochs() its own number of epochs counts), or give --steps."
        )
    return curves, ending


def judged(check: LrCheck) -> Finding:
    """The script's own rate and its sweep's range against what was found."""
    found = check.found
    numbers = {"own_rate": check.own_rate, "interval": found.interval, "suggestion": found.suggestion}
    if found.interval is None or found.stable is None or found.learns is None:
        told = f"Cannot tell: at no rate does the loss {number(found.start)} fall by more than its noise"
        return unknown(
            NAME, f"{told} ({number(found.noise)}).", "sweeper check --lr --steps 1000 looks longer.", **numbers
        )
    low, high = map(number, found.interval)
    told = f"Rates from {low} to {high} learn; the script's own is {number(check.own_rate)}"
    cure = f"Search {check.yaml}"
    if check.own_rate > found.stable:
        return fails(NAME, f"{told}: too high.", cure, **numbers)
    if check.searched is not None:
        first, last = check.searched
        span = f"[{number(first)}, {number(last)}]"
        if last < found.learns or first > found.stable:
            side = "below" if last < found.learns else "above"
            return fails(NAME, f"{told}; all of the searched range {span} lies {side} that.", cure, **numbers)
        told = f"{told}, the searched range {span}"
    elif check.own_rate < found.interval[0]:
        return unknown(NAME, f"{told}: too low, or too slow for so few steps.", cure, **numbers)
    return replace(passes(NAME, f"{told}.", **numbers), cure=cure if check.searched is None else None)
