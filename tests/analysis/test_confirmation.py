"""Which of the best is truly the best, told from repeats with other seeds."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.analysis import confirmation
from sweeper.analysis.confirmation import Repeated, Standing, gather, optimism, verdicts
from sweeper.words.records import Direction, TrialRecord, TrialState

LOW, HIGH = Direction.MINIMIZE, Direction.MAXIMIZE


def repeated(number, *values, **more):
    return Repeated(number, more.pop("first", None), values, **more)


def standings(trials, direction=LOW):
    return {verdict.trial.number: str(verdict.standing) for verdict in verdicts(trials, direction)}


def test_one_that_is_better_by_far_wins():
    trials = [repeated(4, 1.0, 1.1, 0.9, 1.0, 1.05), repeated(7, 0.1, 0.12, 0.11, 0.1, 0.09), repeated(9, 2, 2.2, 1.9)]
    best, *others = verdicts(trials, LOW)
    assert (best.trial.number, best.standing) == (7, Standing.WINS)
    assert best.probability > 0.99
    assert {verdict.standing for verdict in others} == {Standing.LOSES}
    assert sum(verdict.probability for verdict in verdicts(trials, LOW)) == pytest.approx(1)


def test_those_that_seeds_cannot_tell_apart_tie():
    trials = [repeated(1, 0.50, 0.54, 0.49, 0.52), repeated(2, 0.51, 0.53, 0.50, 0.51), repeated(3, 5.0, 5.1, 5.2)]
    assert standings(trials) == {1: "ties", 2: "ties", 3: "loses"}


def test_where_more_is_better_the_highest_mean_leads():
    trials = [repeated(1, 0.90, 0.91, 0.92), repeated(2, 0.70, 0.71, 0.70)]
    assert standings(trials, HIGH) == {1: "wins", 2: "loses"}
    assert [verdict.trial.number for verdict in verdicts(trials, LOW)] == [2, 1]


def test_trainings_without_any_spread_are_compared_exactly():
    assert standings([repeated(1, 0.5, 0.5), repeated(2, 0.6, 0.6)]) == {1: "wins", 2: "loses"}
    same = verdicts([repeated(1, 0.5, 0.5), repeated(2, 0.5, 0.5)], LOW)
    assert [(verdict.standing, verdict.probability) for verdict in same] == [(Standing.TIES, 0.5)] * 2


def test_nothing_is_said_of_one_alone_or_of_too_few_repeats():
    assert standings([repeated(1, 0.5, 0.6)]) == {1: "unknown"}
    assert standings([repeated(1, 0.5, 0.6), repeated(2, 0.1), repeated(3, failed=5)]) == dict.fromkeys(
        (1, 2, 3), "unknown"
    )


@pytest.fixture
def fewer_draws(monkeypatch):
    """Enough of them for a probability to two digits, and many a verdict in a second."""
    monkeypatch.setattr(confirmation, "DRAWS", 10_000)


def test_the_probability_keeps_its_promise(fewer_draws):
    """Of equals none is called the winner more often than one time in twenty, but for chance."""
    rng = np.random.default_rng(1)
    rounds = 200
    wins = 0
    for _ in range(rounds):
        trials = [repeated(number, *rng.normal(0.0, 1.0, 5).tolist()) for number in range(3)]
        wins += verdicts(trials, LOW)[0].standing is Standing.WINS
    assert wins <= 0.1 * rounds


def test_a_better_one_is_found_out(fewer_draws):
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(50):
        trials = [repeated(number, *rng.normal(2.5 * number, 1.0, 5).tolist()) for number in range(3)]
        found += standings(trials)[0] == "wins"
    assert found >= 30


def test_how_optimistic_the_best_value_was():
    assert optimism(repeated(1, 0.5, 0.7, first=0.4), LOW) == pytest.approx(0.2)
    assert optimism(repeated(1, 0.5, 0.7, first=0.9), HIGH) == pytest.approx(0.3)
    assert optimism(repeated(1, 0.5, 0.7), LOW) is None


def record(number, state, value=None, repeats=None):
    return TrialRecord(1, number, state, seed=0, value=value, repeats=repeats)


def test_repeats_are_gathered_under_the_trial_that_they_repeat():
    found = gather(
        [
            record(3, TrialState.COMPLETE, 0.1),
            record(5, TrialState.COMPLETE, 0.2),
            record(6, TrialState.COMPLETE, 0.3, repeats=3),
            record(7, TrialState.FAIL, repeats=3),
            record(8, TrialState.COMPLETE, float("nan"), repeats=3),
            record(9, TrialState.WAITING, repeats=3),
            record(10, TrialState.COMPLETE, 0.5, repeats=3),
        ]
    )
    assert found == [Repeated(3, 0.1, (0.3, 0.5), failed=2, open=1)]
    assert found[0].mean == pytest.approx(0.4)
