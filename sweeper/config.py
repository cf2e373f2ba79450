"""Hydra's side of a study: the composed config frozen at the start, one config per trial, and Hydra's world inside it.

Composing costs a hundred times what copying does, so a study composes once for each choice of its swept config groups
(`optimizer=sgd`, `optimizer=adam`, …) and a trial's config is a copy with its parameters set. The store keeps the
composed YAML: editing a file in `conf/` cannot change a study that has begun.
"""

from __future__ import annotations

import copy
import difflib
import errno
import functools
import itertools
import logging
import re
import sys
import threading
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from sweeper.errors import ConfigError

if TYPE_CHECKING:
    from sweeper.space import Categorical, SearchSpace
    from sweeper.trial import StudyRecord

MAX_VARIANTS = 2000
"""Compositions that a study may freeze: the product of its swept groups' choices (34 CPU ms each)."""


NOT_STRINGS = frozenset({"true", "false", "null", "nan", "inf"})
"""Words that Hydra's grammar reads as something else than a string."""


@dataclass(frozen=True)
class Variant:
    """The config composed for one choice of every swept group. `config` holds Hydra's own node too."""

    choices: dict[str, Any]
    config: DictConfig

    def task(self) -> DictConfig:
        """The part that is the script's: without Hydra's node."""
        config = copy.copy(self.config)
        with read_write(config), open_dict(config):
            config.pop("hydra", None)
        return config


@dataclass(frozen=True)
class FrozenConfig:
    """Every variant of a study's config, and the fixed overrides that all of them carry."""

    variants: tuple[Variant, ...]
    fixed: tuple[str, ...]
    added: frozenset[str]

    @classmethod
    def compose(
        cls, loader: Any, master: DictConfig, space: SearchSpace, fixed: Sequence[str], added: frozenset[str]
    ) -> FrozenConfig:
        """Compose once for each choice of the swept groups and try every parameter's key; raises ConfigError."""
        combinations = list(_choices(space.groups))
        if len(combinations) > MAX_VARIANTS:
            raise ConfigError(
                f"The swept config groups may combine to at most {MAX_VARIANTS} compositions, but "
                f"{', '.join(group.name for group in space.groups)} combine to {len(combinations)}: sweep fewer groups."
            )
        variants = tuple(_compose(loader, master, choices, fixed, added) for choices in combinations)
        frozen = cls(variants, tuple(fixed), added)
        for variant in variants:
            frozen._try_parameters(variant, space)
        return frozen

    def to_json(self, volatile: frozenset[str] = frozenset()) -> dict[str, Any]:
        """What the store keeps: YAML with its interpolations, without the `volatile` top-level keys."""
        variants = [
            {"choices": variant.choices, "yaml": OmegaConf.to_yaml(_without(variant.task(), volatile))}
            for variant in self.variants
        ]
        return {"variants": variants, "fixed": list(self.fixed), "added": sorted(self.added)}

    def with_frozen(self, stored: Mapping[str, Any], volatile: frozenset[str]) -> FrozenConfig:
        """These variants with the task part that the store has kept (`on_change=keep`)."""
        now: Any = self.variants[0].config
        variants = []
        for row in stored["variants"]:
            config: Any = OmegaConf.create(row["yaml"])
            for key in now:
                if key == "hydra" or key in volatile:
                    config[key] = copy.deepcopy(now._get_node(key))
            config.hydra.runtime.choices.update(row["choices"])
            OmegaConf.set_struct(config, True)
            variants.append(Variant(dict(row["choices"]), config))
        return FrozenConfig(tuple(variants), tuple(stored["fixed"]), frozenset(stored["added"]))

    def overrides(self, space: SearchSpace, params: Mapping[str, Any]) -> list[str]:
        """A trial's parameters as Hydra overrides: what a person types to train it again, alone."""
        return trial_overrides(self.fixed, {group.name for group in space.groups}, self.added, params)

    def for_trial(self, space: SearchSpace, params: Mapping[str, Any], number: int, folder: Path) -> DictConfig:
        """One trial's config: a copy of its variant with the parameters and Hydra's own node set."""
        groups = {group.name: params[group.name] for group in space.groups if group.name in params}
        config = copy.deepcopy(self._like(groups).config)
        self._set(config, {name: value for name, value in params.items() if name not in groups})
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.job.num = number
            config.hydra.job.id = str(number)
            config.hydra.overrides.task = self.overrides(space, params)
            config.hydra.sweep.dir = str(folder.parent)
            config.hydra.sweep.subdir = folder.name
            _log_into_folder(config.hydra)
        return config

    def _like(self, groups: Mapping[str, Any]) -> Variant:
        for variant in self.variants:
            if variant.choices == dict(groups):
                return variant
        raise ConfigError(f"The study has composed no config for {dict(groups)}.")

    def _set(self, config: DictConfig, params: Mapping[str, Any]) -> None:
        for name, value in params.items():
            if name not in self.added and not _has(config, name):
                raise ConfigError(_unknown_key(config, name))
            try:
                OmegaConf.update(config, name, value, force_add=name in self.added)
            except OmegaConfBaseException as error:
                raise ConfigError(f"{name}={value!r} does not fit the config: {error}") from None

    def _try_parameters(self, variant: Variant, space: SearchSpace) -> None:
        """Set every parameter that this variant may have to a value of its range, on a copy."""
        config = copy.deepcopy(variant.config)
        for parameter in space:
            elsewhere = any(
                when.parameter in variant.choices and variant.choices[when.parameter] not in when.values
                for when in parameter.when
            )
            if parameter.name in {group.name for group in space.groups} or elsewhere:
                continue
            value = parameter.choices[0] if hasattr(parameter, "choices") else parameter.low
            try:
                self._set(config, {parameter.name: value})
            except ConfigError as error:
                where = f" (with {', '.join(group_overrides(variant.choices, self.added))})" if variant.choices else ""
                raise ConfigError(f"{error}{where}") from None


def _choices(groups: Sequence[Categorical]) -> Iterator[dict[str, Any]]:
    """Every combination of the groups' choices; a conditional group may also be absent."""
    absent = object()
    options = [[*group.choices, *([absent] if group.when else [])] for group in groups]
    for combination in itertools.product(*options):
        names = [group.name for group in groups]
        yield {name: choice for name, choice in zip(names, combination, strict=True) if choice is not absent}


def _compose(
    loader: Any, master: DictConfig, choices: dict[str, Any], fixed: Sequence[str], added: frozenset[str]
) -> Variant:
    return Variant(choices, loader.load_sweep_config(master, [*fixed, *group_overrides(choices, added)]))


def group_overrides(choices: Mapping[str, Any], added: Container[str]) -> list[str]:
    """The choices of config groups as Hydra overrides."""
    return [f"{'+' if name in added else ''}{name}={as_override(choice)}" for name, choice in choices.items()]


def _without(config: DictConfig, keys: frozenset[str]) -> DictConfig:
    kept = copy.copy(config)
    with read_write(kept), open_dict(kept):
        for key in keys & set(map(str, kept.keys())):
            del kept[key]
    return kept


def _has(config: DictConfig, name: str) -> bool:
    """Whether the config has that key; an interpolation or a missing value (???) there counts."""
    parent, _, key = name.rpartition(".")
    try:
        node = OmegaConf.select(config, parent) if parent else config
    except OmegaConfBaseException:
        return False
    return isinstance(node, DictConfig) and key in node.keys()  # noqa: SIM118 (`in` on a DictConfig is False for ???)


def _unknown_key(config: DictConfig, name: str) -> str:
    known = list(_leaves(OmegaConf.to_container(config, resolve=False)))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return (
        f"A parameter must name a key of the config, but `{name}` is not in it: {hint}write +{name} to add the key, "
        "or give the parameter a condition (when: group=choice) where only some choices have it."
    )


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if prefix or key != "hydra":
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from _leaves(value, f"{prefix}{key}.")


def _log_into_folder(hydra: DictConfig) -> None:
    """A trial's log is `train.log`, whatever the script is called."""
    handlers = OmegaConf.select(hydra, "job_logging.handlers")
    if handlers is not None and "file" in handlers and "filename" in handlers.file:
        handlers.file.filename = "${hydra.runtime.output_dir}/train.log"


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


# ---- inside a trial --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HydraTask:
    """A person's `@hydra.main` function as something that trains one trial in Hydra's own world."""

    task_function: Any
    hydra_context: Any
    frozen: FrozenConfig
    space: SearchSpace

    def __call__(self, trial: Any) -> Any:
        from hydra.core.hydra_config import HydraConfig
        from hydra.core.utils import JobStatus, configure_log, run_job

        config = self.frozen.for_trial(self.space, trial.params, trial.number, trial.folder)
        job = run_job(
            task_function=self._train,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=self.hydra_context,
        )
        if HydraConfig.initialized():  # the trial's log is its own: what follows is the worker's again
            configure_log(HydraConfig.get().job_logging, HydraConfig.get().verbose)  # type: ignore[arg-type]
            mind_full_logs(training=False)
        if job.status is JobStatus.FAILED:
            raise job._return_value
        return job.return_value

    def _train(self, config: DictConfig) -> Any:
        mind_full_logs(training=True)  # Hydra has opened the trial's log just now
        return self.task_function(config)


def mind_full_logs(training: bool) -> None:
    """Let a log line that finds the disk full end the training, if this thread trains, and else be lost in silence.

    Of themselves Python's handlers print a traceback to the terminal for every such line, and go on.
    """
    trains = threading.get_ident() if training else None
    for handler in logging.root.handlers:
        handler.handleError = functools.partial(_lost_line, handler, trains)  # type: ignore[method-assign]


def _lost_line(handler: logging.Handler, trains: int | None, record: logging.LogRecord) -> None:
    """Called by a handler where it has just caught what went wrong."""
    error = sys.exc_info()[1]
    if not (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        logging.Handler.handleError(handler, record)
    elif threading.get_ident() == trains:
        raise error


def job_number() -> int:
    """The number of the running Hydra job: which of the workers this one is."""
    from hydra.core.hydra_config import HydraConfig

    return int(HydraConfig.get().job.num)


def output_folder() -> Path:
    """Hydra's output folder of the running job; without Hydra the current folder."""
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir) if HydraConfig.initialized() else Path.cwd()
