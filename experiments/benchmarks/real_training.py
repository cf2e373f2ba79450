"""How many epochs a search needs on real training: until it has what random search has with its whole budget.

    python -m experiments.benchmarks.real_training                                    digits, five seeds
    python -m experiments.benchmarks.real_training --script experiments/mnist.py --data DIR --budget 12

Every study is a sweep as a person starts it, `python SCRIPT --multirun search=… seed=…`, with workers of its own and a
store in a temporary folder (or `--keep FOLDER`, where an interrupted benchmark goes on). The target of a seed is the
best metric of its random search; a study's best so far counts from the moment that the trial is complete, at the
number of epochs that all trials of the study had trained by then. The best of many values owes much to luck, so at its
end each study trains the trial that it recommends again with other seeds (`confirm`), and their mean is what the
search was worth. Prints a line a study and a table in Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import sweeper

AGAIN = 5
"""Seeds with which the recommended trial of each study is trained again."""
SEARCHES = ("random", "bayesian", "coarse_to_fine")


def sweep(options: argparse.Namespace, folder: Path, search: str, seed: int) -> sweeper.Study:
    """Run one study to its end, or go on with it."""
    name, store = f"{search}-{seed}", f"sqlite:///{folder / 'bench.db'}"
    settings = [f"search={search}", f"seed={seed}", f"study={name}", f"store={store}", f"hydra.sweeper.folder={folder}"]
    settings += [f"budget={options.budget + AGAIN}", f"confirm={{top: 1, seeds: {AGAIN}}}"]
    settings += [f"workers={options.workers}", "check=false", *options.overrides]
    subprocess.run([sys.executable, options.script, "--multirun", *settings], check=True, stdout=subprocess.DEVNULL)
    return sweeper.load_study(name, store)


def progress(study: sweeper.Study) -> list[tuple[int, float]]:
    """(epochs trained by then, the best value so far) at the end of each complete trial; smaller is better."""
    sign = study.direction.sign
    reports = study.epochs().sort_values("reported").reported.reset_index(drop=True)
    steps, best = [], float("inf")
    complete = study.trials().query("state == 'COMPLETE' and repeats.isna()").sort_values("finished")
    for finished, value in zip(complete.finished, complete.value, strict=True):
        best = min(best, sign * float(value))
        steps.append((int((reports <= finished).sum()), best))
    return steps


def epochs_to(steps: list[tuple[int, float]], target: float) -> int | None:
    return next((epochs for epochs, best in steps if best <= target), None)


def table(
    found: dict[str, list[int | None]], finals: dict[str, list[float]], again: dict[str, list[float]], total: int
) -> str:
    heads = ("search", "epochs to random's best, by seed", "median", "best at the end, median", "trained again, mean")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for search, epochs in found.items():
        told = ", ".join("–" if each is None else str(each) for each in epochs)
        median = statistics.median(total if each is None else each for each in epochs)
        mark = "> " if sum(each is None for each in epochs) > len(epochs) / 2 else ""
        best, mean = statistics.median(finals[search]), statistics.mean(again[search])
        error = statistics.stdev(again[search]) / len(again[search]) ** 0.5 if len(again[search]) > 1 else float("nan")
        lines.append(f"| {search} | {told} | {mark}{median:g} | {best:.4f} | {mean:.4f} ± {error:.4f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", default="experiments/digits.py")
    parser.add_argument("--budget", type=float, default=20, help="full trainings of each study")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--searches", nargs="+", default=list(SEARCHES), help="the first gives the target")
    parser.add_argument("--keep", type=Path, help="folder of the studies; default: a temporary one")
    parser.add_argument("overrides", nargs="*", help="more overrides of the script, as epochs=10")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, list[int | None]] = {search: [] for search in options.searches}
        finals: dict[str, list[float]] = {search: [] for search in options.searches}
        again: dict[str, list[float]] = {search: [] for search in options.searches}
        total = 0
        for seed in range(options.seeds):
            target = float("inf")
            for search in options.searches:
                study = sweep(options, folder, search, seed)
                steps = progress(study)
                total = round(options.budget * (study.record.full_epochs or 1))
                if search == options.searches[0]:
                    target = steps[-1][1]
                found[search].append(epochs_to(steps, target))
                finals[search].append(study.direction.sign * steps[-1][1])
                again[search].append(float(study.confirmed()["mean"].iloc[0]))
                print(
                    f"{search},{seed},{found[search][-1]},{finals[search][-1]:.5g},{again[search][-1]:.5g}", flush=True
                )
    print(f"\n{options.script}, {total} epochs a study ({options.budget:g} full trainings)\n")
    print(table(found, finals, again, total))


if __name__ == "__main__":
    main()
