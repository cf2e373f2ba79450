from __future__ import annotations

import numpy as np
import pytest

from sweeper.search import significance


def test_the_chance_of_a_count_is_the_hypergeometric_one() -> None:
    assert significance.of_count(10, 3, 3, 3) == pytest.approx(1 / 120)
    assert significance.of_count(10, 3, 3, 0) == pytest.approx(1)
    assert significance.of_count(5, 2, 1, 1) == pytest.approx(2 / 5)


def test_the_chance_of_a_share_is_the_binomial_one() -> None:
    assert significance.of_share(5, 0.1, 5) == pytest.approx(1e-5)
    assert significance.of_share(2, 0.5, 1) == pytest.approx(3 / 4)
    assert significance.of_share(5, 0.3, 0) == pytest.approx(1)


def test_a_slope_is_no_luck_unless_something_else_explains_it() -> None:
    generator = np.random.default_rng(0)
    near, other = generator.random(60), generator.random((60, 1))
    assert significance.of_slope(near + 0.1 * other[:, 0], near, other) < 1e-6
    assert significance.of_slope(-near, near, other) > 0.999
    both = other + 0.1 * generator.standard_normal((60, 1))
    assert significance.of_slope(other[:, 0], both[:, 0], np.zeros((60, 1))) < 1e-6
    assert significance.of_slope(other[:, 0], both[:, 0], other) > 0.01


def test_what_does_not_vary_and_what_explains_all_says_nothing() -> None:
    near = np.arange(8.0)
    assert significance.of_slope(np.ones(8), near, near[:, None]) == 1
    assert significance.of_slope(near, np.ones(8), near[:, None]) == 1
    many = np.random.default_rng(0).random((8, 40)) * 100
    assert significance.of_slope(near, near[::-1].copy(), many) == 1
