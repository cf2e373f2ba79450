"""Proposals: valid, seeded by study and number, a function of the history alone, and better than chance."""

from __future__ import annotations

import logging
import math
import statistics
import warnings
from dataclasses import replace

import optuna
import pytest
from scipy.stats import qmc

from sweeper.search.optuna.copy import to_optuna
from sweeper.search.optuna.space import OptunaSpace
from sweeper.search.proposer import Proposer
from sweeper.search.samplers import NAMES, recipe
from sweeper.search.samplers.sobol import SobolSampler
from sweeper.search.space import Categorical, Float, Int, SearchSpace, When
from sweeper.words.errors import ConfigError
from sweeper.words.records import Direction, Failure, TrialRecord, TrialState
from sweeper.words.seeds import derive, trial_seed

SGD = (When("optimizer", ("sgd",)),)
MIXED = SearchSpace(
    (
        Float("momentum", 0.5, 0.99, when=SGD),  # before its parent
        Float("lr", 1e-5, 1e-1, log=True),
        Float("dropout", 0.0, 0.75, step=0.2),
        Int("width", 16, 512, log=True),
        Int("depth", 1, 6, step=2),
        Categorical("fixed", ("only",)),
        Categorical("optimizer", ("sgd", "adam")),
        Categorical("batch", (16, 32, 64), ordered=True),
        Float("nesterov_scale", 0.1, 1.0, when=(*SGD, When("batch", (16, 32)))),
    )
)
PLANE = SearchSpace((Float("x", -1.0, 1.0), Float("y", -1.0, 1.0)))
GRID = SearchSpace((Int("a", 1, 4), Categorical("b", ("p", "q")), Int("c", 1, 2, when=(When("b", ("q",)),))))


def loss(params):
    wrong_optimizer = 0.0 if params.get("optimizer") == "adam" else 0.5
    return (math.log10(params["lr"]) + 3) ** 2 + params["dropout"] ** 2 + wrong_optimizer


def bowl(params):
    return (params["x"] - 0.3) ** 2 + (params["y"] + 0.4) ** 2


def record(number, params, value=None, state=TrialState.COMPLETE, **more):
    return TrialRecord(1, number, state, 0, params=params, value=value, epochs_done=5, **more)


def search(sampler, space, objective, trials, seed=0, direction=Direction.MINIMIZE):
    """One worker, one trial after the other."""
    proposer, history = Proposer(space, direction, sampler, seed), []
    for number in range(trials):
        params = proposer.suggest(number)
        history.append(record(number, params, objective(params)))
        proposer.update(history[-1:])
    return history


def mirrored(proposer):
    """What Optuna sees: number → trial."""
    return {trial.number: trial for trial in proposer._mirror.get_all_trials(0, deepcopy=False)}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "brute_force"])
def test_every_sampler_on_a_conditional_space(name):
    for trial in search(name, MIXED, loss, 25):
        MIXED.validate(trial.params)
        assert all(type(value) in (int, float, str) for value in trial.params.values())


def test_brute_force_tries_everything_once():
    history = search("brute_force", GRID, lambda params: params["a"], 12)
    assert len({tuple(trial.params.items()) for trial in history}) == 12


def test_nothing_to_search():
    for name in ("random", "sobol", "tpe", "cmaes"):
        assert search(name, SearchSpace(()), lambda params: 0.0, 3)[-1].params == {}


@pytest.mark.parametrize(("name", "seeds"), [("tpe", 7), ("cmaes", 7), ("gp", 3)])
def test_learns_more_than_random(name, seeds):
    def median(name):
        return statistics.median(
            min(trial.value for trial in search(name, PLANE, bowl, 30, seed)) for seed in range(seeds)
        )

    assert median(name) < 0.5 * median("random")


@pytest.mark.parametrize(("sampler", "share"), [("cmaes", 0.05), ({"name": "nsgaii", "population_size": 8}, 0.6)])
def test_samplers_with_a_memory_close_in(sampler, share):
    losses = [trial.value for trial in search(sampler, PLANE, bowl, 100)]
    assert statistics.mean(losses[-20:]) < share * statistics.mean(losses[:20])


def test_brute_force_needs_an_end():
    with pytest.raises(ConfigError, match="a `step` for each real parameter, but got none for x, y"):
        Proposer(PLANE, Direction.MINIMIZE, "brute_force", 0)


def test_direction():
    history = search("tpe", PLANE, lambda params: -bowl(params), 40, direction=Direction.MAXIMIZE)
    assert max(trial.value for trial in history) > -0.02


@pytest.mark.parametrize("name", ["random", "sobol"])
def test_without_history_only_the_number_counts(name):
    expected = [trial.params for trial in search(name, MIXED, loss, 12)]
    other = Proposer(MIXED, Direction.MINIMIZE, name, 0)
    other.update([record(99, expected[0], 1.0)])
    assert not other.uses_history
    assert len({trial["lr"] for trial in expected}) == 12
    assert [other.suggest(number) for number in reversed(range(12))] == expected[::-1]
    assert Proposer(MIXED, Direction.MINIMIZE, name, 1).suggest(0) != expected[0]


def test_sobol_points_are_those_of_scipy():
    points = qmc.Sobol(len(MIXED), scramble=True, rng=5).random(16)
    names = [parameter.name for parameter in MIXED.in_order()]
    expected = [MIXED.from_unit(dict(zip(names, point, strict=True))) for point in points]
    proposer = Proposer(MIXED, Direction.MINIMIZE, {"name": "sobol", "seed": 5}, 0)
    assert [proposer.suggest(number) for number in range(16)] == expected


def test_sobol_in_a_study_of_optuna():
    space = OptunaSpace(PLANE)
    study = optuna.create_study(sampler=SobolSampler(space.distributions, space.from_unit, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.optimize(lambda t: t.suggest_float("x", -1, 1) + t.suggest_float("unknown", 2, 3), n_trials=5)
    assert all(2 <= trial.params["unknown"] <= 3 for trial in study.trials)


@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsgaii", {"name": "cmaes", "use_separable_cma": True}])
def test_a_resumed_study_goes_on_as_the_undisturbed_one(name):
    sampler = {"name": name, "population_size": 8} if name == "nsgaii" else name
    history = search(sampler, MIXED, loss, 40)
    for known in (1, 11, 25, 39):
        resumed = Proposer(MIXED, Direction.MINIMIZE, sampler, 0)
        resumed.update(reversed(history[:known]))
        assert resumed.suggest(known) == history[known].params


def test_news_in_any_order_and_twice():
    history = search("tpe", MIXED, loss, 30)
    late = Proposer(MIXED, Direction.MINIMIZE, "tpe", 0)
    late.update([replace(trial, state=TrialState.RUNNING, value=None) for trial in history[10:]])
    late.update(history[15:])
    late.update(history)
    late.update(history[5:20])
    plain = Proposer(MIXED, Direction.MINIMIZE, "tpe", 0)
    plain.update(history)
    assert late.suggest(30) == plain.suggest(30)


def test_cmaes_repeats_only_what_changed():
    history = search("cmaes", PLANE, bowl, 40)
    proposer = Proposer(PLANE, Direction.MINIMIZE, "cmaes", 0)
    proposer.update(history[:20] + history[21:])
    proposer.suggest(40)
    proposer.update(history)
    whole = Proposer(PLANE, Direction.MINIMIZE, "cmaes", 0)
    whole.update(history)
    assert proposer.suggest(41) == whole.suggest(41)


def test_pending_trials_count():
    history = search("tpe", PLANE, bowl, 15)
    proposer = Proposer(PLANE, Direction.MINIMIZE, "tpe", 0)
    proposer.update(history)
    alone = proposer.suggest(16)
    for number, state in ((20, TrialState.RUNNING), (21, TrialState.WAITING)):
        proposer.update([record(number, alone, 0.1, state)])
        assert mirrored(proposer)[number].state is optuna.trial.TrialState.RUNNING
        assert mirrored(proposer)[number].params == alone
    assert proposer.suggest(16) != alone


def test_a_paused_trial_is_told_by_the_epochs_that_it_has():
    proposer = Proposer(PLANE, Direction.MINIMIZE, "tpe", 0)
    proposer.update([record(0, {"x": 0.0, "y": 0.0}, 0.1, TrialState.PAUSED)])
    assert mirrored(proposer)[0].state is optuna.trial.TrialState.PRUNED
    assert list(mirrored(proposer)[0].intermediate_values.values()) == [0.1]


def test_what_the_store_says_wins():
    proposer = Proposer(PLANE, Direction.MINIMIZE, "tpe", 0)
    own = proposer.suggest(3)
    proposer.update([record(3, None, state=TrialState.RUNNING)])
    assert mirrored(proposer)[3].params == own
    stored = {"x": 0.5, "y": 0.5}
    proposer.update([record(3, stored, state=TrialState.RUNNING)])
    assert {number: trial.params for number, trial in mirrored(proposer).items()} == {3: stored}


def test_what_is_told():
    told = {}
    proposer = Proposer(PLANE, Direction.MINIMIZE, "tpe", 0)
    point = {"x": 0.0, "y": 0.0}
    proposer.update([record(0, point, None, TrialState.FAIL, failure=Failure.DIVERGED)])
    proposer.suggest(50)
    assert 0 not in mirrored(proposer)  # nothing known yet that it could be as bad as
    proposer.update(
        [
            record(1, point, 0.5),
            record(2, point, 2.0, TrialState.PRUNED),
            record(3, point, math.nan),
            record(4, point, math.inf, TrialState.PRUNED),
            record(5, point, None, TrialState.FAIL, failure=Failure.OUT_OF_MEMORY),
            record(6, point, 0.1, TrialState.FAIL, failure=Failure.ERROR),
            record(7, point, None, TrialState.FAIL, failure=Failure.KILLED),
            record(8, {"x": 5.0, "y": 0.0}, 0.1),
            record(9, {"x": 0.0}, 0.1),
        ]
    )
    proposer.suggest(50)
    told = {n: (t.state.name, t.value, t.intermediate_values) for n, t in mirrored(proposer).items() if n < 50}
    bad = ("COMPLETE", 2.0, {})
    assert told == {
        0: bad,
        1: ("COMPLETE", 0.5, {}),
        2: ("PRUNED", None, {5: 2.0}),
        3: bad,
        4: bad,
        5: bad,
        6: ("FAIL", None, {}),
        7: ("FAIL", None, {}),
    }
    proposer.update([record(10, point, 7.0)])
    proposer.suggest(50)
    assert mirrored(proposer)[0].value == 7.0


def test_diverged_is_bad_not_absent():
    def visits(failure):
        count = 0
        for seed in range(5):
            proposer = Proposer(PLANE, Direction.MINIMIZE, "tpe", seed)
            for number in range(40):
                params = proposer.suggest(number)
                diverges = params["x"] > 0
                count += diverges and number >= 12
                news = record(number, params, None if diverges else abs(params["x"]))
                proposer.update([replace(news, state=TrialState.FAIL, failure=failure) if diverges else news])
        return count

    assert visits(Failure.DIVERGED) < 0.8 * visits(Failure.ERROR)


def test_choices_of_any_kind_keep_their_type():
    kinds = (1, True, 1.0, "1", None)
    layers = ([64, 32], [64], {"units": 8})
    space = SearchSpace((Categorical("kind", kinds), Categorical("layers", layers), Float("x", 0, 1)))
    history = search("tpe", space, lambda params: params["x"], 60)
    assert {(type(t.params["kind"]), t.params["kind"]) for t in history} == {(type(kind), kind) for kind in kinds}
    assert all(trial.params["layers"] in layers for trial in history)
    study = to_optuna(space, history, Direction.MINIMIZE)
    assert {trial.params["kind"] for trial in study.trials} == {"1", "true", "1.0", '"1"', "null"}


@pytest.mark.parametrize(
    "spec",
    [
        {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 3},
        {"name": "tpe", "n_startup_trials": 3},
        "optuna.samplers.TPESampler",
        {"_target_": "optuna.samplers.CmaEsSampler", "independent_sampler": {"_target_": "optuna.samplers.TPESampler"}},
        {"name": "tpe", "group": True},
        {"name": "tpe", "multivariate": False, "seed": 3},
    ],
)
def test_samplers_by_path_or_with_arguments(spec):
    for trial in search(spec, MIXED, loss, 15):
        MIXED.validate(trial.params)


def test_grid_of_optuna():
    grid = {"a": [1, 2, 3], "b": ["p"]}
    history = search({"_target_": "optuna.samplers.GridSampler", "search_space": grid}, GRID, lambda p: 0.0, 3)
    assert {trial.params["a"] for trial in history} == {1, 2, 3}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("tpa", "No sampler 'tpa'; known: random, sobol, tpe"),
        ({"n_startup_trials": 3}, "needs `name` or `_target_`"),
        ({"_target_": "optuna.samplers.TPE"}, "no attribute 'TPE'"),
        ({"_target_": "nowhere.Sampler"}, "No module named 'nowhere'"),
        ({"_target_": "Sampler"}, "dotted path"),
        ({"_target_": "optuna.pruners.NopPruner"}, "must be an optuna.samplers.BaseSampler"),
        ({"_target_": "optuna.samplers.QMCSampler"}, "use `sampler: sobol`"),
        ({"name": "tpe", "startup": 3}, "TPESampler takes no startup; known: "),
        ({"name": "sobol", "scramble": True}, "SobolSampler takes no scramble"),
        ({"name": "tpe", "seed": "x"}, "whole number, but got 'x'"),
        ({"name": "nsgaii", "population_size": 1}, "NSGAIISampler cannot be built"),
        ({"name": "cmaes", "with_margin": True}, "with_margin must be false"),
    ],
)
def test_a_mistake_in_the_sampler(spec, said):
    with pytest.raises(ConfigError) as error:
        recipe(spec)
    assert said in str(error.value)


def test_optuna_is_quiet_only_here(recwarn, caplog):
    logger, level = logging.getLogger("optuna"), logging.getLogger("optuna").level
    search("cmaes", MIXED, loss, 12)
    assert logger.level == level
    assert not recwarn
    assert not caplog.records


def test_a_copy_for_optuna():
    history = search("random", MIXED, loss, 30)
    history += [
        record(31, history[0].params, 0.3, TrialState.PRUNED, seconds=4.0),
        record(32, history[1].params, None, TrialState.FAIL, failure=Failure.DIVERGED, message="NaN"),
        record(33, history[2].params, None, TrialState.RUNNING),
        record(34, history[3].params, None, TrialState.PAUSED),
        record(35, None, None, TrialState.WAITING),
        record(36, history[4].params, math.nan),
        record(37, {**history[5].params, "lr": 0.5}, 99.0),  # from when the range was wider
    ]
    study = to_optuna(
        MIXED, reversed(history), Direction.MINIMIZE, "copy", "val_loss", {31: [(0, 0.5), (1, None), (2, 0.3)]}
    )
    by_number = {trial.user_attrs["number"]: trial for trial in study.trials}
    assert study.best_value == min(trial.value for trial in history[:30])
    assert study.metric_names == ["val_loss"]
    assert [by_number[n].state.name for n in range(31, 38)] == (
        ["PRUNED", "FAIL", "RUNNING", "RUNNING", "WAITING", "FAIL", "COMPLETE"]
    )
    assert by_number[31].intermediate_values == {0: 0.5, 2: 0.3}
    assert by_number[31].duration.total_seconds() == 4.0
    assert by_number[32].user_attrs["failure"] == "diverged"
    assert by_number[37].params["lr"] == 0.5
    importance = optuna.importance.get_param_importances(study, params=["lr", "dropout"])
    assert importance["lr"] > importance["dropout"]


def test_seeds_are_the_same_everywhere():
    assert (derive(0, "trial", 1), trial_seed(0, 1)) == (915067004, 915067004)
    assert derive(0, 1) != derive(0, "1")
    assert all(0 <= derive(seed, "x") < 2**31 for seed in (-1, 0, 2**64))
