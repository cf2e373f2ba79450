"""A person's training script looked over before a sweep, as it stands: nothing needs to be written into it.

It runs in a fresh process, with its own overrides. There `sweeper.current_trial()` gives a trial without an end, and
every backward pass and step of the optimizer is watched (`sweeper.training.ramp`): so any script that trains with
PyTorch can be tested, also one that knows nothing of `sweeper`. It leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import re
import runpy
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper import process
from sweeper.config import as_override
from sweeper.entries import get_state, set_state
from sweeper.errors import ConfigError, SpaceError
from sweeper.handle import FolderJournal, Trial, as_current
from sweeper.report.numbers import number
from sweeper.training.lr_range import Curve, LrRange, analyse, geometric

REQUEST = "SWEEPER_CHECK"
"""The environment variable that tells the fresh process its request, as JSON."""

CHILD = "from sweeper.check import child; child()"
RATE_KEYS = re.compile(r"(.*[._])?(lr|learning_rate)")
"""What a learning rate is called in a config."""
DEFAULT_KEY = "optimizer.lr"
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


# ---- in the fresh process --------------------------------------------------------------------------------------------


class EndlessTrial(Trial):
    """A trial that trains for as long as the ramps climb; its reports and checkpoints are nobody's."""

    def epochs(self, n: int, state: Mapping[str, Any] | None = None) -> Iterator[int]:
        """Always the first epoch anew, for schedules and early stopping too; weights and optimizer go on."""
        held = {name: entry for name, entry in (state or {}).items() if _begins_anew(entry)}
        first = {name: copy.deepcopy(get_state(name, entry)) for name, entry in held.items()}
        while True:
            yield 0
            for name, entry in held.items():
                set_state(entry, copy.deepcopy(first[name]))

    def report(self, **metrics: Any) -> None:
        """At rates that are too high on purpose, no number is a surprise."""


def _begins_anew(entry: Any) -> bool:
    import torch

    goes_on = torch.nn.Module | torch.optim.Optimizer | torch.Generator
    return not isinstance(entry, goes_on) and (isinstance(entry, dict) or hasattr(entry, "load_state_dict"))


def child() -> None:
    """Runs the script of the command line as `python SCRIPT …` does, its rate on the ramps of the request."""
    import torch

    from sweeper.training.ramp import Ramps, RampsDone, watched

    request = json.loads(os.environ[REQUEST])
    ramp, place = Ramp(**request["ramp"]), Path(request["place"])
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    trial = EndlessTrial(number=0, params={}, folder=place, device=device, seed=None, journal=FolderJournal(place))
    with open(place / "ramps.jsonl", "w", encoding="utf-8", buffering=1) as record:

        def note(number: int, rate: float, loss: float) -> None:
            record.write(json.dumps({"ramp": number, "rate": rate, "loss": loss, "own_rate": ramps.own_rate}) + "\n")

        ramps = Ramps(geometric(ramp.low, ramp.high, ramp.steps), ramp.repeats, note)
        with as_current(trial), watched(ramps), contextlib.suppress(RampsDone):
            runpy.run_path(sys.argv[0], run_name="__main__")
            record.write(json.dumps({"ended": True}) + "\n")


# ---- the script ------------------------------------------------------------------------------------------------------


def command(script: Path, overrides: Sequence[str]) -> list[str]:
    """The script and what it is given. Raises ConfigError where there is no script."""
    if not script.is_file():
        raise ConfigError(f"A training script is a Python file, but there is no {script}: sweeper check --lr FILE …")
    return [str(script), *overrides]


def lr_of_script(script: Path, overrides: Sequence[str], ramp: Ramp) -> LrCheck:
    """Run the script with its rate on the ramps; Ctrl-C ends it. Its output goes to stderr.

    Raises ConfigError where it did not train, or not for long enough.
    """
    words, started = command(script, overrides), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sweeper-check-") as made:
        place = Path(made)
        hydra = [f"hydra.run.dir={as_override(made)}", "hydra.mode=RUN"] if _is_hydra(script) else []
        request = json.dumps({"ramp": asdict(ramp), "place": made})
        code = process.run_aside([sys.executable, "-c", CHILD, *words, *hydra], {**os.environ, REQUEST: request})
        lines = [json.loads(line) for line in _text(place / "ramps.jsonl").splitlines()]
        curves, ending = _climbed(lines, ramp, code)
        found = analyse(curves, ramp.low, ramp.high, ramp.steps)
        own_rate = float(next(line["own_rate"] for line in lines if line.get("own_rate") is not None))
        key, searched, limits = _in_config(place / ".hydra", own_rate)
        seconds = time.monotonic() - started
        return LrCheck(found, key, own_rate, searched, limits or (ramp.low, ramp.high), len(curves), seconds, ending)


def _climbed(lines: Sequence[Mapping[str, Any]], ramp: Ramp, code: int) -> tuple[list[Curve], str | None]:
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


def _in_config(folder: Path, own_rate: float) -> tuple[str, tuple[float, float] | None, tuple[float, float] | None]:
    """The rate's key in the config that Hydra has written there, and its range and limits in the sweep's space."""
    from omegaconf import OmegaConf

    from sweeper import grammar

    if not (folder / "config.yaml").exists():
        return DEFAULT_KEY, None, None
    config: Any = OmegaConf.load(folder / "config.yaml")
    named = {key for key, value in _leaves(config) if RATE_KEYS.fullmatch(key) and value == own_rate}
    params: Any = OmegaConf.select(OmegaConf.load(folder / "hydra.yaml"), "hydra.sweeper.params")
    space: Mapping[str, Any] = {}
    if params:
        with contextlib.suppress(SpaceError):  # the sweep will say it
            space = {each.name: each for each in grammar.parse(OmegaConf.to_container(params)).space}  # type: ignore[arg-type]
    keys = sorted(named & set(space)) or sorted(named) or [DEFAULT_KEY]
    parameter = space.get(keys[0])
    if parameter is None or not hasattr(parameter, "low"):
        return keys[0], None, None
    limits = parameter.limits
    return keys[0], (parameter.low, parameter.high), None if limits is None else (limits[0], limits[1])


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    from omegaconf import OmegaConf

    for key in config:
        value = OmegaConf.select(config, str(key), throw_on_missing=False)
        if OmegaConf.is_dict(value):
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield f"{prefix}{key}", value


def _is_hydra(script: Path) -> bool:
    return "hydra.main" in _text(script) or "from hydra import main" in _text(script)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
