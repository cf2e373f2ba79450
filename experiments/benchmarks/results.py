"""Scored studies: rows of a CSV file, and the table that they make."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

CUTS = (10, 20, 50)
"""Studies are scored after so many full trainings."""
COLUMNS = (
    "optimiser",
    "task",
    "start_range",
    "noise",
    "workers",
    "seed",
    "planned_budget",
    "budget",
    "normalised_regret",
)
IDENTITY = COLUMNS[:7]
PROTOTYPE = "prototype"
"""A peer of this name is an older state of a search here, and is left out."""
Row = Mapping[str, Any]
Studies = dict[tuple[str, str], float]
"""(task, seed) → normalised regret"""


def kept(file: Path) -> list[Row]:
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write(file: Path, rows: Sequence[Row]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = not file.exists()
    with file.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def identity(row: Row) -> tuple[str, ...]:
    """Which study a row is of."""
    return tuple(str(row[name]) for name in IDENTITY)


def like(rows: Iterable[Row], start_range: str, noise: float, workers: int) -> list[Row]:
    """Those of the same variant; the peers, who have no column for it, had one worker."""
    return [
        row
        for row in rows
        if row["start_range"] == start_range and float(row["noise"]) == noise and int(row.get("workers", 1)) == workers
    ]


def table(rows: Iterable[Row], tasks: Collection[str]) -> str:
    """Mean regret at each cut with its interval, and mean ranks, in Markdown; the best at the last cut comes first.

    Only methods that have all the tasks. What was run here is in bold.
    """
    found = by_method(rows, tasks)
    ranks = {cut: mean_ranks({name: cuts[cut] for name, cuts in found.items() if cut in cuts}) for cut in CUTS}
    heads = [f"@{cut}" for cut in CUTS]
    lines = [
        f"| search | {' | '.join(heads)} | mean rank {' · '.join(heads)} | studies |",
        "|---|" + "---|" * (len(CUTS) + 2),
    ]
    for name, cuts in sorted(found.items(), key=lambda item: _merit(item[1])):
        means = [interval(list(cuts[cut].values())) if cut in cuts else "–" for cut in CUTS]
        told = [f"{ranks[cut][0][name]:.1f}" if name in ranks[cut][0] else "–" for cut in CUTS]
        lines.append(f"| {name} | {' | '.join(means)} | {' · '.join(told)} | {len(cuts[max(cuts)])} |")
    compared = " · ".join(f"{count} studies of {len(by_name)} methods" for by_name, count in ranks.values())
    return "\n".join([*lines, "", f"Ranks over what all have: {compared}."])


def by_method(rows: Iterable[Row], tasks: Collection[str]) -> dict[str, dict[int, Studies]]:
    """Method → cut → its studies, where there are some of each task."""
    found: defaultdict[str, defaultdict[int, Studies]] = defaultdict(lambda: defaultdict(dict))
    # of two studies that planned with other budgets, the one that planned with what is compared comes last, and stays
    for row in sorted(rows, key=lambda row: -abs(float(row["planned_budget"]) - max(CUTS))):
        if row["task"] in tasks and float(row["budget"]) in CUTS and not row["optimiser"].startswith(PROTOTYPE):
            name = f"**{row['optimiser']}**" if "workers" in row else row["optimiser"]
            study = row["task"], str(row["seed"])
            found[name][int(float(row["budget"]))][study] = float(row["normalised_regret"])
    whole = {
        name: {cut: studies for cut, studies in cuts.items() if {task for task, _ in studies} == set(tasks)}
        for name, cuts in found.items()
    }
    return {name: cuts for name, cuts in whole.items() if cuts}


def mean_ranks(methods: Mapping[str, Studies]) -> tuple[dict[str, float], int]:
    """Method → its mean rank, 1 is the best, over the studies that all methods have; and how many these are."""
    shared = sorted(set.intersection(*(set(studies) for studies in methods.values()))) if methods else []
    if not shared:
        return {}, 0
    regrets = np.array([[studies[study] for study in shared] for studies in methods.values()])  # (methods, studies)
    return dict(zip(methods, rankdata(regrets, axis=0).mean(axis=1).tolist(), strict=True)), len(shared)


def interval(values: Sequence[float]) -> str:
    """Mean and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = np.mean(rng.choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{np.mean(values):.3f} ({low:.3f}–{high:.3f})"


def _merit(cuts: Mapping[int, Studies]) -> tuple[int, float]:
    """Smaller is better; who was followed longer comes first."""
    return -max(cuts), float(np.mean(list(cuts[max(cuts)].values())))
