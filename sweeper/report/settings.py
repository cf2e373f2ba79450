"""What `sweeper set` may change of a study that has begun: the words `key=value`, read."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.errors import ConfigError

AT_A_START = "`workers` can be changed at a start alone, as yet: start the same command with workers={value}."


def parse(changes: Sequence[str]) -> dict[str, float]:
    """`["budget=80"]` as `{"budget": 80.0}`; raises ConfigError, so that nothing is changed by halves."""
    return dict(_pair(text) for text in changes)


def _pair(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    if key == "workers":
        raise ConfigError(AT_A_START.format(value=value))
    if key != "budget":
        raise ConfigError(f"`sweeper set` changes budget=NUMBER, but got {text!r}.")
    try:
        return key, float(value)
    except ValueError:
        raise ConfigError(f"`budget` is a number of full trainings above 0, but got {value!r}.") from None
