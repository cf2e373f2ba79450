"""The range test on losses whose limits are known, and its verdicts on noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sweeper.training.lr_range import analyse, geometric, lr_range_test
from sweeper.words.errors import ConfigError


def descent(curvature: float, noise: float = 0.0, scale: float = 1.0, shift: float = 0.0, seed: int = 0):
    """Gradient descent on 1 + x²: it diverges at rates above 2 / curvature."""
    random, x = np.random.default_rng(seed), math.sqrt(2 / curvature)

    def loss_step(rate: float) -> float:
        nonlocal x
        loss = 1 + curvature * x**2 / 2
        x -= rate * (curvature * x + 0.01 * random.normal())  # never quite at rest
        return shift + scale * (loss + noise * random.normal())

    return loss_step


@pytest.mark.parametrize("curvature", [3.0, 10.0, 1000.0])
def test_the_largest_stable_rate_is_that_of_the_theory(curvature):
    found = lr_range_test(descent(curvature))
    assert 1 / 2 < found.stable / (2 / curvature) < 2.2
    assert found.stable < found.diverges < 8 * 2 / curvature
    assert found.learns < found.steepest < found.stable
    assert found.interval[0] < found.suggestion < found.interval[1]
    assert (found.start, found.best) == pytest.approx((2, 1), abs=0.05)


def test_noise_moves_the_verdict_little():
    quiet = lr_range_test(descent(10.0))
    for seed in range(5):
        found = lr_range_test(descent(10.0, noise=0.1, seed=seed))
        assert 1 / 3 < found.stable / quiet.stable < 3
        assert 1 / 5 < found.learns / quiet.learns < 5


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (1e-3, 0.0), (1.0, -10.0)])
def test_the_units_of_the_loss_do_not_matter(scale, shift):
    one, other = lr_range_test(descent(10.0)), lr_range_test(descent(10.0, scale=scale, shift=shift))
    assert (one.learns, one.steepest) == pytest.approx((other.learns, other.steepest), rel=0.3)
    assert one.stable == pytest.approx(other.stable, rel=0.3)


def test_noise_alone_is_no_learning():
    alarms = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        curves = [[(rate, 2.3 + 0.2 * random.normal()) for rate in geometric(1e-7, 10, 200)] for _ in range(3)]
        alarms += analyse(curves).learns is not None
    assert alarms <= 5


def test_without_divergence_the_range_ends_with_the_test():
    found = lr_range_test(descent(1e-3))
    assert found.diverges is None
    assert found.stable == pytest.approx(10, rel=0.2)


def test_a_loss_that_is_no_number_ends_the_ramp():
    rates = []

    def loss_step(rate: float) -> float:
        rates.append(rate)
        return math.nan if rate > 0.1 else 1 / (1 + 1e4 * rate)

    found = lr_range_test(loss_step)
    assert rates[-1] < 0.12
    assert found.diverges == pytest.approx(0.1, rel=0.2)
    assert found.stable < found.diverges


def test_one_ramp_of_three_that_goes_wrong_is_outvoted():
    def ramp(end: int):
        step = descent(10.0)
        return [(rate, step(rate)) for rate in geometric(1e-7, 10, 200)[:end]]

    sound = analyse([ramp(165), ramp(165), ramp(165)])
    assert analyse([ramp(165), ramp(60), ramp(165)]).stable == sound.stable


def test_a_training_that_is_lost_at_once_is_said():
    with pytest.raises(ConfigError, match="lost after 0 steps at rates from 1e-07 on"):
        lr_range_test(lambda rate: math.nan)


@pytest.mark.parametrize(("low", "high", "steps"), [(0.0, 1.0, 200), (1.0, 0.1, 200), (1e-7, 10.0, 5)])
def test_a_ramp_goes_up_in_many_steps(low, high, steps):
    with pytest.raises(ConfigError, match="0 < low < high"):
        lr_range_test(lambda rate: 1.0, low, high, steps)
