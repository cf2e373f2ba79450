"""A new study whose first trials take the best settings of an older one."""

from __future__ import annotations

import logging

import pytest

import sweeper
from sweeper.engine.ancestor import Ancestor
from sweeper.words.errors import ConfigError, StoreError, StudyChanged

SPACE = {"lr": {"interval": [1e-5, 1e-1], "log": True}, "depth": "range(1, 6)", "activation": "choice(relu, tanh, elu)"}


def worth(trial):
    penalty = {"relu": 0.0, "tanh": 0.1, "elu": 0.2}.get(trial.params.get("activation"), 0.0)
    return abs(trial.params.get("lr", 0.01) - 0.01) + trial.params.get("depth", 0) / 10 + penalty


@pytest.fixture
def sweep(tmp_path):
    def run(name, train=worth, **more):
        return sweeper.run(
            train, study=name, **{"space": SPACE, "search": "random", "budget": 12, "folder": tmp_path, **more}
        )

    return run


@pytest.fixture
def older(sweep):
    return sweep("older", budget=20, seed=5)


def params(frame):
    names = [name for name in frame if name.startswith("params.")]
    return frame.sort_values("number")[names].to_numpy().tolist()


@pytest.mark.parametrize("search", ["random", "sobol", "bayesian", "coarse_to_fine", "cs231n"])
def test_every_search_begins_with_the_best_of_the_older_study(sweep, older, search):
    """Of 12 full trainings 4 are starting points, and half of those are taken over."""
    best = older.best(2)[["params.lr", "params.depth", "params.activation"]].to_numpy().tolist()
    study = sweep("newer", search=search, from_study="older")
    assert params(study.trials())[:2] == best
    fresh = sweep("fresh", search=search)
    if search in ("random", "sobol"):
        assert params(study.trials())[2:] == params(fresh.trials())[2:], "later trials are those that would have been"


def test_what_the_older_study_does_not_know_is_drawn(sweep, older):
    space = {"lr": SPACE["lr"], "width": "tag(log, int(interval(16, 512)))"}
    study = sweep("newer", space=space, from_study="older")
    assert study.trials()["params.lr"][:2].tolist() == older.best(2)["params.lr"].tolist()
    assert study.trials()["params.width"].between(16, 512).all()
    assert study.trials()["params.width"][:2].nunique() == 2


def test_settings_outside_the_new_ranges_and_repetitions_are_passed_over(sweep, older):
    space = {"depth": "range(2, 6)", "activation": "choice(relu, tanh)"}
    study = sweep("newer", space=space, from_study="older", budget=30)
    good = older.best(10).query("`params.depth` >= 2 and `params.activation` != 'elu'")
    distinct = good[["params.depth", "params.activation"]].drop_duplicates()
    assert params(study.trials())[: len(distinct[:3])] == distinct[:3].to_numpy().tolist()


def test_a_condition_holds_for_what_is_taken_over(sweep, older):
    space = {"activation": "choice(relu, tanh, elu)", "slope": {"interval": [0, 1], "when": "activation=elu"}}
    study = sweep("newer", space=space, from_study="older")
    for _, row in study.trials().iterrows():
        assert (row["params.activation"] == "elu") == (row["params.slope"] == row["params.slope"])


def test_they_are_frozen_so_the_older_store_may_go(sweep, tmp_path):
    url = f"sqlite:///{tmp_path / 'old.db'}"
    sweep("older", store=url)
    asked = {"from_study": {"study": "older", "store": url}}
    first = params(sweep("newer", budget=4, **asked).trials())
    (tmp_path / "old.db").unlink()
    again = sweep("newer", budget=6, **asked)
    assert params(again.trials())[:4] == first
    assert "old.db" not in str(again.record.plan)


def test_a_study_is_another_one_without_its_ancestor(sweep, older):
    sweep("newer", from_study="older", budget=3)
    with pytest.raises(StudyChanged, match="older"):
        sweep("newer", budget=3)


def test_another_metric_is_said_and_only_ranks_count(sweep, older, caplog):
    with caplog.at_level(logging.WARNING, "sweeper"):
        sweep("newer", lambda trial: -worth(trial), direction="maximize", from_study="older")
    assert "older was for objective (minimize), this one is for objective (maximize)" in caplog.text


# ---- what cannot be --------------------------------------------------------------------------------------------------


def test_a_study_that_is_not_there_is_told_with_those_that_are(sweep, older):
    with pytest.raises(StoreError, match=r"`from_study`.*no study elder.*it holds: older"):
        sweep("newer", from_study="elder")


def test_no_shared_parameter_is_told_with_both_spaces(sweep, older):
    with pytest.raises(ConfigError, match=r"share a parameter, but 'older' has lr, depth, activation.*width"):
        sweep("newer", space={"width": "interval(0, 1)"}, from_study="older")


def test_no_good_setting_within_the_ranges_is_told_with_the_ranges(sweep, older):
    with pytest.raises(ConfigError, match=r"None of the 10 best trials of 'older'.*lr is a number in \[2.0, 3.0\]"):
        sweep("newer", space={"lr": "interval(2, 3)"}, from_study="older")
    assert not (older._store.path.parent / "newer").exists()


@pytest.mark.parametrize("value", [3, {"store": "x"}, {"study": "a", "file": "b"}, {"study": 3}, ["a"]])
def test_an_ancestor_is_a_name_or_a_name_and_a_store(value):
    with pytest.raises(ConfigError, match="from_study"):
        Ancestor.parse(value)
