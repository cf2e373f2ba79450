"""The records that cross every seam, and the seeds that trials train with."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict

import pytest

from sweeper.words.records import FINISHED, Direction, Failure, Idle, Lease, StudyState, TrialRecord, TrialState
from sweeper.words.seeds import derive, trial_seed


def test_the_words_are_those_of_the_design():
    assert list(TrialState) == "WAITING RUNNING PAUSED COMPLETE PRUNED FAIL".split()
    assert list(Failure) == "diverged out_of_memory timeout killed error".split()
    assert list(StudyState) == "OPEN PAUSED STOPPED".split()
    assert list(Idle) == "done wait again paused stopped".split()


@pytest.mark.parametrize("state", TrialState)
def test_a_trial_is_finished_or_may_still_be_trained(state):
    assert state.is_finished == (state in ("COMPLETE", "PRUNED", "FAIL"))
    assert state.is_finished == (state in FINISHED)


def test_words_are_strings_to_everybody():
    """A store, a JSON text and a person see the same word."""
    assert f"{TrialState.FAIL} {Failure.OUT_OF_MEMORY} {Direction.MINIMIZE}" == "FAIL out_of_memory minimize"
    assert json.dumps(TrialState.FAIL) == '"FAIL"'


@pytest.mark.parametrize(("direction", "best"), [(Direction.MINIMIZE, 0.1), (Direction.MAXIMIZE, 0.9)])
def test_sign_times_value_is_always_minimised(direction, best):
    assert min([0.1, 0.5, 0.9], key=lambda value: direction.sign * value) == best


def test_records_are_frozen():
    record = TrialRecord(1, 0, TrialState.RUNNING, seed=7)
    with pytest.raises(FrozenInstanceError):
        record.value = 0.5
    lease = Lease(1, 0, 1, 1)
    with pytest.raises(FrozenInstanceError):
        lease.attempt = 2


def test_records_do_not_share_their_metrics():
    one, other = (TrialRecord(1, number, TrialState.RUNNING, seed=7) for number in range(2))
    one.metrics["loss"] = 0.5
    assert other.metrics == {}
    assert asdict(one)["metrics"] == {"loss": 0.5}


# ---- seeds -----------------------------------------------------------------------------------------------------------


def test_seeds_are_the_same_for_ever():
    """Another number here is another training for everybody who resumes a study."""
    assert [trial_seed(0, number) for number in range(3)] == [derive(0, "trial", number) for number in range(3)]
    assert [trial_seed(0, 0), trial_seed(0, 1), trial_seed(1, 0)] == [942305938, 915067004, 505540657]


def test_seeds_fit_every_library():
    seeds = [trial_seed(study, number) for study in (0, 1, 2**63) for number in range(200)]
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)
    assert len(set(seeds)) == len(seeds)


def test_names_and_numbers_of_a_path_differ():
    assert len({derive(0, 1), derive(0, "1"), derive(0), derive(0, 1, 1), derive(0, "1, 1"), derive(1, 1)}) == 6
