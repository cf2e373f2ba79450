"""The plan: stages, samplers, and what a budget is in epochs."""

from __future__ import annotations

import json
import math

import pytest

from sweeper.errors import ConfigError
from sweeper.plan import SEARCHES, Plan, Stage, make_plan
from sweeper.samplers import NAMES


@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_has_a_plan_whose_samplers_exist(search):
    plan = make_plan(search, epochs=5)
    assert plan.search == search
    assert plan.stages
    assert plan.full_epochs == 5
    assert {stage.sampler for stage in plan.stages} <= set(NAMES)


def test_a_sampler_of_ones_own_takes_the_last_stages_place():
    plan = make_plan("random", sampler="gp")
    assert plan.stages == (Stage("search", "gp"),)
    own = {"_target_": "optuna.samplers.TPESampler", "multivariate": True}
    assert make_plan("bayesian", sampler=own).stages[-1].sampler == own


def test_a_search_may_be_a_mapping():
    plan = make_plan({"name": "mine", "stages": [{"name": "wide", "sampler": "sobol"}, {"sampler": "tpe"}]}, epochs=3)
    assert (plan.search, [stage.name for stage in plan.stages]) == ("mine", ["wide", "search"])
    assert make_plan({"stages": [{"sampler": "random"}]}).search == "custom"


def test_the_searchs_own_mapping_is_not_changed():
    before = json.dumps(SEARCHES)
    make_plan("random", sampler="gp", epochs=3)
    assert json.dumps(SEARCHES) == before


@pytest.mark.parametrize("plan", [make_plan(search, epochs=epochs) for search in SEARCHES for epochs in (None, 7)])
def test_a_plan_comes_back_from_a_store_as_it_was(plan):
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_with_a_class_comes_back_too():
    plan = make_plan("random", sampler={"_target_": "optuna.samplers.TPESampler", "seed": None})
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


# ---- budgets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "epochs", "granted"),
    [
        (20, None, 20),
        (20, 5, 100),
        (2.5, 10, 25),
        (1, 1, 1),
        (2.5, 5, 12),
        (2.3, 10, 23),
        (2.9, None, 2),
        (1.1, 30, 33),
    ],
)
def test_a_budget_is_full_trainings(budget, epochs, granted):
    assert make_plan("random", epochs=epochs).budget_epochs(budget) == granted


@pytest.mark.parametrize("budget", [0, -1, math.nan, math.inf, -math.inf])
def test_a_budget_is_a_number_above_zero(budget):
    with pytest.raises(ConfigError, match=rf"`budget`.* above 0, but got {budget}"):
        make_plan("random", epochs=5).budget_epochs(budget)


@pytest.mark.parametrize(("budget", "epochs"), [(0.5, None), (0.1, 5), (0.5, 5)])
def test_a_budget_that_is_too_small_for_one_trial_is_told(budget, epochs):
    """Else the study would be complete at once, without a trial and without a word."""
    with pytest.raises(ConfigError, match="budget"):
        make_plan("random", epochs=epochs).budget_epochs(budget)


# ---- wrong settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("grid", ["random, sobol, bayesian", "'grid'"]),
        ("", ["random"]),
        ({"name": "mine"}, ["stages", "'mine'"]),
        ({"stages": []}, ["stages"]),
        ({"stages": [{"sampler": "tpe"}], "epoch": 3}, ["name and stages", "epoch"]),
        ({"stages": [{"name": "wide"}]}, ["sampler"]),
        ({"stages": [{"sampler": "tpe", "epoch": 3}]}, ["epoch", "name, sampler"]),
        ({"stages": {"sampler": "tpe"}}, ["stages"]),
        ({"stages": ["tpe"]}, ["stage"]),
        ({"stages": [{"sampler": None}]}, ["sampler"]),
        (None, ["search"]),
    ],
    ids=str,
)
def test_a_search_that_is_none_is_refused_in_words(search, words):
    with pytest.raises(ConfigError) as caught:
        make_plan(search)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("epochs", [0, -3])
def test_a_training_has_an_epoch(epochs):
    with pytest.raises(ConfigError, match=rf"at least 1, but got {epochs}"):
        make_plan("random", epochs=epochs)


def test_a_sampler_is_a_name_or_a_mapping():
    with pytest.raises(ConfigError, match="sampler"):
        make_plan("random", sampler=3)
