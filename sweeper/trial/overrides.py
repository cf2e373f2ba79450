"""A trial's parameters in the grammar of Hydra's overrides, and its config as the study has stored it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from sweeper.words.errors import ConfigError

if TYPE_CHECKING:
    from sweeper.words.records import StudyRecord

NOT_STRINGS = frozenset({"true", "false", "null", "nan", "inf"})
"""Words that Hydra's grammar reads as something else than a string."""


def group_overrides(choices: Mapping[str, Any], added: Container[str]) -> list[str]:
    """The choices of config groups as Hydra overrides."""
    return [f"{'+' if name in added else ''}{name}={as_override(choice)}" for name, choice in choices.items()]


def trial_overrides(
    fixed: Iterable[str], groups: Container[str], added: Container[str], params: Mapping[str, Any]
) -> list[str]:
    """A trial's parameters as Hydra overrides; config groups first, since the keys of others may come with them."""
    chosen = {name: value for name, value in params.items() if name in groups}
    values = {name: value for name, value in params.items() if name not in groups}
    keys = {name: f"++{name}" if name in added else name for name in values}
    return [
        *fixed,
        *group_overrides(chosen, added),
        *(f"{keys[name]}={as_override(value)}" for name, value in values.items()),
    ]


def as_override(value: Any) -> str:
    """A value in the grammar of Hydra's overrides, quoted where it must be.

    >>> as_override(0.1), as_override(None), as_override("a b"), as_override([1, 2])
    ('0.1', 'null', "'a b'", '[1,2]')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_key(key)}:{as_override(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(as_override(item) for item in value) + "]"
    text: str = value
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text) and text.lower() not in NOT_STRINGS:
        return text
    # Hydra reads a backslash as itself, but before a quote and at the end
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text) + "'"


def _key(key: Any) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(key)) or str(key).lower() in NOT_STRINGS:
        raise ConfigError(f"A key in a choice must be a plain word that Hydra's grammar can write, but got {key!r}.")
    return str(key)


def as_frozen(study: StudyRecord, params: Mapping[str, Any]) -> DictConfig | None:
    """A trial's config as its study stored it, without Hydra's own node; None: none was composed for its choices."""
    groups = {each["name"] for each in study.space if each.get("group")} & set(params)
    chosen = {name: params[name] for name in groups}
    frozen = next((each["yaml"] for each in study.config["variants"] if each["choices"] == chosen), None)
    if frozen is None:
        return None
    config: DictConfig = OmegaConf.create(frozen)
    for name in set(params) - groups:
        OmegaConf.update(config, name, params[name], force_add=True)
    return config


def shorthands(sweeper: DictConfig, names: frozenset[str]) -> dict[str, str]:
    """The top-level keys that `hydra.sweeper` reads as `${key}` under its own name for them, among `names`.

    They only steer the sweep: a trial's training must not depend on them, so they are no part of what makes a study
    the same study. A key of another name, as in `study: ${dataset}`, is the person's own, and reaches each trial.
    """
    keys = {}
    for name in sorted(names & set(map(str, sweeper))):
        node: Any = sweeper._get_node(name)
        if node is not None and node._is_interpolation() and node._value() == f"${{{name}}}":
            keys[name] = name
    return keys


def difference(old: str, new: str, name: str) -> str:
    """A unified diff of two texts, `before` and `now`; empty when they are equal."""
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"{name} (when the study began)", f"{name} (now)", lineterm="", n=2
    )
    return "\n".join(lines)
