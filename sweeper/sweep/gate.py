"""What stands before a sweep: a few seconds of the checks, at the middle of its space and at its ends.

It prints one line where nothing fails. It stops a sweep only where a corner of the space raises.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper.check.checkup import QUICK_SECONDS, Checkup, Wish, check_script, show_log
from sweeper.check.corners import Corner, corners, words_of
from sweeper.check.finding import Verdict
from sweeper.check.script import Sweep
from sweeper.machine import devices
from sweeper.report.terminal.checkup import brief, drawn
from sweeper.report.terminal.tables import page
from sweeper.search.space import SearchSpace
from sweeper.sweep.config import FrozenConfig
from sweeper.words.errors import ConfigError, SweeperError

log = logging.getLogger("sweeper")

QUICK, FULL = "quick", "full"
QUICK_PATIENCE_SECONDS = 60.0


def wanted(value: Any) -> str | None:
    """quick, full, or None: nothing is looked at. Raises ConfigError."""
    if value is None or value is False:
        return None
    if value is True:
        return FULL
    if value in (QUICK, FULL):
        return str(value)
    raise ConfigError(f"`check` is quick, full or false, but got {value!r}.")


def look_before(
    how: str,
    script: Path,
    words: Sequence[str],
    frozen: FrozenConfig,
    space: SearchSpace,
    settings: Mapping[str, Any],
    slots: Sequence[devices.Slot],
) -> None:
    """Check the script of a sweep, and say what was found; `words`: what every trial of it is given.

    Raises SweeperError where a corner of the space raises, though the middle of it trains.
    """
    ends = corners(space, lambda params: words_of(params, [], space, frozen.added))
    sweep = Sweep(space, frozen.added, settings)
    wish = Wish(corners=tuple(ends)) if how == FULL else _quick(ends)
    print(f"Looking the script over ({how}) before the first trial; check=false leaves it out …", flush=True)
    try:
        found = check_script(script, words, wish, sweep=sweep, slots=slots)
    except (ConfigError, OSError) as error:
        log.warning("the script is not looked over: %s", error)
        return
    _say(found, how)
    base_runs = found.findings[0].verdict is not Verdict.FAILS
    if found.corners_raise and base_runs:
        raise SweeperError(
            "A corner of the search space does not run (above), so the sweep was not begun. Narrow the space or mend "
            "the script; check=false begins all the same."
        )


def _quick(ends: Sequence[Corner]) -> Wish:
    """The middle is watched, the smallest and the largest corner run for a moment."""
    middle = next(each for each in ends if each.place == "middle")
    outer = tuple(each for each in ends if each.place != "middle")
    return Wish(QUICK_SECONDS, None, again=False, corners=outer, at=middle, patience_seconds=QUICK_PATIENCE_SECONDS)


def _say(found: Checkup, how: str) -> None:
    show_log(found)
    if how == FULL:
        page().print(drawn(found.rows()), crop=False)
    else:
        page().print(brief(found.rows(), found.seconds), crop=False)
