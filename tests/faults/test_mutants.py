"""The fault tests bite: with one rule of the design taken out, the enumerated points must find something wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "crash_points.py"
POINTS = {
    "fence": ["--deed", "sleep", "--kinds", "replace"],
    "order": ["--kinds", "commit"],
    "plain": ["--kinds", "write", "--every", "5"],
    "budget": ["--kinds", "commit"],
}
"""Where each should be noticed; without the mutant the same points are sound (`test_crash_points`)."""
NOTICED = {"fence": "trial", "order": "epochs", "plain": "torn", "budget": "numbers"}


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("SWEEPER_FAULTS") != "long", reason="make mutants")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", POINTS)
def test_a_broken_rule_is_noticed(tmp_path, mutant, capsys):
    command = [sys.executable, str(PROGRAM), str(tmp_path), "--mutant", mutant, "--until-wrong", *POINTS[mutant]]
    done = subprocess.run([*command, "--tolerate", "half-made"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n{mutant}: {found['wrong'] or 'not noticed'}")
    breaches = [breach for lines in found["wrong"].values() for breach in lines]
    assert any(NOTICED[mutant] in breach for breach in breaches), breaches
