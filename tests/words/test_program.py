"""What is printed in a terminal can be pasted into it: programs that it would not find are named by their path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import shellingham
from typer.testing import CliRunner

import filling
from sweeper.analysis.commands import train_command
from sweeper.cli import app
from sweeper.report.terminal import checkup, diagnosed
from sweeper.store import reads
from sweeper.words import program
from sweeper.words.errors import StoreError


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment in a project's folder, as `make sweep` leaves it: nothing of it is on PATH."""
    return installed(tmp_path / "project" / ".venv", tmp_path / "base", monkeypatch)


def installed(folder: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its programs' folder; its interpreter is a link to that of `base`, as in any environment."""
    there, own = base / "bin", folder / "bin"
    for place in (there, own):
        place.mkdir(parents=True)
    executable(there / "python3.11")
    (own / "python").symlink_to(there / "python3.11")
    (own / "python3").symlink_to("python")
    executable(own / "sweeper")
    executable(own / "pip")
    monkeypatch.setattr(sys, "executable", str(own / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(folder.parent)
    return own


def executable(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def names() -> tuple[str, str, str]:
    return program.sweeper(), program.python(), program.pip()


def test_what_a_shell_does_not_find_is_named_by_its_path(environment, monkeypatch, tmp_path):
    assert names() == (".venv/bin/sweeper", ".venv/bin/python", ".venv/bin/python -m pip")
    monkeypatch.chdir(environment)
    assert names() == ("./sweeper", "./python", "./python -m pip")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert names() == (f"{environment}/sweeper", f"{environment}/python", f"{environment}/python -m pip")


def test_what_a_shell_finds_is_named_by_its_name(environment, monkeypatch):
    monkeypatch.setenv("PATH", f"/nowhere{os.pathsep}{environment}")
    assert names() == ("sweeper", "python", "pip")
    monkeypatch.setattr(sys, "executable", str(environment / "python3"))
    assert program.python() == "python"
    (environment / "python").unlink()
    (environment / "python3").unlink()
    executable(environment / "python3")
    assert program.python() == "python3"


def test_the_same_name_may_be_another_program(environment, monkeypatch, tmp_path):
    """Another environment's interpreter is a link to the same file, and has other packages."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "python").symlink_to((environment / "python").resolve())
    executable(other / "sweeper")
    executable(other / "pip")
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{environment}")
    assert names() == (".venv/bin/sweeper", ".venv/bin/python", ".venv/bin/python -m pip")


def test_a_link_on_the_path_will_do(environment, monkeypatch, tmp_path):
    """As pipx and uv tool make one; their interpreter and pip stay where they are."""
    shown = tmp_path / "local"
    shown.mkdir()
    (shown / "sweeper").symlink_to(environment / "sweeper")
    monkeypatch.setenv("PATH", str(shown))
    assert names() == ("sweeper", ".venv/bin/python", ".venv/bin/python -m pip")


def test_without_a_console_command_the_package_is_run(environment, monkeypatch):
    (environment / "sweeper").unlink()
    assert program.sweeper() == ".venv/bin/python -m sweeper.cli"
    monkeypatch.setenv("PATH", str(environment))
    assert program.sweeper() == "python -m sweeper.cli"


def test_a_path_is_quoted_for_the_shell(tmp_path, monkeypatch):
    installed(tmp_path / "my project" / "my env", tmp_path / "base", monkeypatch)
    assert names() == ("'my env/bin/sweeper'", "'my env/bin/python'", "'my env/bin/python' -m pip")
    assert program.typed("sweeper best, sweeper show 7") == "'my env/bin/sweeper' best, 'my env/bin/sweeper' show 7"


def test_a_folder_that_is_gone_and_an_unknown_interpreter(environment, monkeypatch, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert program.sweeper() == f"{environment}/sweeper"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", "")
    assert names()[:2] == ("sweeper", "python")


# ---- texts -----------------------------------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_command_line():
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(program.COMMANDS) == known


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("Ask:    sweeper best --study d", "Ask:    .venv/bin/sweeper best --study d"),
        ("mend it, then `sweeper retry` puts it back", "mend it, then `.venv/bin/sweeper retry` puts it back"),
        ("pip install 'sweeper-hpo[report]'", ".venv/bin/python -m pip install 'sweeper-hpo[report]'"),
        ("a newer sweeper wrote it; the sweeper setting", "a newer sweeper wrote it; the sweeper setting"),
        ("bin/sweeper best, my-sweeper best, sweeper.run", "bin/sweeper best, my-sweeper best, sweeper.run"),
    ],
)
def test_commands_in_a_text_are_typed(environment, text, typed):
    assert program.typed(text) == typed
    assert program.typed(typed) == typed
    (environment / "sweeper").unlink()
    assert program.typed(program.typed(text)) == program.typed(text)


def test_an_error_says_its_cure_as_it_can_be_typed(environment):
    assert str(StoreError("STOPPED: sweeper resume opens it.")) == "STOPPED: .venv/bin/sweeper resume opens it."
    outer = StoreError(f"no: {StoreError('sweeper resume')}")
    assert (str(outer), outer.args) == ("no: .venv/bin/sweeper resume", ("no: .venv/bin/sweeper resume",))


# ---- the terminal ----------------------------------------------------------------------------------------------------


def test_every_answer_can_be_pasted(environment, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    filling.running_study(url)
    asked = [
        ["best", "--command"], ["status"], ["show", "1"], ["show", "2"], ["failures"], ["doctor"], ["stages"],
        ["borders"], ["diagnose"], ["diagnose", "1"], ["pause"], ["stop"], ["pause"], ["retry", "2"], ["resume"],
        ["hide", "1", "--why", "x"], ["set", "x=1"], ["set", "workers=0"], ["rerun", "4"], ["sql", "drop table t"],
    ]  # fmt: skip
    failures = CliRunner().invoke(app, ["failures", "--store", url]).output
    for words in asked:
        said = CliRunner().invoke(app, [*words, "--store", url]).output
        assert not program.TYPED.search(said), (words, said)
    assert f".venv/bin/sweeper show N --study digits --store {url}" in failures.replace("\n", "")
    assert CliRunner().invoke(app, ["bset"]).output.splitlines()[1] == "Try '.venv/bin/sweeper -h' for help."
    monkeypatch.setattr(
        shellingham, "detect_shell", lambda: ("bash", "/bin/bash")
    )  # the tests may have no shell above them
    assert "complete" in (script := CliRunner().invoke(app, ["--show-completion"]).output)
    assert ".venv" not in script


def test_a_training_is_typed_here_and_plain_elsewhere(environment, tmp_path):
    store, _ = filling.study(f"sqlite:///{tmp_path / 'sweeper.db'}")
    study = reads.study(store, None)
    assert " .venv/bin/python 'train it.py' " in str(train_command(study, {"model.depth": 2}, 7, 1))
    assert " python 'train it.py' " in str(train_command(study, {"model.depth": 2}, 7, 1, elsewhere=True))


def test_findings_are_plain_until_they_are_drawn(environment, store, study):
    row = {"check": "store", "verdict": "wrong", "message": "torn", "problems": [], "cure": "sweeper doctor --fix"}
    text = "\n".join(map(str, checkup.draw([{**row, "repairs": [1]}], "sweeper doctor --fix").renderables))
    assert text.count(" .venv/bin/sweeper doctor --fix") == 2
    assert str(diagnosed.of_all([], study).renderables[1]).endswith("One trial: .venv/bin/sweeper diagnose N")


def test_the_package_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", "--version"], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.startswith("sweeper ")
