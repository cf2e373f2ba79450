from __future__ import annotations

from sweeper.retraining.outcome import UNSEEDED, Outcome, compare

THEN = {0: {"train_loss": 0.5, "val_loss": 0.4}, 1: {"train_loss": 0.3, "val_loss": 0.1 + 0.2}}


def outcome(now, *, then=THEN, ignore=(), **more) -> Outcome:
    facts = {"ending": None, "failure": None, "environment": [], "changes": [], "seconds": 1.0, **more}
    return Outcome(
        study="demo",
        number=7,
        metric="val_loss",
        value=0.039634,
        compared=compare(then, now, ignore),
        epochs=len(then),
        trained=len(then.keys() & now.keys()),
        **facts,
    )


def test_the_same_numbers_match():
    same = outcome(THEN)
    assert same.matches
    assert str(same) == "trial 7 trained again: all 2 epochs of 2 metrics match to the last bit (0.03963)"


def test_the_last_bit_counts():
    found = outcome({**THEN, 1: {"train_loss": 0.3, "val_loss": 0.3}})
    assert not found.matches
    assert (found.first.epoch, found.first.metric) == (1, "val_loss")
    assert found.differing == ["val_loss"]
    assert str(found).splitlines() == [
        "trial 7 trained again: it differs from epoch 1 of 2 on, first in val_loss",
        "  then  0.30000000000000004",
        "  now   0.3",
        "every epoch of train_loss matches",
        UNSEEDED,
    ]


def test_a_zero_has_a_sign():
    assert not outcome({0: {"loss": 0.0}}, then={0: {"loss": -0.0}}).matches


def test_what_was_not_finite_matches_itself_and_nothing_else():
    assert outcome({0: {"loss": None}}, then={0: {"loss": None}}).matches
    other = outcome({0: {"loss": 1.5}}, then={0: {"loss": None}})
    assert "  then  not finite\n  now   1.5\n" in str(other)


def test_a_metric_may_be_missing_on_either_side():
    gone = outcome({0: {"val_loss": 0.4}, 1: THEN[1]})
    assert "first in train_loss\n  then  0.5\n  now   not reported\n" in str(gone)
    came = outcome({0: {**THEN[0], "more": 1.0}, 1: THEN[1]})
    assert "first in more\n  then  not reported\n  now   1.0\n" in str(came)


def test_what_is_ignored_differs_in_vain():
    assert outcome({**THEN, 1: {"train_loss": 9.0, "val_loss": 0.1 + 0.2}}, ignore=["train_loss"]).matches


def test_later_epochs_do_not_count():
    assert outcome({**THEN, 2: {"train_loss": 0.0, "val_loss": 0.0}}).matches


def test_a_training_that_broke_off():
    short = outcome({0: THEN[0]}, ending="exit code 1")
    assert not short.matches
    assert short.differing == []
    assert str(short).splitlines() == [
        "trial 7 trained again: only 1 of 2 epochs came, which match to the last bit",
        "the training ended with exit code 1",
    ]


def test_a_trial_that_failed_may_fail_again():
    again = outcome(THEN, ending="exit code 1", failure="diverged")
    assert again.matches
    assert str(again).endswith("the training ended with exit code 1, as it failed then (diverged)")


def test_the_environment_is_the_first_suspect():
    rows = [{"name": "torch", "then": "2.12.0", "now": "2.13.0"}]
    found = outcome({0: THEN[0], 1: {"train_loss": 0.3, "val_loss": 0.3}}, environment=rows)
    assert str(found).endswith("the environment differs:\n  torch         2.12.0 → 2.13.0")
    unknown = outcome({0: THEN[0], 1: {"train_loss": 0.3, "val_loss": 0.3}}, environment=None)
    assert "was not recorded" in str(unknown)
    assert UNSEEDED not in str(unknown)


def test_json_has_the_first_difference():
    found = outcome({**THEN, 1: {"train_loss": 0.3, "val_loss": 0.3}}).as_json()
    row = {"epoch": 1, "metric": "val_loss", "then": 0.1 + 0.2, "now": 0.3, "missing": None, "matches": False}
    assert (found["matches"], found["first_difference"]) == (False, row)
