"""All of it: a script's own training under a watch, a part of it trained again, its corners, its cost."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper.check import corners as ends
from sweeper.check import result
from sweeper.check.cost import NAME as COST
from sweeper.check.cost import cost
from sweeper.check.finding import Finding, Verdict, fails, passes, unknown
from sweeper.check.rates import NAME as RATE
from sweeper.check.rates import LrCheck, Ramp, judged, lr_of_record
from sweeper.check.script import Sweep, command, run, slots_of, sweep_of, text
from sweeper.machine.devices import Slot
from sweeper.search.plan import Plan
from sweeper.search.plans import make_plan
from sweeper.words.errors import ConfigError, SpaceError, SweeperError
from sweeper.words.metrics import OBJECTIVE
from sweeper.words.numbers import plain

RAMP = Ramp(1e-7, 10.0, 120, 2)
SCRIPT_FAILS = "Cannot tell: the script itself fails."
QUICK_SECONDS = 5.0
"""That a training is watched for, after its first step, where it must be quick."""
TAIL = 15
"""Lines of a script's own output that are shown where it fails."""


@dataclass(frozen=True)
class Wish:
    """What shall be looked at.

    Attributes:
        seconds: that a training may be watched for, after its first step.
        ramp: the rates to try; None: none.
        again: whether a part of it is trained again (overfit, gradients).
        corners: those that shall run; None: those of the space in the script's own config.
        patience_seconds: that each run may take besides: data to load, kernels to compile.
        at: where in the space the script is watched; None: as it stands.
    """

    seconds: float = 20.0
    ramp: Ramp | None = RAMP
    again: bool = True
    corners: tuple[ends.Corner, ...] | None = None
    at: ends.Corner | None = None
    patience_seconds: float = 600.0


@dataclass(frozen=True)
class Checkup:
    """What was found; `rates`: the range test, where it came to its end."""

    findings: tuple[Finding, ...]
    seconds: float
    rates: LrCheck | None = None
    log: str = ""
    corners_raise: bool = False

    @property
    def failed(self) -> list[Finding]:
        return [each for each in self.findings if each.verdict is Verdict.FAILS]

    def rows(self) -> list[dict[str, Any]]:
        return [each.as_row() for each in self.findings]


def check_script(
    script: Path,
    overrides: Sequence[str],
    wish: Wish | None = None,
    *,
    sweep: Sweep | None = None,
    slots: Sequence[Slot] | None = None,
) -> Checkup:
    """Run the script under a watch, and its corners; Ctrl-C ends it.

    `sweep` and `slots`: what a sweep knows of itself; else the script's config says it. Raises ConfigError.
    """
    wish, started = wish or Wish(), time.monotonic()
    words = command(script, overrides)
    with tempfile.TemporaryDirectory(prefix="sweeper-check-") as made:
        run(_request(words, Path(made), wish), slots[0].environment if slots else {})
        return _examined(Path(made), words, wish, sweep, slots, started)


def _request(words: Sequence[str], place: Path, wish: Wish) -> dict[str, Any]:
    times = {"seconds": wish.seconds, "patience_seconds": wish.patience_seconds}
    at = wish.at.words if wish.at else ()
    survey = {"try": wish.again, "ramp": asdict(wish.ramp) if wish.ramp else None, "words": [*words, *at], **times}
    corners = None if wish.corners is None else [each.as_json() for each in wish.corners]
    return {"kind": "checkup", "words": words, "place": str(place), "survey": survey, "corners": corners, **times}


def _examined(
    place: Path,
    words: Sequence[str],
    wish: Wish,
    sweep: Sweep | None,
    slots: Sequence[Slot] | None,
    started: float,
) -> Checkup:
    """What the processes have written into `place`."""
    seen, odd = _result(place / "survey"), None
    if sweep is None:
        sweep, odd = _sweep(place / "survey" / ".hydra", words[1:])
    results = [_result(each) for each in sorted(place.glob("corner*"))]
    slots = slots if slots is not None else slots_of(sweep)
    rates, rate = _rates(place / "survey", wish.ramp, seen, started)
    all_run = bool(results) and not any(each["error"] for each in results)
    found = [
        _runs(seen),
        *_seen(seen),
        rate,
        _metric(seen, sweep) if sweep else None,
        odd or (unknown(ends.NAME, SCRIPT_FAILS) if seen["error"] else ends.judged(results, slots)),
        _cost(results, sweep, len(slots)) if sweep and all_run else None,
    ]
    raised = any(each["error"] and _is_hard(each) for each in results)
    log = _tail(place / "survey" / "log") if seen["error"] else ""
    return Checkup(tuple(each for each in found if each), time.monotonic() - started, rates, log, raised)


def _seen(seen: Mapping[str, Any]) -> list[Finding]:
    """Of a script that fails before its first step only what has gone wrong."""
    found = [Finding.from_row(row) for row in seen.get("findings", [])]
    return [each for each in found if each.verdict is Verdict.FAILS] if seen["error"] and not seen["steps"] else found


def _is_hard(told: Mapping[str, Any]) -> bool:
    """It cannot even begin, or finds no memory; a training that is lost later may be meant to end so."""
    error = told["error"]
    return not error.get("late") and (error["memory"] or not told["steps"])


def _runs(seen: Mapping[str, Any]) -> Finding:
    """Whether the script trains at all."""
    name, error = "script", seen["error"]
    if error:
        where = f" ({error['where']})" if error["where"] else ""
        when = f"after {seen.get('steps', 0)} steps" if seen.get("steps") else "before its first step"
        return fails(name, f"It fails {when}: {error['text']}{where}", "Mend it; its last words are above.")
    if not seen["steps"]:
        return unknown(
            name,
            "It runs, but no step of a PyTorch optimizer was seen.",
            "Train with torch.optim in this process; or name a function that returns a Task: sweeper check FILE:NAME.",
        )
    return passes(name, f"It trains: {seen['steps']} steps were watched.", steps=seen["steps"])


def _rates(
    place: Path, ramp: Ramp | None, seen: Mapping[str, Any], started: float
) -> tuple[LrCheck | None, Finding | None]:
    if ramp is None:
        return None, None
    if seen["error"] and not seen.get("surveyed"):
        return None, unknown(RATE, SCRIPT_FAILS)
    try:
        found = lr_of_record(place, ramp, seen.get("ramps_code", 1), started)
    except ConfigError as error:
        if "sound" in str(error):
            return None, fails(RATE, str(error), "See the checks above.")
        return None, unknown(RATE, f"Cannot tell: {str(error).rstrip('.')}.")
    return found, judged(found)


def _metric(seen: Mapping[str, Any], sweep: Sweep) -> Finding:
    """Whether the script reports what the sweep shall improve."""
    name, metric, reported = "metric", str(sweep.settings.get("metric", OBJECTIVE)), seen.get("reported", [])
    if metric in reported:
        return passes(name, f"{metric} is reported.", reported=reported)
    if metric == OBJECTIVE or not reported:
        return unknown(name, f"Cannot tell: the sweep improves {metric!r}, and no report was seen.")
    return fails(
        name,
        f"The sweep improves {metric!r}, but the script reports {', '.join(reported)}.",
        f"Set metric to one of these, or report it: trial.report({metric}=…).",
    )


def _cost(results: Sequence[Mapping[str, Any]], sweep: Sweep, workers: int) -> Finding:
    try:
        plan = _plan(sweep.settings)
    except SweeperError as error:
        return unknown(COST, f"Cannot tell: {error}")
    return cost(results, plan, sweep.settings.get("budget", 20), workers)


def _plan(settings: Mapping[str, Any]) -> Plan:
    rules = {key: settings.get(key) for key in ("epochs", "sampler", "borders", "confirm")}
    return make_plan(settings.get("search", "coarse_to_fine"), **rules)


def _sweep(folder: Path, overrides: Sequence[str]) -> tuple[Sweep | None, Finding | None]:
    try:
        return sweep_of(folder, overrides), None
    except SpaceError as error:
        return None, fails(ends.NAME, f"The search space cannot be read: {error}", "Mend hydra.sweeper.params.")


def _result(place: Path) -> dict[str, Any]:
    """What a process has written; nothing: it could not even begin."""
    return result.read(place) or {"error": result.failure("the process did not begin"), "steps": 0}


def _tail(log: Path) -> str:
    return plain("\n".join(text(log).splitlines()[-TAIL:]))


def show_log(checkup: Checkup) -> None:
    """The last words of a script that failed, for eyes."""
    if checkup.log:
        print(checkup.log, file=sys.stderr)
