"""The multi-fidelity sampler: Optuna's own suite, the laws of the process, and the judgement at the rungs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.integrate import quad
from scipy.stats import norm

from sweeper.search.samplers.acquisition import Acquisition, log_h, slope
from sweeper.search.samplers.coordinates import Coordinates
from sweeper.search.samplers.gaussian_process import Hyperparameters, Observations, Process, _Posterior, fit
from sweeper.search.samplers.multi_fidelity import MultiFidelitySampler, ladder
from sweeper.search.samplers.surrogate import MOST, _capped
from sweeper.search.samplers.warping import Warping

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-7, 10.0, log=True),
    "depth": IntDistribution(1, 5),
    "optimizer": CategoricalDistribution(["sgd", "adam"]),
    "momentum": FloatDistribution(0.0, 0.99),
}
BOX = {"lr": (1e-5, 1e-1)}
CONDITIONS = {"momentum": {"optimizer": ["sgd"]}}


class TestOptunasSuite(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: MultiFidelitySampler(n_startup_trials=1, seed=0)


def loss(params: dict[str, Any], epoch: int) -> float:
    """Best at lr 1e-3, depth 3, adam; falls with the epochs."""
    distance = (math.log10(params["lr"]) + 3) ** 2 + (params["depth"] - 3) ** 2 + (params["optimizer"] == "sgd")
    return distance + 3.0 / epoch + params.get("momentum", 0.0)


def sampler(number: int = 0, **arguments: Any) -> MultiFidelitySampler:
    defaults: dict[str, Any] = {
        "epochs": 27,
        "seed": number,
        "start_seed": 7,
        "budget": 20,
        "space": SPACE,
        "ranges": BOX,
        "conditions": CONDITIONS,
    }
    return MultiFidelitySampler(**(defaults | arguments))


def trial(
    params: dict[str, Any], epochs: int, state: TrialState = TrialState.RUNNING, number: int = 0, **attributes: Any
) -> FrozenTrial:
    values = {rung: loss(params, rung) for rung in (3, 9, 27) if rung <= epochs}
    made = create_trial(
        params=params,
        distributions={name: SPACE[name] for name in params},
        state=TrialState.COMPLETE if state is TrialState.COMPLETE else TrialState.PRUNED,
        value=values[27] if state is TrialState.COMPLETE else None,
        intermediate_values=values,
        user_attrs=attributes,
    )
    made.state, made.number = state, number
    return made


class History:
    """A study as far as a sampler reads it, whose trials may be in any state."""

    direction = optuna.study.StudyDirection.MINIMIZE
    directions = (direction,)

    def __init__(self, *trials: FrozenTrial) -> None:
        self.trials = list(trials)

    def _is_multi_objective(self) -> bool:
        return False

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        return self.trials

    def run(self, trials: int, **arguments: Any) -> History:
        """One worker's search: each trial climbs as far as it is worth it."""
        for number in range(len(self.trials), trials):
            params = propose(self, number, **arguments)
            self.trials.append(trial(params, 0, number=number))
            for rung in (3, 9, 27):
                state = TrialState.COMPLETE if rung == 27 else TrialState.RUNNING
                self.trials[number] = trial(params, rung, state, number)
                if not sampler(number, **arguments).goes_on(self, self.trials[number]):  # type: ignore[arg-type]
                    break
            if rung < 27:
                self.trials[number] = trial(params, rung, number=number, paused=True)
        return self


def propose(history: History, number: int, **arguments: Any) -> dict[str, Any]:
    asked = FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState.RUNNING,
        value=None,
        params={},
        distributions={},
        intermediate_values={},
        user_attrs={},
        system_attrs={},
        datetime_start=None,
        datetime_complete=None,
    )
    return sampler(number, **arguments).sample_relative(history, asked, dict(SPACE))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def history() -> History:
    return History().run(20)


def full(params: dict[str, Any], number: int) -> FrozenTrial:
    return trial(params, 27, TrialState.COMPLETE, number)


def adam(lr: float, depth: int = 3) -> dict[str, Any]:
    return {"lr": lr, "depth": depth, "optimizer": "adam"}


def test_proposals_lie_in_the_box_and_hold_exactly_the_active_parameters(history: History) -> None:
    for each in history.trials:
        assert 1e-5 <= each.params["lr"] <= 1e-1
        assert ("momentum" in each.params) == (each.params["optimizer"] == "sgd")


def test_a_proposal_follows_from_history_seed_and_number_alone(history: History) -> None:
    assert propose(history, 20) == propose(history, 20)
    assert propose(history, 20) != propose(history, 21)


def test_starting_points_follow_from_the_start_seed_and_the_number_whatever_the_history(history: History) -> None:
    assert propose(History(), 2) == propose(history, 2)
    assert propose(History(), 2) == propose(History(), 2, seed=99)
    assert propose(History(), 2) != propose(History(), 2, start_seed=99)


def test_every_fifth_trial_explores_where_that_is_cheap(history: History) -> None:
    explored = {number for number in range(20, 31) if propose(history, number) == propose(History(), number)}
    assert explored == {20, 25, 30}
    full_only = {n for n in range(20, 31) if propose(history, n, rungs=(27,)) == propose(History(), n, rungs=(27,))}
    assert full_only == set()


def test_the_search_comes_near_the_best(history: History) -> None:
    best = history.trials[sampler().recommend(history, 1)[0]]  # type: ignore[arg-type]
    assert best.params["optimizer"] == "adam"
    assert loss(best.params, 27) < 0.6


def test_no_proposal_repeats_a_trial_while_there_are_others() -> None:
    space: dict[str, BaseDistribution] = {
        "depth": IntDistribution(1, 3),
        "wide": CategoricalDistribution([True, False]),
    }
    study = optuna.create_study(sampler=MultiFidelitySampler(seed=0, n_startup_trials=1, space=space))
    study.optimize(lambda t: t.suggest_int("depth", 1, 3) + t.suggest_categorical("wide", [True, False]), n_trials=6)
    assert len({(t.params["depth"], t.params["wide"]) for t in study.trials}) == 6


def test_of_the_first_trials_the_best_go_to_the_end_once_all_are_at_the_first_rung() -> None:
    depths = [1, 2, 3, 4, 5]
    trials = [trial(adam(1e-3, depth), 3, number=number, paused=True) for number, depth in enumerate(depths)]
    waiting = History(*trials[:4], trial(adam(1e-3, 5), 0, number=4))
    five = sampler(n_startup_trials=5)
    assert five.promote(waiting) is None  # type: ignore[arg-type]
    assert not five.goes_on(waiting, trials[2])  # type: ignore[arg-type]
    complete = History(*trials)
    assert five.promote(complete) in (1, 2, 3)  # type: ignore[arg-type]
    assert [five.goes_on(complete, each) for each in trials] == [False, True, True, True, False]  # type: ignore[arg-type]


def test_a_trial_stops_where_its_rung_disappoints_and_goes_on_where_it_does_not() -> None:
    known = [full(adam(10.0**-power, depth), 2 * power + depth // 4) for power in (1, 2, 3, 4, 5) for depth in (1, 4)]
    for number, each in enumerate(known):
        each.number = number
    good, bad = trial(adam(1e-3), 3, number=10), trial(adam(1e-3), 3, number=10)
    bad.intermediate_values[3] += 8.0
    judge = sampler(n_startup_trials=0)
    assert judge.goes_on(History(*known, good), good)  # type: ignore[arg-type]
    assert not judge.goes_on(History(*known, bad), bad)  # type: ignore[arg-type]


def test_the_last_epochs_go_to_the_paused_trial_that_they_suffice_for() -> None:
    known = [full(adam(10.0**-power), power - 1) for power in (1, 2, 4, 5)]
    near, far = trial(adam(1e-3), 9, number=4, paused=True), trial(adam(1e-3), 3, number=5, paused=True)
    judge, study = sampler(n_startup_trials=0), History(*known, near, far)
    assert judge.promote(study) is None  # type: ignore[arg-type]
    assert judge.promote(study, epochs_left=30) is None  # type: ignore[arg-type]
    assert judge.promote(study, epochs_left=20) == 4  # type: ignore[arg-type]
    assert judge.promote(study, epochs_left=10) is None  # type: ignore[arg-type]


def test_only_trials_with_the_most_epochs_are_recommended(history: History) -> None:
    chosen = sampler().recommend(history, 50)  # type: ignore[arg-type]
    assert set(chosen) == {t.number for t in history.trials if t.state is TrialState.COMPLETE}
    assert sampler().recommend(History(), 1) == []  # type: ignore[arg-type]


def test_luck_is_told_apart_from_merit_by_the_neighbours() -> None:
    depths = [full(adam(10**power), number) for number, power in enumerate(np.linspace(-4.5, -1.5, 25))]
    rng = np.random.default_rng(0)
    for each in depths:
        each.intermediate_values = {}
        each.value = loss(each.params, 27) + 0.5 * rng.standard_normal()
    best = sampler(n_startup_trials=0).recommend(History(*depths), 1)[0]  # type: ignore[arg-type]
    assert loss(depths[best].params, 27) < 0.35


def test_where_trials_diverged_or_ran_out_of_memory_nothing_is_proposed() -> None:
    for word in ("diverged", "out_of_memory"):
        depths = [trial(adam(10**power), 0, TrialState.PRUNED, n, bad=word) for n, power in enumerate((-1.5, -1.2, -1))]
        known = [full(adam(10.0**-power), power) for power in (3, 4, 5)]
        study = History(*depths, *known)
        for number in range(6, 12):
            study.trials.append(full(propose(study, number, n_startup_trials=0), number))
        assert sum(each.params["lr"] > 10**-1.5 for each in study.trials[6:]) <= 1, [t.params for t in study.trials[6:]]


def test_a_diverged_trial_is_no_best_to_be_beaten() -> None:
    known = [trial(adam(10.0**-power), 9, number=power, paused=True) for power in (2, 3, 4)]
    diverged = trial(adam(1e-1), 0, TrialState.PRUNED, 5, bad="diverged")
    surrogate = sampler()._surrogate(History(*known, diverged), dict(SPACE))  # type: ignore[arg-type]
    assert surrogate._best == pytest.approx(surrogate.means([2, 3, 4]).min())
    assert surrogate._best < surrogate.means([5])[0]


def test_pending_trials_keep_others_away(history: History) -> None:
    first = propose(history, 20)
    second = propose(History(*history.trials, trial(first, 0, number=20)), 21)
    assert first != second


def test_what_was_seen_outside_the_box_still_counts_and_the_box_still_holds() -> None:
    outside = [full(adam(lr), number) for number, lr in enumerate((1e-7, 1e-6, 1.0, 10.0))]
    params = propose(History(*outside), 4, n_startup_trials=0)
    assert 1e-5 <= params["lr"] <= 1e-1


def test_maximising_is_minimising_the_negative(history: History) -> None:
    turned = History(
        *(FrozenTrial(**{**_fields(t), "value": None if t.value is None else -t.value}) for t in history.trials)
    )
    for each in turned.trials:
        each.intermediate_values = {step: -value for step, value in each.intermediate_values.items()}
    turned.direction = optuna.study.StudyDirection.MAXIMIZE
    assert propose(turned, 20) == propose(history, 20)


def _fields(of: FrozenTrial) -> dict[str, Any]:
    names = "number state params distributions intermediate_values user_attrs system_attrs".split()
    return {name: getattr(of, name) for name in names} | {
        "trial_id": 0,
        "datetime_start": None,
        "datetime_complete": None,
    }


@pytest.mark.parametrize("z", [3.0, 0.0, -0.99, -1.01, -5.0, -30.0])
def test_log_h_is_the_logarithm_of_the_improvement_and_slope_its_derivative(z: float) -> None:
    log = float(log_h(np.array(z)))
    if z > -10:
        assert log == pytest.approx(math.log(quad(norm.cdf, -np.inf, z)[0]), rel=1e-6)
    difference = (log_h(np.array(z + 1e-5)) - log_h(np.array(z - 1e-5))) / 2e-5
    assert float(slope(np.array(z))) == pytest.approx(float(difference), rel=1e-5)


def observations(count: int = 20) -> Observations:
    rng = np.random.default_rng(0)
    points = rng.random((count, 3))
    return Observations(points, np.arange(count) // 2, np.sin(3 * points).sum(1) - 1.5)


def test_the_gradient_of_the_posterior_density_is_its_derivative() -> None:
    posterior, theta = _Posterior(observations()), np.random.default_rng(0).normal(-0.5, 0.5, 11)
    steps = 1e-6 * np.eye(11)
    differences = [(posterior(theta + step)[0] - posterior(theta - step)[0]) / 2e-6 for step in steps]
    assert posterior(theta)[1] == pytest.approx(differences, rel=1e-4, abs=1e-4)


def test_a_warping_bends_the_unit_interval_onto_itself() -> None:
    x = np.linspace(0, 1, 50)[:, None]
    assert Warping(np.ones(1), np.ones(1))(x) == pytest.approx(x, abs=2e-3)
    bent = Warping(np.array([0.5]), np.array([3.0]))
    assert (np.diff(bent(x)[:, 0]) >= 0).all()
    inner, step = x[5:-5], 1e-6
    assert bent.slope(inner) == pytest.approx((bent(inner + step) - bent(inner - step)) / (2 * step), rel=1e-4)


def test_the_gradient_of_the_acquisition_is_its_derivative() -> None:
    data = observations()
    constraint = Process(Observations(data.points, data.trials, np.sign(data.targets)), fit(data))
    acquisition = Acquisition(Process(data, fit(data)), -1.0, constraint)
    point, steps = np.array([0.2, 0.7, 0.4]), 1e-6 * np.eye(3)
    differences = [(acquisition((point + step)[None]) - acquisition((point - step)[None]))[0] / 2e-6 for step in steps]
    value, gradient = acquisition.gradients(point[None])
    assert value == pytest.approx(acquisition(point[None]))
    assert gradient[0] == pytest.approx(differences, rel=1e-4)


def test_the_process_goes_through_noiseless_observations() -> None:
    data = observations()
    mean, deviation = Process(data, Hyperparameters(np.ones(3), Warping(np.ones(3), np.ones(3)), 1e-6, 1e-6)).posterior(
        data.points
    )
    assert mean == pytest.approx(data.targets, abs=0.01)
    assert (deviation < 0.05).all()


def test_believing_changes_no_mean_and_takes_away_doubt() -> None:
    process, points = Process(observations(), fit(observations())), np.array([[0.9, 0.1, 0.9]])
    believing = process.believing(points, np.array([99]))
    assert believing.posterior(points)[0] == pytest.approx(process.posterior(points)[0], abs=1e-3)
    assert believing.posterior(points)[1] < process.posterior(points)[1]


def test_the_model_keeps_all_full_trainings_as_long_as_there_is_room() -> None:
    rng = np.random.default_rng(0)
    times = np.where(np.arange(500) < 100, 1.0, rng.choice([0.5, 0.8], 500))
    data = Observations(np.column_stack([rng.random(500), times]), np.arange(500), rng.standard_normal(500))
    capped = _capped(data)
    assert len(capped) == MOST
    assert (capped.points[:, -1] == 1.0).sum() == 100
    assert len(np.unique(capped.trials)) == MOST


def test_whole_numbers_and_steps_come_back_as_they_went() -> None:
    space: dict[str, BaseDistribution] = {
        "a": IntDistribution(3, 9, step=2),
        "b": FloatDistribution(-1.0, 1.0, step=0.25),
        "c": IntDistribution(1, 1000, log=True),
        "d": CategoricalDistribution([None, "x", 1]),
    }
    coordinates = Coordinates(space, {"c": (10, 100)}, {}, [])
    sites = coordinates.at(np.random.default_rng(0).random((200, 4)))
    params = [coordinates.params(site) for site in sites]
    assert {p["a"] for p in params} == {3, 5, 7, 9}
    assert {p["d"] for p in params} == {None, "x", 1}
    assert all(10 <= p["c"] <= 100 and isinstance(p["c"], int) for p in params)
    assert coordinates.sites(params) == pytest.approx(sites)


def test_choices_that_are_growing_numbers_lie_in_their_order_and_come_back_as_they_went() -> None:
    space = {
        "batch": CategoricalDistribution([16, 32, 64]),
        "name": CategoricalDistribution(["a", "b", "c"]),
        "flag": CategoricalDistribution([False, True, 2]),
    }
    history = [
        {"batch": b, "name": n, "flag": f} for b, n, f in zip((16, 32, 64), "abc", (False, True, 2), strict=True)
    ]
    coordinates = Coordinates(space, {}, {}, history)
    points = coordinates.full(coordinates.sites(history))
    assert points.shape == (3, 1 + 3 + 3 + 1)
    np.testing.assert_allclose(points[:, 0], [1 / 6, 1 / 2, 5 / 6])
    rng = np.random.default_rng(0)
    sites = np.concatenate(
        [coordinates.at(rng.random((50, 3))), coordinates.near(coordinates.sites(history)[0], 50, rng)]
    )
    assert {coordinates.params(site)["batch"] for site in sites} == {16, 32, 64}
    assert [coordinates.params(site) for site in coordinates.sites(history)] == history


def test_a_value_that_the_model_cannot_explain_counts_half() -> None:
    known = [full(adam(1e-3, depth), depth) for depth in (1, 2, 3)]
    known[1].value = known[1].intermediate_values[27] = (known[1].value or 0.0) - 2.0
    surrogate = sampler()._surrogate(History(*known), dict(SPACE))  # type: ignore[arg-type]
    beyond = surrogate.merits([1, 2, 3]) - surrogate.means([1, 2, 3])
    assert surrogate.process is not None
    last = surrogate.process.data.targets[surrogate.process.data.points[:, -1] == 1.0]
    np.testing.assert_allclose(beyond, (last - surrogate.means([1, 2, 3])) / 2)


def test_a_child_of_an_inactive_parent_is_inactive() -> None:
    space = {name: CategoricalDistribution(["on", "off"]) for name in ("a", "b", "c")}
    coordinates = Coordinates(space, {}, {"c": {"b": ["on"]}, "b": {"a": ["on"]}}, [])
    for site in coordinates.at(np.random.default_rng(0).random((50, 3))):
        params = coordinates.params(site)
        assert ("b" in params) == (params["a"] == "on")
        assert ("c" in params) == (params.get("b") == "on")


@pytest.mark.parametrize(("epochs", "rungs"), [(52, [6, 17, 52]), (9, [3, 9]), (5, [5]), (None, [])])
def test_no_trial_is_judged_before_its_third_epoch(epochs: int | None, rungs: list[int]) -> None:
    assert ladder(epochs) == rungs
