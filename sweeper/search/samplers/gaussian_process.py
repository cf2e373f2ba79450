"""A Gaussian process over hyperparameters and epochs, where all epochs of one trial share that trial's luck.

    y = f(x, t) + b(trial) + e
    f ~ GP(0, a · Matérn 5/2 of warped columns, each with its length scale),   b ~ N(0, a · τ),   e ~ N(0, a · ν)

Sources: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2 and 5; Snoek, Larochelle &
Adams, "Practical Bayesian Optimization of Machine Learning Algorithms", NeurIPS 2012 (Matérn 5/2 with ARD); Swersky,
Snoek & Adams, "Freeze-Thaw Bayesian Optimization", 2014 (curves half way as observations). The prior on the length
scales, 0.1 · Σ(ℓ² + ℓ⁻²), is that of Optuna's GPSampler.

Shapes: n observations, d columns (the epoch is one of them), m queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize

from sweeper.search.samplers.warping import Warping

Array = NDArray[np.float64]

LENGTH_PRIOR = 0.1
NOISE_CENTRE = np.log(1e-4)
NOISE_SPREAD = 2.0
SHAPE_SPREAD = 0.5
LOG_SHAPE_BOUNDS = (-2.0, 2.0)
LOG_LENGTH_BOUNDS = (np.log(0.03), np.log(30.0))
LOG_NOISE_BOUNDS = (np.log(1e-6), np.log(3.0))
JITTER = 1e-8


@dataclass(frozen=True)
class Observations:
    """`points` (n, d), `trials` (n,): which trial each is of, `targets` (n,): to be minimised, about standard."""

    points: Array
    trials: NDArray[np.intp]
    targets: Array

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Observations:
        return Observations(self.points[rows], self.trials[rows], self.targets[rows])

    @property
    def same_trial(self) -> NDArray[np.bool_]:
        """(n, n)"""
        same: NDArray[np.bool_] = self.trials[:, None] == self.trials[None, :]
        return same


@dataclass(frozen=True)
class Hyperparameters:
    """`lengths` (d,), of the warped columns; variances of a trial's luck and of the noise as shares of that of f."""

    lengths: Array
    warping: Warping
    luck: float
    noise: float

    def stretched(self, points: Array) -> Array:
        """Warped, in units of the length scales: (n, d) → (n, d)."""
        return self.warping(points) / self.lengths

    @classmethod
    def from_vector(cls, theta: Array) -> Hyperparameters:
        """From log lengths (d,), log a (d,), log b (d,) of the warping, log τ, log ν."""
        lengths, a, b = np.exp(theta[:-2]).reshape(3, -1)
        luck, noise = np.exp(theta[-2:])
        return cls(lengths, Warping(a, b), float(luck), float(noise))


def distances(a: Array, b: Array) -> Array:
    """√5 · Euclidean distance between all rows: (n, d), (m, d) → (n, m)."""
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
    scaled: Array = np.sqrt(np.maximum(5.0 * squared, 0.0))
    return scaled


def matern(r: Array) -> Array:
    """Matérn 5/2 of r = √5 · distance."""
    return (1.0 + r + r * r / 3.0) * np.exp(-r)


def fit(data: Observations) -> Hyperparameters:
    """The hyperparameters of greatest posterior density, from a fixed start; the amplitude is profiled out."""
    d = data.points.shape[1]
    start = np.concatenate([np.zeros(3 * d), [NOISE_CENTRE, NOISE_CENTRE]])
    bounds = [LOG_LENGTH_BOUNDS] * d + [LOG_SHAPE_BOUNDS] * (2 * d) + [LOG_NOISE_BOUNDS] * 2
    options = {"maxiter": 40, "ftol": 1e-6}
    found = minimize(_Posterior(data), start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return Hyperparameters.from_vector(found.x)


class _Posterior:
    """Minus the log density of hyperparameters given the observations, with its gradient by their vector."""

    def __init__(self, data: Observations) -> None:
        self._data = data
        self._same_trial = data.same_trial.astype(float)
        self._identity = np.eye(len(data))

    def __call__(self, theta: Array) -> tuple[float, Array]:
        h = Hyperparameters.from_vector(theta)
        x = h.stretched(self._data.points)
        r = distances(x, x)
        decay = np.exp(-r)
        k = (1.0 + r + r * r / 3.0) * decay + h.luck * self._same_trial + (h.noise + JITTER) * self._identity
        factor = _factor(k)
        inverse = np.tril(lapack.dpotri(factor, lower=1)[0])
        inverse += np.tril(inverse, -1).T
        weights = inverse @ self._data.targets
        amplitude = _amplitude(self._data.targets, weights)
        value = 0.5 * len(x) * np.log(amplitude) + np.log(np.diag(factor)).sum()
        by_k = 0.5 * (inverse - np.outer(weights, weights) / amplitude)
        pull = by_k * (-5.0 / 3.0 * (1.0 + r) * decay)  # by half the squared distance of two stretched points
        by_x = 2.0 * (pull.sum(1)[:, None] * x - pull @ x)  # (n, d)
        by_a, by_b = h.warping.by_shape(self._data.points)
        by_theta = [
            -(by_x * x).sum(0),
            (by_x / h.lengths * by_a).sum(0),
            (by_x / h.lengths * by_b).sum(0),
            [h.luck * (by_k * self._same_trial).sum(), h.noise * np.trace(by_k)],
        ]
        penalty, by_penalty = _penalty(theta)
        return value + penalty, np.concatenate(by_theta) + by_penalty


def _amplitude(targets: Array, weights: Array) -> float:
    """The variance of f of greatest likelihood, given all else."""
    return float(targets @ weights) / len(targets) + 1e-12


def _penalty(theta: Array) -> tuple[float, Array]:
    """Minus the log density of the priors: of the length scales, of the shapes of the warping, of luck and noise."""
    d = (len(theta) - 2) // 3
    squares = np.exp(2.0 * theta[:d])
    shapes = theta[d:-2] / SHAPE_SPREAD
    noises = (theta[-2:] - NOISE_CENTRE) / NOISE_SPREAD
    value = LENGTH_PRIOR * (squares + 1.0 / squares).sum() + 0.5 * (shapes @ shapes + noises @ noises)
    by_lengths = 2.0 * LENGTH_PRIOR * (squares - 1.0 / squares)
    return float(value), np.concatenate([by_lengths, shapes / SHAPE_SPREAD, noises / NOISE_SPREAD])


class Process:
    """What the observations say about f: a mean and a standard deviation at every point."""

    def __init__(self, data: Observations, hyperparameters: Hyperparameters, amplitude: float | None = None) -> None:
        """`amplitude`: the variance of f; None: that of greatest likelihood."""
        self.data = data
        self.hyperparameters = hyperparameters
        self._seen = hyperparameters.stretched(data.points)
        k = self._covariance(self._seen) + hyperparameters.luck * data.same_trial
        k[np.diag_indices_from(k)] += hyperparameters.noise + JITTER
        self._whitener = np.tril(lapack.dtrtri(_factor(k), lower=1)[0])  # (n, n), L⁻¹
        self._weights = self._whitener.T @ (self._whitener @ data.targets)  # (n,)
        self._amplitude = _amplitude(data.targets, self._weights) if amplitude is None else amplitude

    def posterior(self, points: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of f at `points` (m, d): (m,), (m,)."""
        k = self._covariance(self.hyperparameters.stretched(points))
        return k @ self._weights, np.sqrt(self._amplitude) * _left(k @ self._whitener.T)

    def gradients(self, points: Array) -> tuple[Array, Array, Array, Array]:
        """Mean and deviation at `points` (m, d): (m,), (m,); and their gradients (m, d), (m, d)."""
        x = self.hyperparameters.stretched(points)
        by_point = self.hyperparameters.warping.slope(points) / self.hyperparameters.lengths  # d x / d point
        r = distances(x, self._seen)
        k = matern(r)
        falling = -5.0 / 3.0 * (1.0 + r) * np.exp(-r)  # d k / d x = falling · (x - seen)
        white = k @ self._whitener.T
        left, scale = _left(white), np.sqrt(self._amplitude)

        def gradient(by_k: Array) -> Array:
            pull = falling * by_k  # (m, n)
            return np.asarray((pull.sum(1)[:, None] * x - pull @ self._seen) * by_point)

        by_deviation = -scale * gradient(white @ self._whitener) / left[:, None]
        return k @ self._weights, scale * left, gradient(self._weights), by_deviation

    def without(self, trial: int) -> Process:
        return Process(self.data.select(self.data.trials != trial), self.hyperparameters, self._amplitude)

    def believing(self, points: Array, trials: NDArray[np.intp]) -> Process:
        """As if `points` (m, d) had been seen at their mean: the mean stays, the deviation around them shrinks.

        "Kriging believer": Ginsbourger, Le Riche & Carraro, 2010.
        """
        if not len(points):
            return self
        h = self.hyperparameters
        luck = h.luck * (trials[:, None] == self.data.trials[None, :])
        means = (self._covariance(h.stretched(points)) + luck) @ self._weights
        more = Observations(
            np.concatenate([self.data.points, points]),
            np.concatenate([self.data.trials, trials]),
            np.concatenate([self.data.targets, means]),
        )
        return Process(more, h, self._amplitude)

    def _covariance(self, x: Array) -> Array:
        """Of f at stretched points and at the observations, in units of its variance: (m, n)."""
        return matern(distances(x, self._seen))


def _left(white: Array) -> Array:
    """The share of the prior's deviation that is left, from whitened covariances (m, n): (m,)."""
    left: Array = np.sqrt(np.maximum(1.0 - (white * white).sum(1), 1e-10))
    return left


def _factor(k: Array) -> Array:
    """The lower Cholesky factor of a positive definite matrix."""
    factor, failed = lapack.dpotrf(k, lower=1)
    if failed:
        raise np.linalg.LinAlgError(f"The covariance of {len(k)} observations is not positive definite.")
    return np.asarray(factor)
