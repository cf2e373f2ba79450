from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeper.borders import MIN_TRIALS
from sweeper.report import lookout
from sweeper.report.lookout import EVERY, Lookout
from sweeper.report.progress import snapshot
from sweeper.space import SearchSpace
from sweeper.store import reads, schema, writes
from sweeper.trial import TrialState

filling = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "filling.py")))


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
