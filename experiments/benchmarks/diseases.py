"""Trainings that are broken on purpose, and what `sweeper diagnose` says of each; of healthy ones it says nothing.

    python -m experiments.benchmarks.diseases                  every disease and healthy training, three seeds
    python -m experiments.benchmarks.diseases --blind          by the curves alone, without the monitors
    python -m experiments.benchmarks.diseases --only dead_relu --seeds 1 --full

Each is a small network on scikit-learn's digits, trained for real under a trial's handle with its monitors; the healthy
ones also learn breast cancer and diabetes. Prints a confusion table in Markdown: the disease, and the first finding by
how often it was made. `--keep FILE` keeps the curves, and reads them again where they are.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from experiments import toys
from sweeper.analysis.diagnosis import Run, of_trial
from sweeper.training.data import Data
from sweeper.training.goals import CLASSIFICATION
from sweeper.training.monitors import Monitors
from sweeper.trial.checkpoint import Checkpoint
from sweeper.trial.handle import Trial
from sweeper.words.errors import Diverged
from sweeper.words.records import Direction, EpochReport, Failure

HEALTHY = "healthy"
DATA = {"digits": toys.digits, "breast_cancer": toys.breast_cancer, "diabetes": toys.diabetes}


@dataclass(frozen=True)
class Case:
    """One training; what is not said is healthy. `expected`: findings of which the first must be one."""

    expected: Sequence[str]
    data: str = "digits"
    optimizer: str = "adam"
    lr: float = 2e-3
    batch_size: int = 64
    epochs: int = 25
    depth: int = 2
    width: int = 64
    activation: type[nn.Module] = nn.ReLU
    dropout: float = 0.0
    weight_decay: float = 0.0
    examples: int | None = None
    inputs_times: float = 1.0
    build: Callable[[list[nn.Module]], None] = lambda layers: None
    softmax_twice: bool = False
    shuffled: bool = False
    zeroes_gradients: bool = True
    sign: float = 1.0
    metric: str = "val_loss"


def _zero_weights(layers: list[nn.Module]) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)


def _negative_biases(layers: list[nn.Module]) -> None:
    """Most units of the first hidden layer give zero, whatever they are shown."""
    first = next(layer for layer in layers if isinstance(layer, nn.Linear))
    nn.init.constant_(first.bias[: int(0.9 * len(first.bias))], -100.0)


def _all_biases(layers: list[nn.Module]) -> None:
    first = next(layer for layer in layers if isinstance(layer, nn.Linear))
    nn.init.constant_(first.bias, -100.0)


def _large_weights(layers: list[nn.Module]) -> None:
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=5 * (2 / layer.in_features) ** 0.5)


def _frozen(layers: list[nn.Module]) -> None:
    first = next(layer for layer in layers if isinstance(layer, nn.Linear))
    first.requires_grad_(False)


CASES: dict[str, Case] = {
    "lr 100 times too high, Adam": Case(("lr_too_high", "diverged"), lr=0.5),
    "lr 100 times too high, SGD": Case(("lr_too_high", "diverged", "no_gradient"), optimizer="sgd", lr=5.0),
    "lr 1e-6, Adam": Case(("lr_too_low",), lr=1e-6),
    "lr 1e-5, SGD": Case(("lr_too_low",), optimizer="sgd", lr=1e-5),
    "first weights zero": Case(("no_gradient",), build=_zero_weights),
    "20 sigmoid layers": Case(("vanishing_gradients",), depth=20, activation=nn.Sigmoid),
    "90 % of ReLUs dead": Case(("dead_units",), build=_negative_biases),
    "all ReLUs dead": Case(("no_gradient", "dead_units"), build=_all_biases),
    "tanh saturated by inputs": Case(("saturated_units",), activation=nn.Tanh, inputs_times=200.0),
    "softmax twice": Case(("softmax_twice",), softmax_twice=True),
    "labels shuffled": Case(("stuck_at_chance",), shuffled=True),
    "zero_grad forgotten, Adam": Case(("gradients_carried",), zeroes_gradients=False),
    "zero_grad forgotten, SGD": Case(
        ("gradients_carried", "diverged"), optimizer="sgd", lr=0.05, zeroes_gradients=False
    ),
    "first layer frozen": Case(("frozen_layer",), build=_frozen),
    "dropout 0.9, weight decay 1": Case(("regularised_too_much",), dropout=0.9, weight_decay=1.0),
    "batch of 1": Case(("noisy",), batch_size=1, lr=1e-2, epochs=12),
    "3 epochs": Case(("still_improving",), epochs=3, lr=1e-3),
    "50 examples, 60 epochs": Case(("overfitting",), examples=50, epochs=60),
    "12 layers, weights 5 times too large": Case(("exploding_gradients",), depth=12, build=_large_weights, lr=1e-4),
    "a hidden layer of 2 units": Case(("underfitting", "dead_units"), width=2, depth=1, lr=1e-2, epochs=60),
    "gradient ascent": Case(("loss_rising", "diverged"), sign=-1.0, lr=1e-4),
}
WELL: dict[str, Case] = {
    "digits": Case((HEALTHY,)),
    "digits, accuracy": Case((HEALTHY,), metric="val_accuracy"),
    "digits, SGD": Case((HEALTHY,), optimizer="sgd", lr=0.05),
    "digits, tanh": Case((HEALTHY,), activation=nn.Tanh, lr=1e-3, epochs=40),
    "digits, dropout": Case((HEALTHY,), dropout=0.3, width=128),
    "digits, 4 layers of GELU": Case((HEALTHY,), activation=nn.GELU, depth=4, lr=1e-3, epochs=20),
    "digits, one layer": Case((HEALTHY,), depth=1, batch_size=32),
    "breast cancer": Case((HEALTHY,), data="breast_cancer", width=16, lr=1e-3, weight_decay=1e-3, batch_size=32),
    "diabetes": Case((HEALTHY,), data="diabetes", width=8, depth=1, lr=3e-3, batch_size=32, weight_decay=1e-3),
}


class Memory:
    """A journal that keeps the reports."""

    last: EpochReport | None = None
    value: float | None = None

    def __init__(self) -> None:
        self.reports: dict[int, EpochReport] = {}

    def checkpoints(self) -> Sequence[Checkpoint]:
        return ()

    def report(self, report: EpochReport, value: float | None) -> None:
        self.reports[report.epoch] = report

    def point_to(self, new: Checkpoint, forget_epochs: Sequence[int]) -> None: ...

    def go_on(self, epochs_done: int) -> int | None: ...

    def leave_if_asked(self) -> None: ...


def train(case: Case, seed: int, epochs: int | None = None) -> Run:
    """The case as a trial: what it reported, and how it ended."""
    case = dataclasses.replace(case, epochs=epochs or case.epochs)
    torch.manual_seed(seed)
    params = {"optimizer.lr": case.lr, "data.batch_size": case.batch_size, "model.depth": case.depth}
    params |= {"model.dropout": case.dropout, "optimizer.weight_decay": case.weight_decay, "model.width": case.width}
    direction = Direction.MINIMIZE if case.metric.endswith("loss") else Direction.MAXIMIZE
    data = DATA[case.data](val=0.2, test=0.2, seed=seed)
    journal, failure, message = Memory(), None, None
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(
            number=0,
            params=params,
            folder=Path(folder),
            device="cpu",
            seed=seed,
            journal=journal,
            metric=case.metric,
            direction=direction,
        )
        try:
            _epochs(case, data, trial)
        except Diverged as error:
            failure, message = Failure.DIVERGED, str(error)
    is_classes = data.goal is CLASSIFICATION
    return Run(
        number=0,
        params=params,
        reports=tuple(report.metrics for _, report in sorted(journal.reports.items())),
        metric=case.metric,
        direction=direction,
        failure=failure,
        message=message,
        classes=int(data.train.targets.max()) + 1 if is_classes else None,
    )


def _epochs(case: Case, data: Data, trial: Trial) -> None:
    inputs, targets = data.train.inputs.flatten(1) * case.inputs_times, data.train.targets
    inputs, targets = inputs[: case.examples], targets[: case.examples]
    if case.shuffled:
        targets = targets[torch.randperm(len(targets))]
    outputs = int(data.train.targets.max()) + 1 if data.goal is CLASSIFICATION else 1
    model = _network(case, inputs.shape[1], outputs)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer = torch.optim.Adam(trainable, lr=case.lr, weight_decay=case.weight_decay)
    if case.optimizer == "sgd":
        optimizer = torch.optim.SGD(trainable, lr=case.lr, weight_decay=case.weight_decay, momentum=0.9)
    with Monitors(model, optimizer) as monitors:
        for _ in trial.epochs(case.epochs):
            model.train()
            total = 0.0
            for batch in torch.randperm(len(inputs)).split(case.batch_size):
                if case.zeroes_gradients:
                    optimizer.zero_grad()
                loss = _loss(case, data, model(inputs[batch]), targets[batch])
                (case.sign * loss).backward()
                optimizer.step()
                total += loss.item() * len(batch)
            trial.report(train_loss=total / len(inputs), **_evaluate(case, data, model), **monitors.epoch())


def _network(case: Case, inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for depth in range(case.depth):
        layers += [nn.Linear(case.width if depth else inputs, case.width), case.activation()]
        layers += [nn.Dropout(case.dropout)] if case.dropout else []
    layers.append(nn.Linear(case.width, outputs))
    case.build(layers)
    return nn.Sequential(*layers)


def _loss(case: Case, data: Data, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return data.goal.loss(functional.softmax(outputs, dim=1) if case.softmax_twice else outputs, targets)


@torch.no_grad()
def _evaluate(case: Case, data: Data, model: nn.Module) -> dict[str, float]:
    model.eval()
    outputs = model(data.val.inputs.flatten(1) * case.inputs_times)
    loss, score = _loss(case, data, outputs, data.val.targets), data.goal.score(outputs, data.val.targets)
    return {"val_loss": loss.item(), f"val_{data.goal.score_name}": score.item()}


def blinded(run: Run) -> Run:
    """The same without what monitors told."""
    reports = [{name: value for name, value in each.items() if "/" not in name} for each in run.reports]
    return dataclasses.replace(run, reports=tuple(reports), message=None, classes=None)


def table(found: dict[str, list[list[str]]], expected: dict[str, Sequence[str]]) -> str:
    """A line a case: what was found first, how often, and whether that was right."""
    lines = ["| training | first finding | right | others |", "|---|---|---|---|"]
    for name, runs in found.items():
        firsts = collections.Counter(kinds[0] if kinds else HEALTHY for kinds in runs)
        others = collections.Counter(kind for kinds in runs for kind in kinds[1:])
        right = sum(count for kind, count in firsts.items() if kind in expected[name])
        cells = [", ".join(f"{kind} {count}" for kind, count in each.most_common()) for each in (firsts, others)]
        lines.append(f"| {name} | {cells[0]} | {right} of {len(runs)} | {cells[1]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed; thresholds were set by 0, 1, 10 to 14")
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument("--blind", action="store_true", help="by the curves alone")
    parser.add_argument("--full", action="store_true", help="also every sentence")
    parser.add_argument("--keep", type=Path, help="a JSON file of the curves")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = {**CASES, **{f"healthy: {name}": case for name, case in WELL.items()}}
    kept: dict[str, Any] = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else {}
    found: dict[str, list[list[str]]] = {}
    for name, case in cases.items():
        if options.only and options.only not in name:
            continue
        for seed in range(options.first, options.first + options.seeds):
            key = f"{name}, seed {seed}"
            run = _told(kept[key]) if key in kept else train(case, seed)
            kept[key] = dataclasses.asdict(run)
            told = of_trial(blinded(run) if options.blind else run)
            found.setdefault(name, []).append([finding.kind.value for finding in told])
            if options.full:
                print(f"\n{key}", *(f"  {finding.severity}: {finding.sentence}" for finding in told), sep="\n")
        if options.keep:
            options.keep.write_text(json.dumps(kept))
    print(table(found, {name: case.expected for name, case in cases.items()}))


def _told(kept: dict[str, Any]) -> Run:
    failure = Failure(kept["failure"]) if kept["failure"] else None
    return Run(**{**kept, "direction": Direction(kept["direction"]), "failure": failure})


if __name__ == "__main__":
    main()
