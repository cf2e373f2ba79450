"""The plan: stages, samplers, and what a budget is in epochs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sweeper.search.plan import Confirm, Plan, Stage
from sweeper.search.plans import SEARCHES, make_plan
from sweeper.search.samplers import NAMES
from sweeper.words.errors import ConfigError
from sweeper.words.records import TrialRecord, TrialState


@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_has_a_plan_whose_samplers_exist(search):
    plan = make_plan(search, epochs=5)
    assert plan.search == search
    assert plan.stages
    assert plan.full_epochs == 5
    assert {stage.sampler for stage in plan.stages} - {None} <= set(NAMES)


def test_a_sampler_of_ones_own_takes_the_last_stages_place():
    plan = make_plan("random", sampler="gp")
    assert plan.stages == (Stage("search", "gp"),)
    own = {"_target_": "optuna.samplers.TPESampler", "multivariate": True}
    assert make_plan("bayesian", sampler=own).stages[-1].sampler == own


def test_a_search_may_be_a_mapping():
    stages = [{"name": "wide", "sampler": "sobol", "epochs": 1}, {"sampler": "tpe"}]
    plan = make_plan({"name": "mine", "stages": stages}, epochs=3)
    assert (plan.search, [stage.name for stage in plan.stages]) == ("mine", ["wide", "search"])
    assert make_plan({"stages": [{"sampler": "random"}]}).search == "custom"


@pytest.mark.parametrize("search", SEARCHES)
def test_the_yaml_to_copy_says_what_the_package_has(search):
    file = Path(__file__).parents[2] / "conf" / "search" / f"{search}.yaml"
    assert make_plan(yaml.safe_load(file.read_text()), epochs=27) == make_plan(search, epochs=27)


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


# ---- stages ----------------------------------------------------------------------------------------------------------


def ladder(epochs=27, **more):
    return make_plan("coarse_to_fine", epochs=epochs, **more)


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(52, (6, 17, 52)), (27, (3, 9, 27)), (20, (3, 7, 20)), (9, (3, 9)), (4, (2, 4)), (2, (1, 2)), (1, (1,))],
)
def test_stages_with_shares_of_a_training_are_rungs_in_epochs(epochs, rungs):
    assert ladder(epochs).rungs == rungs
    assert ladder(epochs).stages[0].sampler == "multi_fidelity"


def test_without_epochs_there_is_one_stage():
    assert make_plan("coarse_to_fine").stages == (Stage("fine", "multi_fidelity"),)
    assert make_plan("cs231n").stages == (Stage("fine", "tpe"),)


def test_a_sampler_of_ones_own_takes_the_place_of_the_last_that_there_is():
    assert [stage.sampler for stage in ladder(sampler="tpe").stages] == ["tpe", None, None]
    assert [stage.sampler for stage in make_plan("cs231n", epochs=27, sampler="gp").stages] == [
        "random",
        "random",
        "gp",
    ]


def test_stages_train_longer_and_longer():
    stages = [{"sampler": "random", "epochs": 9}, {"sampler": "random", "epochs": 3}, {"sampler": "random"}]
    with pytest.raises(ConfigError, match="longer than the one before"):
        make_plan({"stages": stages}, epochs=20)
    with pytest.raises(ConfigError, match="20 epochs, but got 30"):
        make_plan({"stages": [{"sampler": "random", "epochs": 30}, {"sampler": "random"}]}, epochs=20)


def test_a_search_may_know_its_epochs_itself():
    stages = [{"sampler": "random", "epochs": 2}, {"promote": 0.5, "epochs": 8}]
    assert make_plan({"stages": stages}).rungs == (2, 8)


def test_new_trials_begin_at_the_stage_whose_share_is_not_yet_granted():
    plan = make_plan("cs231n", epochs=27)  # 1/8 of the budget coarse, up to 1/4 finer, the rest fine
    budget = plan.budget_epochs(8)
    assert [plan.entry(granted, budget, 0) for granted in (0, 26, 27, 53, 54, 200)] == [0, 0, 1, 1, 2, 2]
    assert {ladder().entry(granted, 270, begun=granted // 3) for granted in range(0, 270, 9)} == {0}


def counted(**more):
    """Ten trials of 3 epochs, five of 9, until half of the budget is granted those of 18, then the rest."""
    stages = [
        {"name": "coarse", "epochs": 3, "sampler": "random", "trials": 10},
        {"name": "finer", "epochs": 9, "sampler": "random", "trials": 5},
        {"name": "fine", "epochs": 18, "sampler": "tpe", "budget": "1/2"},
        {"name": "finest", "sampler": "tpe", "promote": "1/2"},
    ]
    return make_plan({"name": "counted", "stages": stages}, epochs=27, **more)


def test_new_trials_begin_at_a_stage_until_so_many_have_begun_there():
    plan, budget = counted(), counted().budget_epochs(20)
    assert [plan.entry(0, budget, begun) for begun in (0, 9, 10, 14, 15, 99)] == [0, 0, 1, 1, 2, 2]
    assert [plan.entry(granted, budget, 15) for granted in (269, 270, 500)] == [2, 3, 3], "a share comes after"
    assert plan.entry(500, budget, 3) == 0, "what was promoted meanwhile, and what that cost, changes nothing"


def test_a_number_of_trials_comes_back_from_a_store_and_changes_no_plan_without_one():
    assert Plan.from_json(json.loads(json.dumps(counted().to_json()))) == counted()
    assert "trials" not in json.dumps([make_plan(search, epochs=27).to_json() for search in SEARCHES])


def test_stages_that_so_few_epochs_make_one_have_their_trials_together():
    def trials(epochs):
        stages = [
            {"epochs": "1/9", "sampler": "random", "trials": 10},
            {"epochs": "1/3", "sampler": "random", "trials": 5},
            {"epochs": "2/3", "sampler": "random", "trials": 2},
            {"sampler": "tpe"},
        ]
        return [stage.trials for stage in make_plan({"stages": stages}, epochs=epochs).stages]

    assert trials(27) == [10, 5, 2, None]
    assert trials(4) == [15, 2, None]
    assert trials(1) == trials(None) == [None], "where all are one, the budget bounds it"


def test_a_budget_pays_for_the_trials_that_stages_ask_for():
    assert counted().budget_epochs(4) == 4 * 27
    with pytest.raises(ConfigError, match=r"pay for the `trials`.*got 3 full trainings, and the trials take 2.78"):
        counted().budget_epochs(3)
    with pytest.raises(ConfigError, match="pay for the `trials`"):
        counted(confirm={"top": 1, "seeds": 2}).budget_epochs(5)


def test_no_trial_begins_that_could_not_be_trained_to_the_end():
    plan = ladder()
    assert plan.can_begin(243, 270, 9)
    assert not plan.can_begin(244, 270, 9)
    assert not plan.is_spent(244, 270, 9, furthest_paused=9), "18 epochs are left: enough for a trial that has done 9"
    assert plan.is_spent(244, 270, 9, furthest_paused=None)
    assert plan.is_spent(255, 270, 9, furthest_paused=9)


def paused(number, epochs, **curve):
    return TrialRecord(
        1, number, TrialState.PAUSED, seed=0, epochs_done=epochs, target_epochs=epochs, curve=curve.get("curve", {})
    )


def test_the_best_share_is_compared_where_all_of_them_were():
    plan = ladder()
    curves = [{3: 0.5, 9: 0.1}, {3: 0.4}, {3: 0.6}, {3: 0.3}, {1: 0.0}, {3: math.nan}]
    records = [paused(number, 3, curve=curve) for number, curve in enumerate(curves)]
    assert plan.best_share(records, 0, 1 / 2, sign=1) == [3, 1]
    assert plan.best_share(records, 0, 1 / 2, sign=-1) == [2, 0]
    assert plan.best_share(records[:2], 0, 1 / 3, sign=1) == []


# ---- confirmation ----------------------------------------------------------------------------------------------------


def test_what_is_confirmed_takes_its_share_of_the_budget_first():
    plan = ladder(confirm={"top": 2, "seeds": 3})
    assert plan.kept_epochs == 6 * 27
    assert plan.can_begin(3 * 27, 10 * 27, 3)
    assert not plan.can_begin(3 * 27 + 1, 10 * 27, 3)
    assert plan.is_spent(4 * 27, 10 * 27, 4, furthest_paused=9)
    assert plan.can_repeat(9 * 27, 10 * 27)
    assert not plan.can_repeat(9 * 27 + 1, 10 * 27)
    stages = make_plan("cs231n", epochs=27, confirm={"top": 2, "seeds": 3})
    assert [stages.entry(granted, 14 * 27, 0) for granted in (26, 27, 53, 54)] == [0, 1, 1, 2], "shares of what is left"
    with pytest.raises(ConfigError, match=r"got 6 full trainings, and confirm takes 6 of them"):
        plan.budget_epochs(6)


def test_confirm_stands_in_the_search_or_beside_it():
    search = {"stages": [{"sampler": "random"}], "confirm": {"top": 1}}
    assert make_plan(search).confirm == Confirm(top=1, seeds=5)
    assert make_plan(search, confirm={"seeds": 2}).confirm == Confirm(top=3, seeds=2)
    assert make_plan(search, confirm=False).confirm is None
    assert make_plan("random", confirm=True).confirm == Confirm(3, 5)
    assert make_plan("random").confirm is None


def test_a_plan_that_confirms_or_has_an_ancestor_comes_back_from_a_store():
    plan = make_plan("random", confirm=True, from_study="older")
    plan = replace(plan, first=({"x": 0.1, "y": "a"},))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.as_asked() == make_plan("random", from_study="older")


@pytest.mark.parametrize(
    "value", [3, "yes", {}, {"top": 0}, {"top": 1.5}, {"seeds": 1}, {"tops": 3}, {"top": True}, []]
)
def test_a_rule_that_confirms_nothing_is_refused(value):
    with pytest.raises(ConfigError, match=r"`confirm`.*but got"):
        make_plan("random", confirm=value)


# ---- wrong settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("grid", ["random, sobol, bayesian", "'grid'"]),
        ("", ["random"]),
        ({"name": "mine"}, ["stages", "'mine'"]),
        ({"stages": []}, ["stages"]),
        ({"stages": [{"sampler": "tpe"}], "epoch": 3}, ["name, borders, confirm and stages", "epoch"]),
        ({"stages": [{"name": "wide"}]}, ["sampler"]),
        ({"stages": [{"sampler": "tpe", "epoch": 3}]}, ["epoch", "name, epochs, sampler"]),
        ({"stages": {"sampler": "tpe"}}, ["stages"]),
        ({"stages": ["tpe"]}, ["stage"]),
        ({"stages": [{"sampler": None}]}, ["sampler"]),
        ({"stages": [{"promote": "worth"}]}, ["first stage", "sampler"]),
        ({"stages": [{"sampler": "random", "epochs": "2/1"}]}, ["`epochs`", "2/1"]),
        ({"stages": [{"sampler": "random", "budget": 0}]}, ["`budget`", "share"]),
        ({"stages": [{"sampler": "random"}, {"promote": "best"}]}, ["`promote`", "worth", "best"]),
        ({"stages": [{"sampler": "random", "trials": 0}, {"sampler": "tpe"}]}, ["`trials`", "such as 30", "got 0"]),
        ({"stages": [{"sampler": "random", "trials": 2.5}]}, ["`trials`", "got 2.5"]),
        ({"stages": [{"sampler": "random", "trials": True}]}, ["`trials`", "got True"]),
        (
            {"stages": [{"name": "wide", "sampler": "random", "trials": 9, "budget": "1/8"}]},
            ["`trials`", "instead of a `budget`", "'wide'", "trials=9", "budget=1/8", "leave one out"],
        ),
        (
            {"stages": [{"sampler": "random"}, {"name": "next", "promote": "worth", "trials": 9}]},
            ["`trials`", "'next'", "no sampler"],
        ),
        (
            {"stages": [{"name": "only", "sampler": "random", "trials": 9}, {"promote": "worth"}]},
            ["last stage with a sampler", "`budget`", "'only'", "trials=9"],
        ),
        (
            {
                "stages": [
                    {"name": "a", "sampler": "random", "budget": "1/8"},
                    {"name": "b", "sampler": "random", "trials": 9},
                    {"sampler": "tpe"},
                ]
            },
            ["counted on", "'b' has 9", "'a' has none", "`budget`"],
        ),
        ({"stages": [{"sampler": "random"}], "borders": "move"}, ["warn or widen", "move"]),
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
