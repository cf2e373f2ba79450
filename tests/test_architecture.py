"""The rooms and their rules, read from the imports: downward only, no circle, no forbidden acquaintance."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BELOW = {
    "report", "engine", "analysis", "check", "search", "retraining", "store", "trial", "machine", "training"
}  # fmt: skip

FLOORS: list[dict[str, set[str]]] = [
    {"words": set()},
    {"store": set(), "trial": set(), "machine": set(), "training": set()},
    {"search": {"store"}, "retraining": {"store", "trial", "machine", "training"}},
    {
        "engine": {"search", "store", "trial", "machine"},
        "analysis": {"search", "store", "trial", "machine"},
        "check": {"search", "store", "trial", "machine", "training"},
    },
    {"report": {"analysis", "check", "retraining", "search", "store"}},
    {
        "sweep": BELOW,
        "cli": BELOW,
    },
]  # fmt: skip
"""From the ground up: each room, and the rooms that it may import besides `words`. README has the same map."""

NEVER = {
    "words": {"torch", "optuna", "pandas", "hydra", "omegaconf", "sqlalchemy", "rich", "numpy"},
    "store": {"torch", "optuna", "pandas", "hydra", "omegaconf"},
    "trial": {"sqlalchemy", "optuna"},
    "machine": {"torch", "optuna", "hydra", "omegaconf", "sqlalchemy"},
    "training": {"optuna", "sqlalchemy", "hydra", "omegaconf"},
    "search": {"torch", "pandas", "sqlalchemy"},
    "retraining": {"optuna", "sqlalchemy", "hydra"},
    "engine": {"rich", "pandas", "hydra", "omegaconf", "sqlalchemy"},
    "analysis": {"rich", "plotly", "torch", "sqlalchemy", "hydra"},
    "check": {"rich", "optuna", "pandas", "hydra", "sqlalchemy"},
    "report": {"torch", "optuna", "numpy", "sqlalchemy", "hydra"},
    "sweep": {"sqlalchemy"},
    "cli": {"torch", "optuna", "hydra", "sqlalchemy"},
}

HYDRA = {"sweeper.sweep.config", "sweeper.sweep.multirun", "sweeper.search.grammar", "sweeper.trial.output"}
"""The modules that import Hydra; `hydra_plugins` is Hydra's own door."""

LARGEST_SHARE = 0.15
MOST_DOORS = 14
"""At the top of `sweeper/`: its rooms and its face."""
MOST_LINES = 400
LONG = {"sweeper.search.space": 461, "sweeper.trial.checkpoint": 412, "sweeper.store.claims": 416}
"""What is longer, is one thing, and may not grow."""

ONE_MEANING = {
    "accounts": "where the time went",
    "borders": "border verdicts",
    "causes": "what went wrong",
    "check": "what is wrong with a script",
    "checkup": "all checks of a script",
    "columns": "trials, column by column",
    "comparison": "trials side by side",
    "confirmed": "what the repeats of the best say",
    "crew": "the workers of a study",
    "diagnosed": "what the curves of a stored study say",
    "diagnosis": "what curves say",
    "doctor": "what is wrong with a store",
    "history": "workers and events",
    "importance": "which parameter matters",
    "intake": "a study of Optuna's taken over",
    "machine": "this computer",
    "ramp": "the learning rate's range test",
    "regularisation": "L1, L2, max-norm",
    "report": "what people see",
    "rerun": "a trial trained again",
    "search": "what to try next",
    "settings": "what a person may set",
    "sheet": "one trial",
    "space": "the search space",
    "stages": "from coarse to fine",
    "standing": "how a study stands",
    "studies": "the studies of a store",
    "task": "a model, its loss and some examples; at its old place until 0.2",
    "timeline": "who trained what, when",
    "training": "a training: tools for it, and its checks",
    "watch": "a study looked at while it runs",
}
"""Names that several files bear: each does its room's part of the same thing."""

ONE_NOUN = {"utils", "helpers", "common", "base", "core", "manager", "misc"}

ROOMS = {name: floor for floor, rooms in enumerate(FLOORS) for name in rooms}
MAY = {name: others | {"words"} for rooms in FLOORS for name, others in rooms.items()}


@cache
def modules() -> dict[str, Path]:
    files = sorted((ROOT / "sweeper").rglob("*.py"))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that this one imports, inside functions and for types alone too, as dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def room(dotted: str) -> str:
    return dotted.split(".")[1]


def inside() -> list[str]:
    """Every module but the face."""
    return [module for module in modules() if module != "sweeper.__init__"]


def documentation(module: str) -> str:
    return ast.get_docstring(ast.parse(modules()[module].read_text(encoding="utf-8"))) or ""


def lines(module: str) -> int:
    return modules()[module].read_text(encoding="utf-8").count("\n")


def test_every_room_stands_on_a_floor_and_the_top_is_no_corridor():
    doors = {entry.name for entry in (ROOT / "sweeper").iterdir() if entry.name != "__pycache__"}
    files = {"__init__.py", "__init__.pyi", "py.typed"}
    assert doors - files == set(ROOMS)
    assert len(set(ROOMS) | {"__init__"}) <= MOST_DOORS


def test_the_map_in_the_readme_is_this_house():
    """And says of each room what the room itself says."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^(\d)  (\w+) +(\S.*)$", readme, flags=re.MULTILINE)
    plugins, *rooms = [(name, int(floor), sentence) for floor, name, sentence in drawn]
    assert plugins[:2] == ("hydra_plugins", len(FLOORS) + 1)
    said = {name: documentation(f"sweeper.{name}.__init__").splitlines()[0] for name in ROOMS}
    assert rooms == [
        (name, floor, said[name]) for floor, names in reversed(list(enumerate(FLOORS, 1))) for name in names
    ]


@pytest.mark.parametrize("name", [*ROOMS, "report.terminal", "report.html"])
def test_a_room_says_what_each_of_its_files_is_for(name):
    place = ROOT / "sweeper" / name.replace(".", "/")
    told = set(re.findall(r"\w+", documentation(f"sweeper.{name}.__init__")))
    files = {entry.stem for entry in place.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    assert {each for each in files if not each.startswith("__")} <= told


def test_imports_run_downward_and_only_where_they_may():
    strange = [
        f"{module} → {name}"
        for module in inside()
        for name in imports(module)
        if name.startswith("sweeper.") and room(name) not in MAY[room(module)] | {room(module)}
    ]
    assert not strange
    assert all(ROOMS[other] < ROOMS[name] for name, others in MAY.items() for other in others if other != name)


def test_no_room_knows_an_experiment():
    assert not [name for module in modules() for name in imports(module) if name.split(".")[0] == "experiments"]


def test_there_is_no_circle():
    graph: dict[str, set[str]] = defaultdict(set)
    for module in inside():
        graph[room(module)] |= {room(n) for n in imports(module) if n.startswith("sweeper.")} - {room(module)}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_the_face_is_imported_by_nobody_inside():
    """`import sweeper` in a room would be an arrow to the roof."""
    assert not [module for module in inside() if "sweeper" in imports(module)]


@pytest.mark.parametrize("name", sorted(NEVER))
def test_forbidden_acquaintances(name):
    used = {n.split(".")[0]: module for module in inside() if room(module) == name for n in imports(module)}
    assert not {stranger: used[stranger] for stranger in NEVER[name] & set(used)}


def test_hydra_stays_in_its_modules():
    assert {module for module in inside() if any(n.split(".")[0] == "hydra" for n in imports(module))} <= HYDRA


def test_sql_stays_in_the_store():
    strangers = {m for m in inside() if any(n.split(".")[0] == "sqlalchemy" for n in imports(m))}
    assert {room(module) for module in strangers} == {"store"}


def test_optuna_stays_with_the_search():
    """Beside it, what takes over a study of Optuna's, and what gives one back, know its types."""
    strangers = {m for m in inside() if any(n.split(".")[0] == "optuna" for n in imports(m)) and room(m) != "search"}
    assert strangers == {"sweeper.engine.intake", "sweeper.sweep.study"}


def test_no_room_is_a_house_of_its_own():
    sizes: dict[str, int] = defaultdict(int)
    for module in inside():
        sizes[room(module)] += lines(module)
    total = sum(sizes.values())
    assert {name: size / total for name, size in sizes.items() if size / total > LARGEST_SHARE} == {}


def test_no_file_is_long():
    assert {m: lines(m) for m in inside() if lines(m) > max(MOST_LINES, LONG.get(m, 0))} == {}


def test_files_are_called_by_one_noun():
    assert not [module for module in modules() if module.split(".")[-1] in ONE_NOUN]


def test_a_name_means_one_thing():
    bearers: dict[str, list[str]] = defaultdict(list)
    for module in inside():
        *_, parent, name = module.split(".")
        bearers[parent if name == "__init__" else name].append(module)
    doubtful = {name: found for name, found in bearers.items() if len(found) > 1 and name not in ONE_MEANING}
    assert doubtful == {}


def test_what_is_private_stays_in_its_file():
    crossing = re.compile(r"sweeper\.\S*\._[a-z]\w*")
    assert not [f"{module} → {name}" for module in inside() for name in imports(module) if crossing.fullmatch(name)]


@pytest.mark.parametrize(
    "module", ["sweeper", "sweeper.search.space", "sweeper.store.reads", "sweeper.store.writes", "sweeper.cli"]
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
