"""From a name in the config to the thing that it names, with errors that list what is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sweeper.words.errors import ConfigError

T = TypeVar("T")


def pick(kind: str, known: Mapping[str, T], name: str) -> T:
    """`known[name]`; `kind` is the config group or key, as the person writes it on the command line."""
    if name not in known:
        names = ", ".join(sorted(known))
        example = f"{kind}={min(known)}"
        raise ConfigError(f"`{kind}` must be one of {names}, but got {name!r}; choose with, for example, {example}.")
    return known[name]


def make(kind: str, makers: Mapping[str, Callable[..., T]], settings: Mapping[str, Any], *given: Any) -> T:
    """Call the maker that `settings["name"]` names with `given` and the other settings as keywords.

    >>> make("optimizer", {"sgd": sgd}, {"name": "sgd", "lr": 0.1}, parameters)     # sgd(parameters, lr=0.1)
    """
    keywords = {key: settings[key] for key in settings if key != "name"}
    name = settings.get("name", "(no name)")
    return fill(f"{kind}={name}", pick(kind, makers, name), keywords, *given)


def fill(choice: str, maker: Callable[..., T], settings: Mapping[str, Any], *given: Any) -> T:
    """Call `maker` with `given` and all the settings as keywords; for groups whose configs differ in values alone."""
    keywords = {str(key): settings[key] for key in settings}
    _refuse_misfits(choice, maker, keywords)
    return maker(*given, **keywords)


def direction_sign(kind: str, direction: str) -> int:
    """1 for minimize, -1 for maximize: what makes the smaller number the better one."""
    return pick(kind, {"minimize": 1, "maximize": -1}, direction)


def _refuse_misfits(choice: str, maker: Callable[..., Any], keywords: Mapping[str, Any]) -> None:
    """Say which keys do not belong: a key with a typing error must not fall back to a default in silence."""
    parameters = inspect.signature(maker).parameters.values()
    known = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    required = {name for name, parameter in known.items() if parameter.default is parameter.empty}
    unknown, missing = set(keywords) - set(known), required - set(keywords)
    if unknown or missing:
        wrong = [f"unknown: {', '.join(sorted(unknown))}"] * bool(unknown)
        wrong += [f"missing: {', '.join(sorted(missing))}"] * bool(missing)
        raise ConfigError(f"{choice} takes the keys {', '.join(known) or '(none)'}, but got {'; '.join(wrong)}.")
