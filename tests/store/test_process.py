"""Who I am, and whether a process that a store names still runs."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.store import process

PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")


@pytest.fixture
def child():
    made = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield made
    made.kill()
    made.wait()
    made.stdin.close()


@pytest.fixture
def without_proc(monkeypatch, tmp_path):
    """As on macOS."""
    monkeypatch.setattr(process, "Path", lambda name: tmp_path / name.lstrip("/"))


def test_this_process_is_alive():
    assert process.is_alive(os.getpid(), process.start_time(os.getpid()))
    assert process.is_alive(os.getpid(), None)


@PROC
def test_a_process_keeps_its_start(child):
    started = process.start_time(child.pid)
    assert started is not None
    assert started >= process.start_time(os.getpid())
    assert process.start_time(child.pid) == started


def test_a_process_that_was_killed_is_dead(child):
    started = process.start_time(child.pid)
    child.kill()
    child.wait()
    assert not process.is_alive(child.pid, started)
    assert not process.is_alive(child.pid, None)
    assert process.start_time(child.pid) is None


@PROC
def test_a_process_that_nobody_has_waited_for_yet_is_dead(child):
    started = process.start_time(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still listed: a zombie
    assert not process.is_alive(child.pid, started)


@PROC
def test_a_number_that_was_given_to_another_process_is_dead(child):
    assert not process.is_alive(child.pid, process.start_time(child.pid) - 1.0)


@PROC
def test_a_name_with_brackets_and_spaces_is_no_trap(tmp_path):
    odd = tmp_path / "a) Z 1 (b"
    shutil.copy(shutil.which("sleep"), odd)
    sleeper = subprocess.Popen([odd, "60"])
    try:
        assert process.is_alive(sleeper.pid, process.start_time(sleeper.pid))
        assert process.start_time(sleeper.pid) >= process.start_time(os.getpid())
    finally:
        sleeper.kill()
        sleeper.wait()


def test_without_proc_a_process_is_known_by_its_number(child, without_proc):
    assert process.start_time(child.pid) is None
    assert process.is_alive(child.pid, None)
    child.kill()
    child.wait()
    assert not process.is_alive(child.pid, None)


def test_a_process_of_another_user_is_alive(monkeypatch, without_proc):
    def forbidden(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert process.is_alive(1, None)


def test_who_i_am(monkeypatch):
    assert process.host()
    assert process.user()

    def unknown():
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert process.user() == "unknown"
