"""Which model foretells the loss after a full training: the project's own Gaussian process, or a library's.

    python -m experiments.benchmarks.surrogates --data lcbench

On each task of LCBench a model sees what successive halving would have shown it: random trials after 6 epochs, the best
third of them after 17, the best third of those after all 52. It foretells the final losses of 300 others, the half of
them drawn close to the best trial, where a search has to decide. Losses are standardised by those that were seen, and
the same cap is laid on the worst for all. Told, as means over tasks and seeds: the rank correlation over all of the
others and over those close to the best, the log density of the true losses (higher is better), the CPU time of the
fit and of a prediction at 1,000 points, and that of the import in a fresh process.

Beside the project's own: scikit-learn's GaussianProcessRegressor (Matérn 5/2 with ARD, white noise), and BoTorch's
SingleTaskMultiFidelityGP, where `botorch` is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

from experiments.benchmarks.lcbench import COLUMNS, EPOCHS, TUNING, LCBench
from sweeper.search.samplers.gaussian_process import Observations, Process, fit
from sweeper.search.samplers.multi_fidelity import one_thread

Array = NDArray[np.float64]
Foretell = Callable[[Array], tuple[Array, Array]]
RUNGS = (6, 17, EPOCHS)
SIZES = (18, 54, 135)
OTHERS = 300
CLOSE = 0.1


# ---- the models: observations → (points → mean, standard deviation) --------------------------------------------------


def own(data: Observations) -> Foretell:
    process = Process(data, fit(data))
    return process.posterior


def scikit_learn(data: Observations) -> Foretell:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    lengths = np.ones(data.points.shape[1])
    kernel = ConstantKernel() * Matern(lengths, (0.03, 30.0), nu=2.5) + WhiteKernel(1e-4, (1e-6, 3.0))
    model = GaussianProcessRegressor(kernel, alpha=1e-8).fit(data.points, data.targets)
    return lambda points: model.predict(points, return_std=True)


def botorch(data: Observations) -> Foretell:
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskMultiFidelityGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    x, y = torch.from_numpy(data.points), torch.from_numpy(data.targets)[:, None]
    model = SingleTaskMultiFidelityGP(x, y, data_fidelities=[x.shape[1] - 1])
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))

    def foretell(points: Array) -> tuple[Array, Array]:
        with torch.no_grad():
            found = model.posterior(torch.from_numpy(points))
        return found.mean[:, 0].numpy(), found.variance[:, 0].sqrt().numpy()

    return foretell


MODELS = {
    "own": (own, "sweeper.search.samplers.multi_fidelity"),
    "scikit-learn": (scikit_learn, "sklearn.gaussian_process"),
    "BoTorch": (botorch, "botorch"),
}


# ---- what they see, and what they foretell ---------------------------------------------------------------------------


def seen(bench: LCBench, task: int, trials: int, seed: int) -> tuple[Array, NDArray[np.intp], NDArray[np.int_], Array]:
    """Rows of params (n, 7), which trial (n,), epochs (n,) and losses (n,) of successive halving."""
    rows = bench.draw(trials, seed)
    alive = np.arange(trials)
    owners, values = [], []
    for rung in RUNGS:
        owners.append(alive)
        values.append(bench.at(task, rows[alive], np.full(len(alive), rung)))
        alive = alive[np.argsort(values[-1])[: max(1, len(alive) // 3)]]
    epochs = np.repeat(RUNGS, [len(each) for each in owners])
    return rows[np.concatenate(owners)], np.concatenate(owners), epochs, np.concatenate(values)


def units(bench: LCBench, rows: Array, epochs: NDArray[np.int_]) -> Array:
    """Each parameter on its own scale in [0, 1], and log epoch / log 52: (n, 8)."""
    columns = []
    for values, name in zip(rows.T, COLUMNS, strict=True):
        entry = bench.space[name]
        low, high = entry["lower"], entry["upper"]
        scale = np.log if entry["log"] else np.asarray
        columns.append((scale(values) - scale(low)) / (scale(high) - scale(low)))
    return np.column_stack([*columns, np.log(epochs) / np.log(EPOCHS)])


def others(bench: LCBench, best: Array, seed: int) -> Array:
    """Rows (300, 7): the first half anywhere, the second close to `best` (7,), within a tenth of each range."""
    anywhere = bench.draw(OTHERS, seed + 1000)
    rng = np.random.default_rng(seed)
    for row in anywhere[OTHERS // 2 :]:
        for index, name in enumerate(COLUMNS):
            entry = bench.space[name]
            scale, back = (np.log, np.exp) if entry["log"] else (float, float)
            low, high = scale(entry["lower"]), scale(entry["upper"])
            moved = scale(best[index]) + CLOSE * (high - low) * rng.uniform(-1, 1)
            row[index] = back(min(max(moved, low), high))
            if "int" in entry["type"]:
                row[index] = round(row[index])
    return anywhere


def score(bench: LCBench, model: Callable[[Observations], Foretell], task: int, trials: int, seed: int) -> Array:
    """Rank correlation everywhere and close to the best, log density, CPU seconds of fit and of prediction: (5,)."""
    rows, owners, epochs, losses = seen(bench, task, trials, seed)
    cap = 2.0 * np.median(losses) - losses.min()
    capped = np.minimum(losses, cap)
    mean, deviation = capped.mean(), capped.std()
    data = Observations(units(bench, rows, epochs), owners, (capped - mean) / deviation)
    full = np.full(OTHERS, EPOCHS)
    queries = others(bench, rows[-1], seed)
    truth = (np.minimum(bench.at(task, queries, full), cap) - mean) / deviation
    points = units(bench, queries, full)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begun = time.process_time()
        foretell = model(data)
        fitted = time.process_time()
        foretell(np.tile(points, (4, 1))[:1000])
        told = time.process_time()
        means, deviations = foretell(points)
    half = OTHERS // 2
    noise = np.sqrt(deviations**2 + 0.05**2)  # a twentieth of the spread: nobody is punished for a perfect guess
    return np.array(
        [
            spearmanr(means[:half], truth[:half]).statistic,
            spearmanr(means[half:], truth[half:]).statistic,
            norm.logpdf(truth, means, noise).mean(),
            fitted - begun,
            told - fitted,
        ]
    )


def start_up(module: str) -> float:
    """CPU seconds of `import module` in a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the surrogate, see lcbench.py")
    parser.add_argument("--tasks", type=int, nargs="+", default=list(TUNING))
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    bench = LCBench(options.data)
    print(
        "| model | trials | rank correlation | close to the best | log density | fit, CPU ms | 1,000 points, CPU ms |"
    )
    print("|---|---|---|---|---|---|---|")
    there = {name: made for name, made in MODELS.items() if importlib.util.find_spec(made[1].partition(".")[0])}
    for trials in SIZES:
        for name, (model, _) in there.items():
            found = [score(bench, model, task, trials, seed) for task in options.tasks for seed in range(options.seeds)]
            ranks, close, density, fitting, telling = np.mean(found, axis=0)
            times = f"{1e3 * fitting:.0f} | {1e3 * telling:.1f}"
            print(f"| {name} | {trials} | {ranks:.3f} | {close:.3f} | {density:.2f} | {times} |", flush=True)
    for name, (_, module) in there.items():
        print(f"\n`import {module}` ({name}): {start_up(module):.1f} CPU s")


if __name__ == "__main__":
    main()
