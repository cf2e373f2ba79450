"""Is an ensemble of a study's stored checkpoints better than its best single model, and by how much?

    python -m experiments.benchmarks.ensembles                                    digits, five studies
    python -m experiments.benchmarks.ensembles --script experiments/tabular.py experiment=diabetes

Every study is a sweep as a person starts it, with a seed and a split of the data of its own, in a store in a temporary
folder (or `--keep FOLDER`, where an interrupted benchmark goes on). The best single model is the candidate with the
lowest validation loss, at its best checkpoint; the ensemble is what `sweeper ensemble` makes of the same candidates,
without training anything. Prints a line a study, and a table in Markdown of the means over the studies, with the mean
difference and its standard error: of a loss one below 0 speaks for the ensemble, of a score one above 0.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import sweeper
from sweeper.retraining import parts as scripts
from sweeper.retraining.ensemble import Built

Pair = tuple[float, float]
"""Of the best single model, and of the ensemble."""


def sweep(options: argparse.Namespace, folder: Path, seed: int) -> sweeper.Study:
    """Run one study to its end, or go on with it."""
    name, store = f"{options.search}-{seed}", f"sqlite:///{folder / 'bench.db'}"
    settings = [
        f"search={options.search}",
        f"seed={seed}",
        f"study={name}",
        f"store={store}",
        f"budget={options.budget}",
    ]
    settings += [f"hydra.sweeper.folder={folder}", f"workers={options.workers}", f"data.split.seed={seed}"]
    command = [sys.executable, options.script, "--multirun", *settings, *options.overrides]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return sweeper.load_study(name, store)


def pairs(built: Built) -> dict[str, Pair]:
    """Loss and score of both, on the validation and the test set."""
    assert built.test is not None
    assert built.single_test is not None
    single, ensemble = {**built.single.scores, **built.single_test}, {**built.val, **built.test}
    return {name: (single[name], ensemble[name]) for name in ensemble}


def row(name: str, found: list[Pair]) -> str:
    """The means of both, and of the difference with its standard error."""
    single, ensemble = (statistics.fmean(each) for each in zip(*found, strict=True))
    differences = [after - before for before, after in found]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    mean = statistics.fmean(differences)
    sign = 1 if name.endswith("loss") else -1
    better = sum(sign * difference < 0 for difference in differences)
    return f"| {name} | {single:.4f} | {ensemble:.4f} | {mean:+.4f} ± {error:.4f} | {better} of {len(found)} |"


def table(found: list[dict[str, Pair]]) -> str:
    lines = ["| | best single | ensemble | difference | ensemble better |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(row(name, [each[name] for each in found]) for name in found[0])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", default="experiments/digits.py")
    parser.add_argument("--budget", type=float, default=12, help="full trainings of each study")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--search", default="coarse_to_fine")
    parser.add_argument("--top", type=int, default=10, help="trials that stand for election")
    parser.add_argument("--keep", type=Path, help="folder of the studies; default: a temporary one")
    parser.add_argument("overrides", nargs="*", help="more overrides of the script, as epochs=10")
    options = parser.parse_args()
    parts = scripts.parts(Path(options.script))
    assert parts.data is not None
    found: list[dict[str, Pair]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(options.seeds):
            study = sweep(options, folder, seed)
            built = study.ensemble(build=parts.build, data=parts.data, top=options.top, test=True, device="cpu")
            found.append(pairs(built))
            told = "  ".join(f"{name} {one:.4f} → {all_:.4f}" for name, (one, all_) in found[-1].items())
            gain = f"{built.gain:.4f} ± {built.error:.4f}, elsewhere {built.gain_elsewhere or 0:.4f}"
            print(f"{seed}: {len(built.members)} of {built.candidates} candidates  {told}  gain {gain}", flush=True)
    print(f"\n{options.script}, {options.search}, {options.budget:g} full trainings a study\n\n{table(found)}")


if __name__ == "__main__":
    main()
