from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from sweeper.search.borders import narrowed, ranked, verdicts, widened
from sweeper.search.space import Categorical, Float, Int, Parameter, SearchSpace, When
from sweeper.search.verdict import BorderKind, Verdict
from sweeper.words.records import Direction, Failure, TrialRecord, TrialState

RATE = Float("lr", 1e-5, 1e-1, log=True, limits=(1e-7, 10))


def trial(number: int, value: float | None, state: TrialState = TrialState.COMPLETE, **params) -> TrialRecord:
    return TrialRecord(0, number, state, 0, params=params, value=value, epochs_done=10)


def failed(number: int, failure: Failure, **params) -> TrialRecord:
    return TrialRecord(0, number, TrialState.FAIL, 0, params=params, failure=failure)


def told(parameter: Parameter, units: Sequence[float], loss: Callable[[float], float]) -> list[TrialRecord]:
    """Trials at these places of the range, where a place has that loss."""
    return [trial(n, loss(unit), **{parameter.name: parameter.from_unit(unit)}) for n, unit in enumerate(units)]


def verdict(parameter: Parameter, trials: Sequence[TrialRecord], direction=Direction.MINIMIZE) -> Verdict:
    (found,) = verdicts(SearchSpace((parameter,)), trials, direction)
    return found


def even(count: int, seed: int = 0) -> list[float]:
    """Places spread evenly, in no order: that of the trials counts."""
    return ((np.random.default_rng(seed).permutation(count) + 0.5) / count).tolist()


def upper(parameter: Parameter, count: int = 40) -> Verdict:
    return verdict(parameter, told(parameter, even(count), lambda unit: -unit))


def lower(parameter: Parameter, count: int = 40) -> Verdict:
    return verdict(parameter, told(parameter, even(count), lambda unit: unit))


# ---- verdicts --------------------------------------------------------------------------------------------------------


def test_an_optimum_beyond_the_range_crowds_its_edge() -> None:
    found = upper(RATE)
    assert (found.kind, found.edge, found.widen_to) == (BorderKind.UPPER, "upper", (1e-5, 10.0))
    assert (found.top, found.at_edge, found.trials) == (5, 4, 40)
    assert found.expected == pytest.approx(0.5)
    assert found.p_value is not None
    assert found.p_value < 1e-6
    assert found.position == pytest.approx(0.9875)
    assert lower(RATE).kind is BorderKind.LOWER
    assert lower(RATE).widen_to == (1e-7, 0.1)


def test_where_larger_is_better_the_edge_is_the_other_one() -> None:
    trials = told(RATE, even(40), lambda unit: unit)
    assert verdict(RATE, trials, Direction.MAXIMIZE).kind is BorderKind.UPPER


def test_the_sentence_says_the_numbers() -> None:
    assert upper(RATE).sentence == (
        "lr crowds the upper edge, 0.1: widen to [1e-5, 10]. The best is 0.0891, at 0.99 of [1e-5, 0.1] on its log "
        "scale; 4 of the 5 best of 40 trials lie at that end, 0.5 by chance (p = 2.12e-10)."
    )
    inside = verdict(RATE, told(RATE, even(40), lambda unit: abs(unit - 0.6)))
    assert inside.sentence == (
        "lr is inside: the best is 0.00224, at 0.59 of [1e-5, 0.1] on its log scale; 0 of the 5 best of 40 trials lie "
        "at that end, 0.5 by chance."
    )


def test_an_optimum_inside_is_inside() -> None:
    for optimum in (0.3, 0.5, 0.8):
        found = verdict(RATE, told(RATE, even(50), lambda unit, at=optimum: (unit - at) ** 2))
        assert (found.kind, found.edge, found.widen_to) == (BorderKind.INSIDE, None, None)


def test_few_trials_say_nothing() -> None:
    found = upper(RATE, 9)
    assert found.kind is BorderKind.FEW
    assert found.sentence == "lr: too few trials to say (9 trials with a value, 10 are needed)."
    assert verdict(RATE, []).kind is BorderKind.FEW


def test_how_sure_it_must_be_can_be_asked_for() -> None:
    trials = told(RATE, even(40), lambda unit: -unit)
    kinds = [verdicts(SearchSpace((RATE,)), trials, Direction.MINIMIZE, luck=luck)[0].kind for luck in (1e-12, 0.05)]
    assert kinds == [BorderKind.FEW, BorderKind.UPPER]


def test_equal_values_say_nothing() -> None:
    assert verdict(RATE, told(RATE, even(40), lambda unit: 1.0)).kind is BorderKind.INSIDE
    assert verdict(RATE, told(RATE, [0.99] * 40, lambda unit: -unit)).kind is BorderKind.FEW


def test_where_the_sampler_went_to_an_edge_nearly_alone_there_are_too_few_trials_to_say() -> None:
    """The best five lie there, but so do most of the others: neither inside nor beyond luck."""
    places = [*even(8), *np.linspace(0.91, 0.99, 15)]
    losses = [7 + 1.7 * n for n in range(8)] + [7 * n % 15 for n in range(15)]
    found = verdict(RATE, [trial(n, losses[n], lr=RATE.from_unit(unit)) for n, unit in enumerate(places)])
    assert (found.kind, found.edge, found.widen_to) == (BorderKind.FEW, "upper", None)
    assert (found.at_edge, found.trials) == (5, 23)
    assert not found.is_quiet
    assert not found.crowds
    assert found.sentence == (
        "lr: too few trials to say: the best is 0.0437, at 0.91 of [1e-5, 0.1] on its log scale; 5 of the 5 best of 23 "
        "trials lie at the upper edge, 0.1, and so do 16 of all 23; that the better ones lie nearer to it may be luck "
        "(p = 0.0282)."
    )


def test_one_or_two_of_the_best_at_an_edge_are_inside_as_far_as_can_be_told() -> None:
    trials = told(RATE, [0.97, *even(30)], lambda unit: 0.0 if unit == 0.97 else 1 + abs(unit - 0.5))
    found = verdict(RATE, trials)
    assert (found.kind, found.edge, found.at_edge) == (BorderKind.INSIDE, None, 1)
    assert found.sentence.startswith("lr is inside as far as can be told: the best is 0.0759, at 0.97 of")
    last = verdict(Int("layers", 1, 2), told(Int("layers", 1, 2), even(30), lambda unit: (unit * 97) % 1))
    assert "inside as far as can be told: the best is" in last.sentence


def test_at_its_limit_a_range_cannot_be_widened() -> None:
    found = upper(Float("momentum", 0.5, 0.99, limits=(0, 0.99)))
    assert (found.kind, found.edge, found.widen_to) == (BorderKind.LIMIT, "upper", None)
    assert "crowds the upper edge, 0.99, a hard limit: the range cannot be widened." in found.sentence


def test_zero_is_a_limit_unless_limits_say_otherwise() -> None:
    assert lower(Float("dropout", 0, 0.7)).kind is BorderKind.LIMIT
    assert lower(Float("shift", 0, 0.6, limits=(-1, 1))).widen_to == (-0.3, 0.6)


@pytest.mark.parametrize(
    ("parameter", "wider"),
    [
        (Float("dropout", 0.1, 0.7), (0.1, 0.85)),  # without limits: perhaps a share
        (Float("decay", 0.0, 2.0), (0.0, 3.0)),
        (Float("lr", 1e-3, 1e-2, log=True), (1e-3, 0.1)),
        (Float("lr", 1e-3, 1e-2, log=True, limits=(1e-4, 0.05)), (1e-3, 0.05)),
        (Float("ratio", 0.1, 0.5, step=0.1, limits=(0, 0.65)), (0.1, 0.6)),
        (Int("depth", 1, 5), (1, 7)),
        (Int("depth", 1, 9, step=2, limits=(1, 12)), (1, 11)),
        (Int("width", 16, 256, log=True, limits=(1, 512)), (16, 512)),
    ],
)
def test_a_range_becomes_half_as_wide_again_on_its_own_scale(parameter: Parameter, wider: tuple) -> None:
    assert upper(parameter, 60).widen_to == pytest.approx(wider)


def test_a_whole_number_in_its_last_cell_is_at_the_edge() -> None:
    found = upper(Int("depth", 1, 5))
    assert (found.kind, found.at_edge, found.expected) == (BorderKind.UPPER, 5, pytest.approx(1.0))


def test_choices_with_an_order_have_edges_and_others_have_none() -> None:
    batch = Categorical("batch", (16, 32, 64, 128), ordered=True)
    found = upper(batch)
    assert (found.kind, found.low, found.high, found.widen_to) == (BorderKind.UPPER, 16, 128, None)
    assert found.sentence.startswith(
        "batch crowds its last choice, 128: add choices above it. The best is 128 of 16 … 128"
    )
    assert verdicts(SearchSpace((Categorical("activation", ("relu", "tanh")),)), [], Direction.MINIMIZE) == []


def test_a_conditional_parameter_is_judged_where_it_is_active() -> None:
    space = SearchSpace((Categorical("opt", ("sgd", "adam")), Float("mom", 0, 1, when=(When("opt", ("sgd",)),))))
    active = [trial(n, -unit, opt="sgd", mom=unit) for n, unit in enumerate(even(30))]
    others = [trial(30 + n, -5.0, opt="adam") for n in range(30)]
    (found,) = verdicts(space, [*active, *others], Direction.MINIMIZE)
    assert (found.kind, found.trials) == (BorderKind.UPPER, 30)
    assert verdicts(space, others, Direction.MINIMIZE)[0].kind is BorderKind.FEW


# ---- failures --------------------------------------------------------------------------------------------------------


def test_an_edge_made_by_divergence_is_no_reason_to_widen() -> None:
    trials = told(RATE, even(40), lambda unit: -unit)
    for failure in (Failure.DIVERGED, Failure.OUT_OF_MEMORY, Failure.TIMEOUT):
        found = verdict(RATE, [*trials, *(failed(40 + n, failure, lr=0.09) for n in range(3))])
        assert (found.kind, found.edge, found.widen_to) == (BorderKind.DIVERGENCE, "upper", None)
        assert (found.failed, found.tried) == (3, 7)
        assert "made by divergence: 3 of 7 trials there failed." in found.sentence


def test_failures_beyond_the_best_make_an_edge_of_stability_however_many_lie_before_it() -> None:
    trials = told(RATE, [*even(40), *np.linspace(0.9, 0.97, 20)], lambda unit: -unit)
    beyond = [failed(90 + n, Failure.DIVERGED, lr=RATE.from_unit(0.99)) for n in range(3)]
    assert verdict(RATE, [*trials, *beyond]).kind is BorderKind.DIVERGENCE


def test_failures_that_lie_anywhere_or_say_nothing_make_no_edge() -> None:
    trials = told(RATE, even(40), lambda unit: -unit)
    anywhere = [failed(40 + n, Failure.DIVERGED, lr=RATE.from_unit(unit)) for n, unit in enumerate(even(20))]
    killed = [failed(40 + n, Failure.KILLED, lr=0.09) for n in range(5)]
    one = [failed(40, Failure.DIVERGED, lr=0.09)]
    for more in (anywhere, killed, one):
        assert verdict(RATE, [*trials, *more]).kind is BorderKind.UPPER


# ---- which trials count ----------------------------------------------------------------------------------------------


def test_those_that_got_further_come_first() -> None:
    def at(number: int, state: TrialState, epochs: int, value: float, target: int | None = None) -> TrialRecord:
        return TrialRecord(0, number, state, 0, params={}, value=value, epochs_done=epochs, target_epochs=target)

    trials = [
        at(0, TrialState.PAUSED, 6, 0.1),
        at(1, TrialState.PRUNED, 17, 0.9),
        at(2, TrialState.COMPLETE, 52, 0.5, 52),
        at(3, TrialState.COMPLETE, 13, 0.4, 52),  # it stopped by itself
        at(4, TrialState.PAUSED, 6, 0.05),
        at(5, TrialState.FAIL, 6, 0.01),
        at(6, TrialState.COMPLETE, 1, math.nan),
    ]
    assert [found.number for _, found in ranked(trials, Direction.MINIMIZE, 52)] == [3, 2, 1, 4, 0]
    assert [found.number for _, found in ranked(trials, Direction.MAXIMIZE, 52)] == [2, 3, 1, 0, 4]


def test_equals_share_their_place() -> None:
    trials = [trial(n, value) for n, value in enumerate((2.0, 1.0, 2.0, 3.0))]
    assert [place for place, _ in ranked(trials, Direction.MINIMIZE)] == [0, 1.5, 1.5, 3]


def test_trials_from_before_the_range_moved_do_not_crowd_it() -> None:
    moved = Float("x", 0.8, 1.0)
    before = [trial(n, (unit - 0.9) ** 2, x=unit) for n, unit in enumerate(even(40))]
    assert verdict(moved, before).kind is BorderKind.FEW
    inside = [trial(40 + n, (0.8 + unit / 5 - 0.9) ** 2, x=0.8 + unit / 5) for n, unit in enumerate(even(20))]
    assert verdict(moved, [*before, *inside]).kind is BorderKind.INSIDE
    cut_off = [trial(n, -unit, x=unit) for n, unit in enumerate(even(40))]
    assert verdict(Float("x", 0.0, 0.8), cut_off).kind is BorderKind.UPPER


# ---- ranges moved ----------------------------------------------------------------------------------------------------


def test_ranges_with_limits_are_widened_and_others_only_in_words() -> None:
    free = Float("decay", 1e-5, 1e-2, log=True)
    space = SearchSpace((RATE, free, Int("depth", 1, 4, limits=(1, 5))))
    found = [upper(parameter) for parameter in space]
    assert all(each.widen_to for each in found)
    wide = widened(space, found)
    assert (wide["lr"].high, wide["decay"], wide["depth"].high) == (10, free, 5)
    assert SearchSpace.from_json(wide.to_json()) == wide
    assert verdict(wide["lr"], told(RATE, even(40), lambda unit: -unit)).kind is BorderKind.INSIDE


def test_widening_ends_at_the_limits() -> None:
    space = SearchSpace((RATE,))
    for _ in range(5):
        found = verdicts(space, told(space["lr"], even(40), lambda unit: -unit), Direction.MINIMIZE)
        space = widened(space, found)
    assert space["lr"].high == 10
    assert found[0].kind is BorderKind.LIMIT


def test_narrowing_keeps_where_the_best_lie_on_the_parameters_scale() -> None:
    trials = told(RATE, even(50), lambda unit: abs(unit - 0.75))
    box = narrowed(SearchSpace((RATE,)), trials, Direction.MINIMIZE, keep=0.2)["lr"]
    units = RATE.to_unit(box.low), RATE.to_unit(box.high)
    assert units == pytest.approx((0.65, 0.85), abs=0.011)
    assert box.limits == RATE.limits


def test_a_narrowed_range_stays_inside_and_holds_two_values_at_least() -> None:
    space = SearchSpace(
        (Int("depth", 1, 6), Int("width", 16, 256, log=True), Float("ratio", 0, 1, step=0.25), Float("x", 0, 1))
    )
    for unit in (0.0, 0.5, 1.0):
        trials = [trial(n, float(n), **space.from_unit([unit] * 4)) for n in range(10)]
        box = narrowed(space, trials, Direction.MINIMIZE)
        for old, new in zip(space, box, strict=True):
            assert old.low <= new.low < new.high <= old.high
            assert old.contains(new.low)
            assert old.contains(new.high)


def test_a_tenth_of_a_range_is_left_at_least() -> None:
    trials = [trial(n, float(n), lr=RATE.from_unit(0.5)) for n in range(10)]
    box = narrowed(SearchSpace((RATE,)), trials, Direction.MINIMIZE)["lr"]
    assert (RATE.to_unit(box.low), RATE.to_unit(box.high)) == pytest.approx((0.45, 0.55))


def test_too_few_trials_narrow_nothing() -> None:
    space = SearchSpace((RATE, Categorical("opt", ("a", "b"))))
    trials = [trial(n, float(n), lr=0.01, opt="a") for n in range(2)]
    assert narrowed(space, trials, Direction.MINIMIZE) == space


# ---- chance ----------------------------------------------------------------------------------------------------------

MIXED = SearchSpace(
    (
        RATE,
        Float("dropout", 0, 0.7),
        Int("depth", 1, 5),
        Int("layers", 1, 2),
        Categorical("batch", (16, 32, 64), ordered=True),
    )
)


def by_chance(seed: int, count: int, greedy: bool) -> list[TrialRecord]:
    """Values that depend on nothing; `greedy`: after ten trials half lie near the best, as a Bayesian sampler's do."""
    generator = np.random.default_rng(seed)
    points, values = generator.random((count, len(MIXED))), generator.standard_normal(count)
    for number in range(10, count) if greedy else ():
        if generator.random() < 0.5:
            best = points[int(np.argmin(values[:number]))]
            points[number] = np.clip(best + 0.1 * generator.standard_normal(len(MIXED)), 0, 1)
    return [
        trial(number, float(value), **MIXED.from_unit(point))
        for number, (point, value) in enumerate(zip(points, values, strict=True))
    ]


@pytest.mark.parametrize("greedy", [False, True])
def test_on_random_data_it_stays_quiet_though_asked_every_five_trials(greedy: bool) -> None:
    alarms: list[bool] = []
    for seed in range(40):
        trials = by_chance(seed, 100, greedy)
        asked = [verdicts(MIXED, trials[:size], Direction.MINIMIZE) for size in range(10, 101, 5)]
        alarms += [any(found.crowds for found in column) for column in zip(*asked, strict=True)]
    assert len(alarms) == 200
    assert np.mean(alarms) <= 0.05


def test_a_parameter_that_does_not_matter_is_no_better_where_the_search_came_to_rest() -> None:
    """Later trials are better, for another parameter's sake, and lie at the edge: so does a Bayesian search end."""
    space = SearchSpace((Float("idle", 0, 1), Float("x", 0, 1)))
    alarms = []
    for seed in range(50):
        generator = np.random.default_rng(seed)
        points = generator.random((60, 2))
        points[20:, 0] = generator.uniform(0.85, 1, 40)
        points[20:, 1] = generator.normal(0.5, 0.1, 40).clip(0, 1)
        trials = [trial(n, float((x - 0.5) ** 2), idle=float(idle), x=float(x)) for n, (idle, x) in enumerate(points)]
        alarms.append(verdicts(space, trials, Direction.MINIMIZE)[0].crowds)
    assert np.mean(alarms) <= 0.1


def test_a_bowl_beyond_the_range_is_found_and_one_inside_is_not() -> None:
    space = SearchSpace(tuple(Float(f"x{index}", 0, 1) for index in range(3)))

    def share(optimum: float) -> float:
        found = []
        for seed in range(30):
            points = np.random.default_rng(seed).random((50, 3))
            losses = ((points - [optimum, 0.4, 0.6]) ** 2).sum(axis=1)
            trials = [trial(n, float(losses[n]), **space.from_unit(points[n])) for n in range(50)]
            found.append(verdicts(space, trials, Direction.MINIMIZE)[0].crowds)
        return float(np.mean(found))

    assert share(1.3) >= 0.7
    assert share(0.5) == 0
    assert share(0.8) <= 0.15
