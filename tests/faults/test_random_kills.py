"""Whole sweeps under random kills and stops: what comes out is what an undisturbed run gives, to the last bit."""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import checker
import killer
import lesson
import pytest

import forks

LONG = os.environ.get("SWEEPER_FAULTS") == "long"


def judge(tmp_path, database, trials, epochs, seed):
    """What the sweep left, and the verdict on it, with an undisturbed run of one process beside it."""
    assert forks.run(lesson.run, tmp_path / "undisturbed", trials=trials, epochs=epochs, seed=seed) == 0
    left = checker.read_store(database, lesson.STUDY)
    expected = checker.read_store(tmp_path / "undisturbed" / "sweeper.db", lesson.STUDY)
    return left, checker.compare(checker.check(left, trials=trials, epochs=epochs), left, expected)


@pytest.mark.slow
def test_workers_are_killed_and_put_to_sleep(tmp_path, capsys):
    """Bare workers, forked and so cheap; whoever died is started again."""
    trials, epochs, crew = 6, 4, 3
    folder, draw = tmp_path / "disturbed", random.Random(0)
    database, gate = folder / "sweeper.db", tmp_path / "gate"
    how = {
        "trials": trials,
        "epochs": epochs,
        "lease_seconds": 8.0,
        "hook": lesson.wait_behind(gate, trials - 2),
    }  # one has nothing to do
    workers = [forks.start(lesson.run, folder, **how) for _ in range(crew)]
    done: Counter[str] = Counter()

    def tend():
        for index, worker in enumerate(workers):
            if worker.exitcode is not None and not gate.exists():
                assert worker.exitcode == -9
                workers[index] = forks.start(lesson.run, folder, **how)

    def luck(deed):
        tend()
        time.sleep(draw.uniform(0, 0.3))
        here = {row["pid"] for row in lesson.ask(database, "SELECT pid FROM workers WHERE ended IS NULL")}
        if not {worker.pid for worker in workers} <= here:
            return False  # somebody must miss who sleeps
        pids = killer.at_work(database, [worker.pid for worker in workers])
        return bool(pids) and deed(database, draw.choice(pids))

    for deed in (killer.kill, killer.stop, killer.kill):
        forks.until(lambda deed=deed: luck(deed), deed.__name__)
        done[deed.__name__] += 1
    tend()
    gate.touch()
    codes = [forks.ended(worker) for worker in workers]
    if any(codes):  # killed after they had been tended
        assert forks.run(lesson.run, folder, **how) == 0
    left, verdict = judge(tmp_path, database, trials, epochs, seed=0)
    with capsys.disabled():
        print(
            f"\n{trials} trials, {done['kill']} kills, {done['stop']} stops; lost {len(verdict.lost)}, "
            f"doubled {len(verdict.doubled)}, differing {len(verdict.differing)}"
        )
    assert verdict, str(verdict)
    assert set(codes) <= {0, -9}
    assert sum(row["kills"] for row in left.trials) >= done.total()


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="make faults")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kills_and_stops_change_nothing(tmp_path, seed, capsys):
    """The real thing: a Hydra sweep whose workers, driver, or all at once are killed."""
    trials, epochs = 90, 5
    deeds = ["worker"] * 7 + ["driver"] * 3 + ["all"] + ["stop"] * 4
    disturbed = tmp_path / "disturbed"
    disturbed.mkdir()
    overrides = [f"budget={trials}", f"epochs={epochs}", f"hydra.sweeper.seed={seed}"]
    draw = random.Random(seed)
    luck = killer.Killer(disturbed, overrides, draw.sample(deeds, len(deeds)), draw, lease_seconds=6.0)
    luck.run()

    found, verdict = judge(tmp_path, luck.database, trials, epochs, seed)
    kills = {name: luck.done[name] for name in ("worker", "driver", "all")}
    expired = sum("its lease ran out" in event["message"] for event in found.events)
    with capsys.disabled():
        print(
            f"\nseed {seed}: {trials} trials, {len(luck.killed)} processes killed {kills}, {luck.done['stop']} stops "
            f"({expired} leases ran out), {luck.starts} starts; lost {len(verdict.lost)}, "
            f"doubled {len(verdict.doubled)}, differing {len(verdict.differing)}"
        )
    assert verdict, f"{verdict}\n{luck.log()}"
    assert not luck.deeds
    assert len(luck.killed) >= sum(kills.values()) == len(deeds) - deeds.count("stop")
    assert luck.starts == 1 + kills["driver"] + kills["all"], "the sweep ends only where its driver is killed"
    assert sum(row["kills"] for row in found.trials) >= kills["worker"], "workers died with trials in their hands"
    assert expired >= luck.done["stop"], "every stop outlived a lease"
