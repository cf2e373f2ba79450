"""Where to look next: the logarithm of the expected improvement, and a search for its maximum.

Expected improvement: Jones, Schonlau & Welch, "Efficient Global Optimization of Expensive Black-Box Functions", 1998.
Its logarithm keeps a slope where the improvement itself is 0 to machine precision: Ament, Daulton, Eriksson, Balandat &
Bakshy, "Unexpected Improvements to Expected Improvement for Bayesian Optimization", NeurIPS 2023. A constraint enters
as the probability that it holds: Gardner, Kusner, Xu, Weinberger & Cunningham, ICML 2014.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr

from sweeper.search.samplers.coordinates import MIDDLE, Array, Coordinates
from sweeper.search.samplers.gaussian_process import Process

LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)
EVERYWHERE = 600
AROUND_EACH = 60
CLIMBERS = 4
ROUNDS = 2
STEPS = 30


@dataclass(frozen=True)
class Acquisition:
    """log EI of the process below `best`, plus the log probability that the constraint (a process of labels) is > 0.

    Points are (m, d), the last column is the epoch.
    """

    process: Process
    best: float
    constraint: Process | None = None

    def __call__(self, points: Array) -> Array:
        mean, deviation = self.process.posterior(points)
        value = np.log(deviation) + log_h((self.best - mean) / deviation)
        if self.constraint is not None:
            mean, deviation = self.constraint.posterior(points)
            value += log_ndtr(mean / deviation)
        return value

    def gradients(self, points: Array) -> tuple[Array, Array]:
        """Values and their gradients: (m,), (m, d)."""
        mean, deviation, by_mean, by_deviation = self.process.gradients(points)
        z = (self.best - mean) / deviation
        value = np.log(deviation) + log_h(z)
        gradient = (by_deviation - slope(z)[:, None] * (by_mean + z[:, None] * by_deviation)) / deviation[:, None]
        if self.constraint is not None:
            mean, deviation, by_mean, by_deviation = self.constraint.gradients(points)
            z = mean / deviation
            value += log_ndtr(z)
            rise = np.exp(-0.5 * z * z - LOG_SQRT_2PI - log_ndtr(z))[:, None]
            gradient += rise * (by_mean - z[:, None] * by_deviation) / deviation[:, None]
        return value, gradient


def log_h(z: Array) -> Array:
    """log(φ(z) + z Φ(z)) in the three ranges of Ament et al., appendix A."""
    near, middle, far = np.maximum(z, -1.0), np.clip(z, -1e3, -1.0), np.minimum(z, -1.0)
    above = np.log(np.exp(-0.5 * near * near - LOG_SQRT_2PI) + near * np.exp(log_ndtr(near)))
    ratio = np.log1p(np.sqrt(0.5 * np.pi) * erfcx(-middle / np.sqrt(2.0)) * middle)
    below = -0.5 * far * far - LOG_SQRT_2PI + np.where(z > -1e3, ratio, -2.0 * np.log(-far))
    found: Array = np.where(z > -1.0, above, below)
    return found


def slope(z: Array) -> Array:
    """d log_h / dz = Φ(z) / h(z)."""
    return np.asarray(np.exp(log_ndtr(z) - log_h(z)))


def maximise(
    acquisition: Acquisition, coordinates: Coordinates, leaders: Array, taken: Array, rng: np.random.Generator
) -> Array:
    """The site of the greatest value found that is not among the `taken` ones, if there is another: (parameters,).

    Candidates everywhere and around the `leaders`; the best of either kind climb, along the gradient where a parameter
    is continuous and by single steps where it is not.
    """
    everywhere = coordinates.at(rng.random((EVERYWHERE, len(coordinates.names))))
    around = np.concatenate([coordinates.near(leader, AROUND_EACH, rng) for leader in leaders])
    fresh = [sites[~coordinates.among(sites, taken)] for sites in (everywhere, around)]
    climbing = np.concatenate([_highest(acquisition, coordinates, sites) for sites in fresh])
    if not len(climbing):
        anywhere: Array = everywhere[0]
        return anywhere
    for _ in range(ROUNDS):
        steps = [_climb(acquisition, coordinates, climbing), *(coordinates.neighbours(site, rng) for site in climbing)]
        moved = np.concatenate(steps)
        moved = np.concatenate([climbing, moved[~coordinates.among(moved, taken)]])
        climbing = _highest(acquisition, coordinates, moved)
    highest: Array = climbing[0]
    return highest


def _highest(acquisition: Acquisition, coordinates: Coordinates, sites: Array) -> Array:
    order = np.argsort(-acquisition(coordinates.full(sites)), kind="stable")
    return sites[order[:CLIMBERS]]


def _climb(acquisition: Acquisition, coordinates: Coordinates, sites: Array) -> Array:
    """Gradient ascent of all sites at once: their sum is the objective."""
    free = [index for index, axis in enumerate(coordinates.axes) if axis.continuous]
    if not free:
        return sites
    columns = [coordinates.offsets[index] for index in free]
    points = coordinates.full(sites)
    active = ~np.isnan(sites[:, free])

    def loss(moving: Array) -> tuple[float, Array]:
        points[:, columns] = np.where(active, moving.reshape(active.shape), MIDDLE)
        values, gradients = acquisition.gradients(points)
        return -float(values.sum()), -(gradients[:, columns] * active).ravel()

    bounds = [coordinates.axes[index].bounds for index in free] * len(sites)
    start = points[:, columns].ravel()
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS, "ftol": 1e-5})
    climbed = sites.copy()
    climbed[:, free] = np.where(active, found.x.reshape(active.shape), np.nan)
    return coordinates.snap(climbed)
