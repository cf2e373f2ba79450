"""The fault tests bite: with one rule of the design taken out, the enumerated points must find something wrong."""

from __future__ import annotations

import os

import pytest
from test_crash_points import enumerated

POINTS = {
    "fence": ["--deeds", "sleep", "--kinds", "replace"],
    "order": ["--kinds", "commit"],
    "plain": ["--kinds", "write"],
    "budget": ["--kinds", "commit"],
}
"""Where each should be noticed; without the mutant the same points are sound (`test_crash_points`)."""
NOTICED = {"fence": "trial", "order": "epochs", "plain": "torn", "budget": "numbers"}


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("SWEEPER_FAULTS") != "long", reason="make mutants")
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("mutant", POINTS)
def test_a_broken_rule_is_noticed(tmp_path, mutant, capsys):
    found = enumerated(tmp_path, "--mutant", mutant, "--until-wrong", *POINTS[mutant])
    with capsys.disabled():
        print(f"\n{mutant}: {found['wrong'] or 'not noticed'}")
    breaches = [breach for lines in found["wrong"].values() for breach in lines]
    assert any(NOTICED[mutant] in breach for breach in breaches), breaches
