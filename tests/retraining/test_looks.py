"""A study remembers who has looked at its test set."""

from __future__ import annotations

from sweeper.retraining import looks


def test_the_first_look_is_free_and_the_next_ones_are_told(store, study):
    assert looks.before(store, study) == []
    assert looks.warning([], looked=True) is None
    looks.note(store, study, "an ensemble of 3", {"test_loss": 0.25, "test_accuracy": 0.9}, 7)
    (first,) = looks.before(store, study)
    assert first.message == "an ensemble of 3: test_loss 0.25, test_accuracy 0.9"
    told = looks.warning([first], looked=False)
    assert told is not None
    assert told.startswith(f"The test set was looked at once before, first on {first.time[:10]} (an ensemble of 3: ")
    assert told.endswith("--test looks again.")
    again = looks.warning([first, first], looked=True)
    assert again is not None
    assert "2 times before" in again
    assert "--test" not in again
