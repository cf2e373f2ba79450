"""The rooms and their rules, read from the imports: downward only, no circle, no forbidden acquaintance."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = [
    ["errors", "seeds", "process", "divergence", "script"],
    ["space", "trial", "chance", "ranges", "borders", "confirmation", "outcome"],
    ["entries", "grammar", "store", "config", "checkpoint", "devices", "load", "plan", "samplers", "loggers"],
    ["handle", "sampling", "ancestor", "judgement", "diagnosis", "environment", "serving", "looks", "frames"],
    ["beat", "leave", "journal", "search"],
    ["worker"],
    ["supervisor", "report", "opening", "rerun", "check", "exchange", "retraining", "ensemble", "handover"],
    ["driver", "doctor", "study"],
    ["api", "multirun", "cli"],
]
"""From the bottom up; a room imports from lower layers, or from its own without a circle."""

APART = {"training"}
"""Nothing but torch, NumPy and the errors."""

TRAINERS = {"check", "ensemble", "handover"}
"""The rooms that hold the tools of `training` to a person's script, or to what it has trained."""

NEVER = {
    "store": {"torch", "optuna", "pandas", "hydra", "omegaconf"},
    "training": {"optuna", "sqlalchemy", "hydra"},
    "plan": {"sqlalchemy", "torch", "optuna", "hydra"},
    "borders": {"sqlalchemy", "torch", "optuna", "hydra"},
    "space": {"sqlalchemy", "torch", "optuna"},
    "worker": {"hydra", "omegaconf", "optuna"},
    "loggers": {"hydra", "omegaconf", "optuna", "sqlalchemy"},
    "handle": {"hydra", "omegaconf", "optuna", "sqlalchemy"},
    "supervisor": {"hydra", "torch", "optuna"},
    "cli": {"torch", "optuna", "hydra"},
    "doctor": {"torch", "optuna", "pandas", "hydra"},
}

HYDRA_ROOMS = {"config", "grammar", "multirun"}
ONE_NOUN = {"utils", "helpers", "common", "base", "core", "manager", "misc"}


def level(room: str) -> int:
    return next(index for index, rooms in enumerate(LAYERS) if room in rooms)


@cache
def modules() -> dict[str, Path]:
    files = sorted((ROOT / "sweeper").rglob("*.py"))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that this one imports at run time, inside functions too, as dotted names."""
    found: set[str] = set()
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def room(dotted: str) -> str:
    return dotted.split(".")[1]


def rooms() -> dict[str, set[str]]:
    """Each room of the house and the rooms that it imports."""
    graph: dict[str, set[str]] = {}
    for module in modules():
        if module.count(".") == 0 or module == "sweeper.__init__":
            continue
        others = {room(name) for name in imports(module) if name.startswith("sweeper.")}
        graph.setdefault(room(module), set()).update(others - {room(module)})
    return graph


def test_every_room_has_its_layer():
    known = {name for layer in LAYERS for name in layer} | APART
    assert set(rooms()) <= known


def test_imports_run_downward():
    upward = [
        f"{one} → {other}"
        for one, others in rooms().items()
        for other in others
        if one not in APART and (one not in TRAINERS if other in APART else level(other) > level(one))
    ]
    assert not upward


def test_there_is_no_circle():
    TopologicalSorter(rooms()).prepare()  # CycleError names the circle


def test_training_stands_apart():
    assert rooms().get("training", set()) <= {"errors"}


@pytest.mark.parametrize("name", sorted(NEVER))
def test_forbidden_acquaintances(name):
    used = {
        imported.split(".")[0]
        for module in modules()
        if module.count(".") and room(module) == name
        for imported in imports(module)
    }
    assert not used & NEVER[name]


def test_hydra_stays_in_its_rooms():
    strangers = {
        module
        for module in modules()
        if module.count(".")
        and room(module) not in HYDRA_ROOMS
        and any(n.split(".")[0] == "hydra" for n in imports(module))
    }
    assert not strangers


def test_sql_stays_in_the_store():
    strangers = {
        module
        for module in modules()
        if module.count(".")
        and room(module) != "store"
        and any(n.split(".")[0] == "sqlalchemy" for n in imports(module))
    }
    assert not strangers


def test_no_room_knows_an_experiment():
    assert not [name for module in modules() for name in imports(module) if name.split(".")[0] == "experiments"]


def test_files_are_called_by_one_noun():
    assert not [module for module in modules() if module.split(".")[-1] in ONE_NOUN]


@pytest.mark.parametrize(
    "module", ["sweeper", "sweeper.space", "sweeper.store.reads", "sweeper.store.writes", "sweeper.cli"]
)
def test_questions_import_nothing_heavy(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'optuna', 'pandas', 'hydra'}} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_plugins_import_nothing_heavy():
    code = (
        "import sys, hydra_plugins.sweeper_hydra.sweeper, hydra_plugins.sweeper_hydra.local;"
        "print(sorted({'torch', 'optuna', 'pandas', 'sqlalchemy', 'rich'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_hydra_plugins_is_a_namespace_package():
    assert not (ROOT / "hydra_plugins" / "__init__.py").exists()
