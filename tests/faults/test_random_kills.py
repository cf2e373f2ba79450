"""Whole sweeps under random kills and stops: what comes out is what an undisturbed run gives, to the last bit."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import checker
import killer
import pytest

LONG = os.environ.get("SWEEPER_FAULTS") == "long"
EPOCHS = 5
RUNS = (
    [(seed, 90, ["worker"] * 7 + ["driver"] * 3 + ["all"] + ["stop"] * 4) for seed in range(3)]
    if LONG
    else [(0, 12, ["worker", "worker", "driver", "worker"])]
)
"""Seed, trials, and the deeds in an order that the seed draws."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seed", "trials", "deeds"), RUNS)
def test_kills_and_stops_change_nothing(tmp_path, seed, trials, deeds, capsys):
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    for folder in (disturbed, undisturbed):
        folder.mkdir()
    overrides = [f"budget={trials}", f"epochs={EPOCHS}", f"hydra.sweeper.seed={seed}"]
    quick = [sys.executable, str(killer.APP), "--multirun", *overrides]
    subprocess.run(quick, cwd=undisturbed, check=True, timeout=900, capture_output=True)
    draw = random.Random(seed)
    luck = killer.Killer(disturbed, overrides, draw.sample(deeds, len(deeds)), draw)
    luck.run()

    found = checker.read_store(disturbed / "runs" / "sweeper.db", killer.STUDY)
    verdict = checker.check(found, trials=trials, epochs=EPOCHS)
    checker.compare(verdict, found, checker.read_store(undisturbed / "runs" / "sweeper.db", killer.STUDY))
    kills = {name: luck.done[name] for name in ("worker", "driver", "all")}
    expired = sum("its lease ran out" in event["message"] for event in found.events)
    with capsys.disabled():
        print(
            f"\nseed {seed}: {trials} trials, {len(luck.killed)} processes killed {kills}, {luck.done['stop']} stops "
            f"({expired} leases ran out), {luck.starts} starts; lost {len(verdict.lost)}, "
            f"doubled {len(verdict.doubled)}, differing {len(verdict.differing)}"
        )
    assert verdict, f"{verdict}\n{luck.log()[-3000:]}"
    assert not luck.deeds
    assert len(luck.killed) >= sum(kills.values()) == len(deeds) - deeds.count("stop")
    assert luck.starts == 1 + kills["driver"] + kills["all"], "the sweep ends only where its driver is killed"
    assert sum(row["kills"] for row in found.trials) >= kills["worker"], "workers died with trials in their hands"
    if "stop" in deeds:
        assert expired > 0, "no stop outlived a lease"
