"""LCBench as YAHPO Gym's surrogate: the learning curve of an MLP on an OpenML task, in a millisecond.

Seven hyperparameters, validation loss (100 − accuracy in per cent) after each of 52 epochs. `folder` holds the files
`model.onnx`, `config_space.json`, `encoding.json` of the scenario `lcbench` from https://github.com/slds-lmu/yahpo_data
(Apache License 2.0) and `references.json`: per task the best known loss and the median of random search, as
`{"lc:3945": {"best": …, "median": …}}`. Needs `onnxruntime`.

Sources: Zimmer, Lindauer & Hutter, "Auto-PyTorch Tabular", TPAMI 2021; Pfisterer, Schneider, Moosbauer, Binder &
Bischl, "YAHPO Gym", AutoML 2022.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCHS = 52
TUNING = (167168, 189873, 189906, 3945, 126026, 146212, 167184, 168330, 168910, 189865)
"""The tasks to tune a search method on; the others are its examination."""
COLUMNS = ("batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout")
TIME, VAL_ACCURACY = 0, 1
DRAWN = 2000
"""Random params whose mean time is taken for the task's."""


@dataclass(frozen=True)
class LCBench:
    """All tasks of the surrogate. It can be sent to another process, which opens the files for itself."""

    folder: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return LCBench, (self.folder,)

    @cached_property
    def space(self) -> dict[str, dict[str, Any]]:
        """Name → type, lower, upper, log of the hyperparameters."""
        entries = json.loads((self.folder / "config_space.json").read_text())["hyperparameters"]
        return {entry["name"]: entry for entry in entries if entry["name"] in COLUMNS}

    @cached_property
    def tasks(self) -> dict[str, int]:
        tasks: dict[str, int] = json.loads((self.folder / "encoding.json").read_text())["OpenML_task_id"]
        return tasks

    @cached_property
    def references(self) -> dict[str, dict[str, float]]:
        references: dict[str, dict[str, float]] = json.loads((self.folder / "references.json").read_text())
        return references

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(self.folder / "model.onnx"), options)

    def losses(self, task: int, params: Mapping[str, float]) -> NDArray[np.float64]:
        """After each epoch: (52,)."""
        return self.at(task, np.tile([float(params[name]) for name in COLUMNS], (EPOCHS, 1)), np.arange(1, EPOCHS + 1))

    def at(self, task: int, rows: NDArray[np.float64], epochs: NDArray[np.int_]) -> NDArray[np.float64]:
        """Losses of `rows` (n, 7), each after its own number of epochs (n,): (n,)."""
        return 100.0 - self._answers(task, rows, epochs)[:, VAL_ACCURACY]

    def seconds(self, task: int, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """What full trainings of `rows` (n, 7) take: (n,)."""
        return self._answers(task, rows, np.full(len(rows), EPOCHS))[:, TIME]

    def _answers(self, task: int, rows: NDArray[np.float64], epochs: NDArray[np.int_]) -> NDArray[np.float64]:
        x_cont = np.column_stack([epochs, rows]).astype(np.float32)
        x_cat = np.full((len(rows), 1), self.tasks[str(task)], np.int32)
        return np.asarray(self._session.run(None, {"x_cat": x_cat, "x_cont": x_cont})[0], dtype=float)

    def draw(self, count: int, seed: int = 0) -> NDArray[np.float64]:
        """Random params: (count, 7)."""
        units = np.random.default_rng(seed).random((count, len(COLUMNS)))
        columns = []
        for unit, name in zip(units.T, COLUMNS, strict=True):
            entry = self.space[name]
            low, high = (math.log(entry["lower"]), math.log(entry["upper"])) if entry["log"] else _edges(entry)
            values = low + (high - low) * unit
            values = np.exp(values) if entry["log"] else values
            columns.append(np.round(values) if "int" in entry["type"] else values)
        return np.column_stack(columns)

    def worst_third(self, task: int, name: str) -> tuple[float, float]:
        """The third of a logarithmic range that is farthest from the best of 4,000 random params."""
        rows = self.draw(4000)
        best = rows[np.argmin(self.at(task, rows, np.full(len(rows), EPOCHS))), COLUMNS.index(name)]
        low, high = _edges(self.space[name])
        third = (high / low) ** (1 / 3)
        return (low * third**2, high) if best < math.sqrt(low * high) else (low, low * third)

    def normalised_regret(self, task: int, loss: float) -> float:
        """0 at the best known loss, 1 at the median of random search; a better one than known counts as 0."""
        reference = self.references[f"lc:{task}"]
        return max(0.0, (loss - reference["best"]) / (reference["median"] - reference["best"]))


def _edges(entry: Mapping[str, Any]) -> tuple[float, float]:
    return entry["lower"], entry["upper"]


@dataclass(frozen=True)
class Task:
    """A task with noise: `noise` · (0.7 · luck of the trial + 0.7 · luck of the epoch) is added to what is observed.

    `bad_range`: the learning rate begins in the third of its range that is farthest from the best; it may widen.
    """

    bench: LCBench
    number: int
    noise: float = 0.0
    seed: int = 0
    bad_range: bool = False

    epochs = EPOCHS

    @property
    def name(self) -> str:
        return f"lc:{self.number}"

    @property
    def space(self) -> dict[str, Any]:
        found = {
            name: {"interval": [entry["lower"], entry["upper"]], "log": entry["log"], "int": "int" in entry["type"]}
            for name, entry in self.bench.space.items()
        }
        if self.bad_range:
            found["learning_rate"]["limits"] = found["learning_rate"]["interval"]
            found["learning_rate"]["interval"] = list(self.bench.worst_third(self.number, "learning_rate"))
        return found

    @property
    def mean_seconds(self) -> float:
        """Of a full training, over random params."""
        return float(self.bench.seconds(self.number, self.bench.draw(DRAWN)).mean())

    def seconds(self, params: Mapping[str, Any]) -> float:
        return float(self.bench.seconds(self.number, np.array([[params[name] for name in COLUMNS]]))[0])

    def curve(self, trial: int, params: Mapping[str, Any]) -> tuple[NDArray[np.float64], float]:
        """Observed losses (52,), and the true one after the last epoch."""
        losses = self.bench.losses(self.number, params)
        rng = np.random.default_rng([self.number, self.seed, trial])
        luck, noise = rng.standard_normal(), rng.standard_normal(EPOCHS)
        return losses + self.noise * 0.7 * (luck + noise), float(losses[-1])

    def normalised_regret(self, loss: float) -> float:
        return self.bench.normalised_regret(self.number, loss)
