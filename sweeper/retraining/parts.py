"""The parts of a training script that others use: `build(cfg)`, which gives the model, and `data(cfg)`.

The script is imported, not run. What it lacks is said before that, from its text: so that it costs nothing, and so that
no training starts by accident.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeper.words.errors import ConfigError

BUILD = """\
def build(cfg):
    return …      # the torch.nn.Module that cfg describes, as your training makes it, before any training"""
DATA = """\
def data(cfg):    # sweeper.training.data.Data, or anything with these four:
    return Data(train, val, goal, open_test)    # Examples, Examples, CLASSIFICATION or REGRESSION, () -> Examples"""
NEEDED = {"build": BUILD, "data": DATA}


@dataclass(frozen=True)
class Parts:
    """`build` takes a trial's config and gives a model with untrained weights; `data` gives its sets."""

    build: Callable[[Any], Any]
    data: Callable[[Any], Any] | None
    where: str

    def sets(self, config: Any) -> Any:
        """The data of a config. Raises ConfigError where it is not what it has to be."""
        assert self.data is not None
        sets = self.data(config)
        lacks = [name for name in ("val", "goal", "open_test") if not hasattr(sets, name)]
        if lacks:
            raise ConfigError(
                f"`data(cfg)` of {self.where} must give a sweeper.training.data.Data, or something that has its "
                f"{', '.join(lacks)} too, but gave a {type(sets).__qualname__}."
            )
        return sets


def parts(script: Path, names: tuple[str, ...] = ("build", "data")) -> Parts:
    """The functions of a script. Raises ConfigError where they are missing, with what to add."""
    check(script, names)
    module = _imported(script)
    return Parts(module.build, getattr(module, "data", None), str(script))


def check(script: Path, names: tuple[str, ...] = ("build", "data")) -> None:
    """Raises ConfigError where a script lacks one of the functions, or would train when it is imported."""
    try:
        tree = ast.parse(script.read_text(encoding="utf-8"), str(script))
    except (OSError, SyntaxError) as error:
        raise ConfigError(f"The training script must be readable as Python, but {script} is not: {error}") from error
    there = set(_defined(tree))
    if missing := [name for name in names if name not in there]:
        raise ConfigError(missing_parts(str(script), missing))
    if runs := _started(tree):
        raise ConfigError(
            f"The training script must be importable, but importing {script} would start `{runs}()`: put its call "
            f'under a condition:\n\nif __name__ == "__main__":\n    {runs}()'
        )


def missing_parts(where: str, names: list[str]) -> str:
    """What to add, as text to copy."""
    what = " and ".join(f"`{name}`" for name in names)
    texts = "\n\n".join(NEEDED[name] for name in names)
    return (
        f"To use a trial's weights without its training, a script has {' and '.join(f'`{n}`' for n in NEEDED)} at its "
        f"top level, but {where} has no {what}: move what your training does for it into\n\n{texts}"
    )


def knows(script: Path, word: str) -> bool:
    """Whether a word stands anywhere in the script's text."""
    return word in script.read_text(encoding="utf-8")


def _imported(script: Path) -> ModuleType:
    """The script as a module, once in a process; its folder is where it finds its neighbours, as when it is run."""
    path = script.resolve()
    name = f"_sweeper_script_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"A training script is a file whose name ends in .py, but got {script}.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _defined(tree: ast.Module) -> Iterator[str]:
    """The names that a module has at its top level."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _started(tree: ast.Module) -> str | None:
    """The function of `@hydra.main` that the module calls at its top level."""
    mains = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any("main" in ast.unparse(each) for each in node.decorator_list)
    }
    calls = [node.value.func for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return next((call.id for call in calls if isinstance(call, ast.Name) and call.id in mains), None)
