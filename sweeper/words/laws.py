"""What a setting's value must be: each law said with the value that broke it."""

from __future__ import annotations

import math

from sweeper.words.errors import ConfigError
from sweeper.words.records import Direction


def check_name(name: str) -> None:
    """Raises ConfigError for a name that could be a path, or more than one word."""
    plain = all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name)
    if not (0 < len(name) <= 128 and plain) or name.startswith("."):
        raise ConfigError(
            "A study's name has 1 to 128 of the characters A-Z a-z 0-9 . _ -, and does not begin with a dot, but got "
            f"{name!r}."
        )


def direction_of(name: str) -> Direction:
    try:
        return Direction(name)
    except ValueError:
        raise ConfigError(f"`direction` is minimize or maximize, but got {name!r}.") from None


def check_budget(budget: float) -> None:
    if not isinstance(budget, int | float) or not (math.isfinite(budget) and budget > 0):
        raise ConfigError(f"`budget` is a number of full trainings above 0, but got {budget!r}.")


def check_keep(keep: int) -> None:
    """Raises ConfigError for a number of checkpoints that leaves nothing to resume from."""
    if not isinstance(keep, int) or keep < 1:
        raise ConfigError(f"`keep >= 1` must hold, but got keep={keep}: a resume needs at least the newest checkpoint.")
