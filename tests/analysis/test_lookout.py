from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import filling
from sweeper.analysis import lookout
from sweeper.analysis.lookout import EVERY, Lookout
from sweeper.analysis.progress import snapshot
from sweeper.search.space import SearchSpace
from sweeper.search.verdict import MIN_TRIALS
from sweeper.store import fenced, reads, schema, writes
from sweeper.words.records import EpochReport, TrialState


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A study whose trials are the better the larger the rate; `look()` at it, and what was `asked` meanwhile."""
    store, study_id = filling.study(f"sqlite:///{tmp_path / 'sweeper.db'}", budget=80)
    stage = {"stage": 0, "name": "search", "sampler": "random", "ranges": filling.SPACE}
    with store.write() as connection:
        connection.execute(schema.stages.insert().values(study_id=study_id, **stage))
    hand, watch, asked = filling.worker(store, study_id), Lookout(store), []
    whole = lookout.judge

    def judge(*arguments):
        asked.append(arguments)
        return whole(*arguments)

    def train(count: int) -> None:
        for _ in range(count):
            number = reads.study(store, "digits").next_number
            filling.complete(store, study_id, hand, 1.0 - number / 100)

    def look():
        study = filling.record(store)
        return watch.look(study, snapshot(store, study))

    monkeypatch.setattr(lookout, "judge", judge)
    return SimpleNamespace(store=store, id=study_id, train=train, look=look, asked=asked, watch=watch)


def test_it_judges_when_trials_have_ended_and_not_each_time_it_looks(sweep) -> None:
    sweep.train(MIN_TRIALS - 1)
    assert sweep.look().borders == ()
    sweep.train(1)
    for _ in range(3):
        assert [found.trials for found in sweep.look().borders] == [10, 10, 5]
    sweep.train(EVERY - 1)
    sweep.look()
    assert len(sweep.asked) == 1
    sweep.train(1)
    assert sweep.look().borders[0].trials == MIN_TRIALS + EVERY
    assert len(sweep.asked) == 2
    study, progress = filling.record(sweep.store), sweep.look()
    statements = filling.plans(sweep.store, lambda store: sweep.watch.look(study, progress))
    assert len(statements) == 1


def test_what_ended_in_an_earlier_run_is_judged_at_the_first_look(sweep) -> None:
    sweep.train(MIN_TRIALS + 3)
    assert sweep.look().borders[0].trials == MIN_TRIALS + 3
    assert sweep.look().counts == {TrialState.COMPLETE: MIN_TRIALS + 3}


def test_a_move_is_told_in_words_and_the_ranges_are_judged_anew(sweep) -> None:
    sweep.train(MIN_TRIALS)
    assert sweep.look().moves == ()
    space = SearchSpace.from_json(filling.record(sweep.store).space)
    moved = [each | {"high": 1.0} if each["name"] == "optimizer.lr" else each for each in space.to_json()]
    writes.move_ranges(
        sweep.store, sweep.id, 0, kind="widened", stage=0, space=moved, trials_told=MIN_TRIALS, reason="crowded"
    )
    progress = sweep.look()
    assert progress.moves == ("optimizer.lr [1e-5, 0.1] → [1e-5, 1], widened after 10 trials",)
    assert progress.borders[0].high == 1.0


def test_the_curves_of_what_is_shown_are_read_when_they_go_on(sweep) -> None:
    sweep.train(2)
    lease = filling.begin(sweep.store, sweep.id, filling.worker(sweep.store, sweep.id), 2, 0.4)
    (running,) = sweep.look().running
    assert running.curve == {1: pytest.approx(0.6), 2: 0.4}
    assert [list(each.curve) for each in sweep.look().latest] == [[1, 2, 3, 4]] * 2
    study, progress = filling.record(sweep.store), snapshot(sweep.store, filling.record(sweep.store))
    assert len(filling.plans(sweep.store, lambda store: sweep.watch.look(study, progress))) == 1
    fenced.report(sweep.store, lease, EpochReport(2, 2, {"val_loss": None}, 0.25), None)
    assert sweep.look().running[0].curve[3] is None
    progress = snapshot(sweep.store, filling.record(sweep.store))
    behind = replace(progress, running=(replace(progress.running[0], epochs_done=4),))
    for plan in filling.plans(sweep.store, lambda store: sweep.watch.look(study, behind)):
        assert "SCAN" not in plan
        assert "TEMP B-TREE" not in plan


def test_the_stages_are_counted_as_trials_come_and_end(sweep) -> None:
    (stage,) = sweep.look().stages
    assert (stage.name, stage.epochs, stage.counts, stage.opens) == ("search", 4, {}, True)
    sweep.train(3)
    filling.begin(sweep.store, sweep.id, filling.worker(sweep.store, sweep.id), 1, 0.4)
    (stage,) = sweep.look().stages
    assert stage.counts == {TrialState.COMPLETE: 3, TrialState.RUNNING: 1}


def test_of_very_many_trials_the_stages_are_counted_now_and_then(tmp_path: Path) -> None:
    store, _ = filling.many(f"sqlite:///{tmp_path / 'many.db'}", 5000)
    study = filling.record(store)
    progress, watch = snapshot(store, study), Lookout(store, judges=False)
    watch.look(study, progress)
    seen = []
    for more in range(12):
        counts = {**progress.counts, TrialState.COMPLETE: progress.counts[TrialState.COMPLETE] + more}
        now = replace(progress, ended=progress.ended + more, counts=counts, complete=False)
        seen.append(len(filling.plans(store, lambda store, now=now: watch.look(study, now))))
    assert seen == [1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 1]


def test_the_ranges_are_those_of_the_last_move_beside_those_of_the_begin(sweep) -> None:
    rate = sweep.look().ranges[0]
    assert (rate.parameter, rate.low, rate.high, rate.began) == ("optimizer.lr", 1e-5, 0.1, (1e-5, 0.1))
    space = SearchSpace.from_json(filling.record(sweep.store).space)
    moved = [each | {"high": 1.0} if each["name"] == "optimizer.lr" else each for each in space.to_json()]
    writes.move_ranges(sweep.store, sweep.id, 0, kind="widened", stage=0, space=moved, trials_told=0, reason="crowded")
    (rate, *_) = sweep.look().ranges
    assert (rate.low, rate.high, rate.began) == (1e-5, 1.0, (1e-5, 0.1))


def test_one_that_does_not_judge_reads_no_trials(sweep) -> None:
    sweep.train(MIN_TRIALS)
    study = filling.record(sweep.store)
    assert Lookout(sweep.store, judges=False).look(study, snapshot(sweep.store, study)).borders == ()
    assert sweep.asked == []
