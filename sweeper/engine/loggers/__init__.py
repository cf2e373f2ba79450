"""Loggers: a sweep's trials in other tools, one run each, for those who live in TensorBoard, MLflow or W&B.

The store stays the only truth: it is written first, a logger is told after it, and one that breaks never hurts a
trial. The tools themselves are imported when the first trial begins.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from sweeper.engine.loggers.logger import EveryEpoch, LoggedTrial, Logger
from sweeper.engine.loggers.mlflow import MLflow
from sweeper.engine.loggers.tensorboard import TensorBoard
from sweeper.engine.loggers.wandb import WandB
from sweeper.words.errors import ConfigError
from sweeper.words.records import EpochReport

__all__ = ["NAMES", "EpochReport", "LoggedTrial", "Logger", "LoggerSpec", "asked", "made"]

NAMES: dict[str, type[Logger]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
"""By the names of their packages, which are those of `sweeper`'s extras too."""

METHODS = ("begin", "epoch", "end")

LoggerSpec = str | Mapping[str, Any] | Logger | type[Logger] | Callable[[LoggedTrial, EpochReport], object]
"""What `made` reads."""


def asked(loggers: Any, *, tensorboard: bool = False) -> tuple[Any, ...]:
    """The loggers that a person wants, one or several, each as `made` reads it.

    Raises ConfigError for what is no logger and for a tool that is not installed, before anything starts.
    """
    one = isinstance(loggers, str | Mapping) or callable(loggers) or hasattr(loggers, "epoch")
    wanted = [loggers] if one else list(loggers or ())
    if tensorboard and not any(_is_named(spec, "tensorboard") for spec in wanted):
        wanted = ["tensorboard", *wanted]
    for spec in wanted:
        made(spec)
    return tuple(wanted)


def made(spec: Any) -> Logger:
    """Read `mlflow`, `{name: mlflow, experiment: digits}`, `{_target_: mine.MyLogger, …}`, an object or a function.

    A path may lead to a class or to a function of (trial, report). Raises ConfigError.
    """
    if not isinstance(spec, str | Mapping):
        return _logger(spec)
    settings = {"name": spec} if isinstance(spec, str) else {str(key): value for key, value in spec.items()}
    if len({"name", "_target_"} & set(settings)) != 1:
        raise ConfigError(f"A logger needs `name` or `_target_` and not both, but got {settings}.")
    name = str(settings.pop("name", "")) or str(settings.pop("_target_"))
    found = _imported(name) if "." in name else _named(name)
    if not isinstance(found, type):
        return _logger(functools.partial(found, **settings) if settings else found)
    known = list(inspect.signature(found).parameters)
    try:
        return _logger(found(**settings))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"The logger {name} cannot be made with {settings}: {error}; its settings: {', '.join(known) or 'none'}."
        ) from error


def _is_named(spec: Any, name: str) -> bool:
    return (spec.get("name") if isinstance(spec, Mapping) else spec) == name


def _named(name: str) -> type[Logger]:
    if name not in NAMES:
        raise ConfigError(
            f"No logger {name!r}; known: {', '.join(NAMES)}; your own by its path, `_target_: package.module.Class`."
        )
    package = importlib.util.find_spec(name)
    if package is None or package.origin is None:  # a mere folder of that name, as W&B makes them, is no package
        raise ConfigError(
            f"The logger {name} needs the package {name}, which is not here: pip install 'sweeper-hpo[{name}]'."
        )
    return NAMES[name]


def _imported(path: str) -> Any:
    module, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"A logger's path must lead to a class or a function, but got {path!r}: {error}.") from error


def _logger(found: Any) -> Logger:
    if isinstance(found, type):
        return _logger(found())
    if all(callable(getattr(found, name, None)) for name in METHODS):
        logger: Logger = found
        return logger
    if callable(found):
        return EveryEpoch(found)
    raise ConfigError(
        "A logger has begin(trial), epoch(report) and end(state, value, failure), or is a function of (trial, report), "
        f"but got {found!r}."
    )
