"""What pip gets: a name that is ours, one version, and a wheel that works where nothing of this folder can be seen."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import sweeper
from sweeper.engine.loggers import NAMES

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
PACKAGES = ("sweeper", "hydra_plugins")
TEXTS = (
    *PACKAGES,
    "experiments",
    "conf",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "Makefile",
    "constraints.txt",
)
FOLDERS = (*PACKAGES, "conf", "docs", "experiments", "tests")

INSTALLED = re.compile(r"""(?:\bpip3?|\$\(PIP\)) install((?: +(?:'[^'\n]*'|"[^"\n]*"|[\w./=@+-]+))+)""")
"""Its arguments."""
EXTRA = re.compile(r"\[([a-z][a-z, ]*)\]")


def texts() -> Iterator[tuple[Path, str]]:
    for name in TEXTS:
        files = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*.*"))
        for file in files:
            if file.suffix in (".py", ".md", ".yaml", ".txt", ".js", "") and "__pycache__" not in file.parts:
                yield file.relative_to(ROOT), file.read_text(encoding="utf-8")


# ---- the name --------------------------------------------------------------------------------------------------------


def test_pip_is_never_told_a_name_of_somebody_else():
    told = [(file, line) for file, text in texts() for line in INSTALLED.findall(text)]
    assert len(told) > 15
    named = [(file, name) for file, line in told for name in re.findall(r"(?<![\w/.-])(sweeper[\w-]*)", line)]
    assert not [(file, name) for file, name in named if name != PROJECT["name"]]
    assert PROJECT["name"] == "sweeper-hpo"
    assert not [file for file, text in texts() if re.search(r"(?<![\w.-])sweeper\[[a-z]", text)]
    asked = re.compile(r"(?:version|distribution|metadata|requires|files)\(['\"]sweeper['\"]\)")
    assert not [file for file, text in texts() if asked.search(text)]


def test_every_extra_that_is_named_is_there():
    named = {
        extra.strip()
        for _, text in texts()
        for line in INSTALLED.findall(text)
        for found in EXTRA.findall(line)
        for extra in found.split(",")
    }
    assert {"report", "plots", "postgres", "dev"} <= named <= EXTRAS
    assert set(NAMES) <= EXTRAS


# ---- the version -----------------------------------------------------------------------------------------------------


def test_the_version_is_said_once():
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    place = ast.parse((ROOT / "sweeper" / "words" / "version.py").read_text(encoding="utf-8"))
    assigned = {
        node.targets[0].id: node.value
        for node in place.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert ast.literal_eval(assigned["__version__"]) == sweeper.__version__  # so that setuptools need not import it


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert str(citation["version"]) == sweeper.__version__
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert citation["message"]
    assert citation["title"].startswith("sweeper")


def test_the_import_costs_nothing():
    code = "import sys; before = set(sys.modules); import sweeper; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if name.startswith(("sweeper.", "importlib.metadata"))]


# ---- the wheel -------------------------------------------------------------------------------------------------------

BY_FUNCTION = """
import sweeper


def train(trial):
    for epoch in trial.epochs(2):
        trial.report(loss=(trial.params["x"] - 0.5) ** 2 / (epoch + 1))


study = sweeper.run(train, study="function", space={"x": "interval(0, 1)"}, search="random", budget=2, metric="loss")
print(sweeper.__file__)
print(len(study.trials()))
"""

BY_HYDRA = """
import hydra


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def train(cfg):
    return (cfg.x - 0.5) ** 2


train()
"""
CONFIG = """
defaults: [_self_, {override hydra/sweeper: sweeper}]
x: 0
hydra: {sweeper: {study: hydra, search: random, budget: 2, workers: 1, params: {x: "interval(0, 1)"}}}
"""


def call(*command: object, folder: Path, **environment: str) -> str:
    """Its output, of a shell that knows nothing of this environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "COV"))}
    clean |= {"PATH": "/usr/bin:/bin", **environment}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the source distribution, and the wheel that is made of it."""
    folder = tmp_path_factory.mktemp("built")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.glob("[!.]*"):
        if file.is_file():
            shutil.copy(file, folder / "source")
    backend = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
    call(sys.executable, "-c", backend, "build_sdist", folder, folder=folder / "source")
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder)  # our own
    call(sys.executable, "-c", backend, "build_wheel", folder, folder=folder / packed.name.removesuffix(".tar.gz"))
    return folder


@pytest.fixture(scope="module")
def environment(built) -> Path:
    """The programs of a new environment with the wheel in it; what it needs is borrowed from this one."""
    home = built / "project" / ".venv"
    call(sys.executable, "-m", "venv", home, folder=built)
    (wheel,) = built.glob("*.whl")
    call(home / "bin" / "python", "-m", "pip", "install", "--no-deps", "--no-index", wheel, folder=built)
    (packages,) = home.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if Path(path).name.endswith("-packages")]  # their own .pth files are not read
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    return home / "bin"


def sources() -> set[str]:
    found = (path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if path.suffix != ".md" and "__pycache__" not in path.parts}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_no_more(built):
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"sweeper_hpo-{sweeper.__version__}-py3-none-any.whl"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == sources()
    assert {"sweeper/py.typed", "hydra_plugins/sweeper_hydra/sweeper.py"} <= names
    assert any(name.endswith("html/page.js") for name in names)


@pytest.mark.slow
def test_the_source_distribution_holds_what_make_needs(built):
    (packed,) = built.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert sources() <= names
    tops = {"Makefile", "constraints.txt", "README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md", "SECURITY.md"}
    assert tops | {"conf/config.yaml", "experiments/digits.py", "tests/conftest.py"} <= names


@pytest.mark.slow
def test_a_function_is_swept_with_the_wheel(environment, tmp_path):
    (tmp_path / "search.py").write_text(BY_FUNCTION)
    place, trials = call(environment / "python", "search.py", folder=tmp_path).splitlines()[-2:]
    assert Path(place).is_relative_to(environment.parent)
    assert trials == "2"
    best = call(environment / "sweeper", "best", "--format", "csv", folder=tmp_path)
    assert len(best.splitlines()) == 2
    asked = "from importlib.metadata import version; print(version('sweeper-hpo'))"
    assert call(environment / "python", "-c", asked, folder=tmp_path).strip() == sweeper.__version__


@pytest.mark.slow
def test_what_a_sweep_prints_can_be_pasted(environment):
    """In the project's folder, whose environment is not activated."""
    folder = environment.parent.parent
    (folder / "train.py").write_text(BY_HYDRA)
    (folder / "config.yaml").write_text(CONFIG)
    said = call(environment / "python", "train.py", "--multirun", folder=folder)
    assert "2 of 2 trials" in said, said
    assert (folder / "runs" / "hydra" / "report.html").exists()
    lines = [re.sub(r"^(Ask|Report):", "", line).strip() for line in said.splitlines()]
    again, best, show = (line for line in lines if ".venv/bin/" in line)
    assert call("sh", "-c", again, folder=folder) == ""
    assert re.match(r"trial +objective +x\n", call("sh", "-c", best, folder=folder))
    assert again in call("sh", "-c", show, folder=folder)
    assert call("sh", "-c", f"{best} --command", folder=folder).strip() == again
