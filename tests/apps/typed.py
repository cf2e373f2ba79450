"""A person's file: every public name of `sweeper`, as one may use it. Type checkers read it, and it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import optuna
import pandas as pd
import torch
from torch import Tensor, nn

import sweeper
from sweeper import Categorical, Failure, Float, Int, SearchSpace, SweeperError, TrialState
from sweeper.engine.loggers import EpochReport, LoggedTrial
from sweeper.training.data import Data, Examples
from sweeper.training.goals import REGRESSION

SPACE = SearchSpace(
    (
        Float("lr", 1e-3, 1e-1, log=True),
        Int("width", 2, 8, step=2),
        Categorical("activation", ("relu", "tanh")),
    )
)


class Diary:
    """A `sweeper.Logger`."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, trial: LoggedTrial) -> None:
        self.lines.append(trial.name)

    def epoch(self, report: EpochReport) -> None:
        self.lines.append(f"{report.epoch}: {dict(report.metrics)}")

    def end(self, state: TrialState, value: float | None, failure: Failure | None) -> None:
        if failure is Failure.DIVERGED:
            self.lines.append("lost")
        elif state is TrialState.COMPLETE and value is not None:
            self.lines.append(f"{value:.3f}")


def told(trial: LoggedTrial, report: EpochReport) -> None:
    print(f"{trial.name} {report.epoch} {report.seconds:.1f} s")


def build(params: Mapping[str, Any]) -> nn.Module:
    width = int(params["width"])
    return nn.Sequential(
        nn.Linear(2, width), nn.ReLU() if params["activation"] == "relu" else nn.Tanh(), nn.Linear(width, 1)
    )


def data(params: Mapping[str, Any]) -> Data:
    inputs = torch.linspace(-1, 1, 120).reshape(60, 2)
    targets = inputs.prod(dim=1, keepdim=True)
    train, val, test = (Examples(inputs[i::3], targets[i::3]) for i in range(3))
    return Data(train, val, REGRESSION, lambda: test)


def train(trial: sweeper.Trial) -> None:
    torch.manual_seed(trial.seed or 0)
    model, sets = build(trial.params).to(trial.device), data(trial.params)
    optimizer = torch.optim.Adam(model.parameters(), lr=float(trial.params["lr"]))
    for epoch in trial.epochs(3, state={"model": model, "optimizer": optimizer}):
        assert_type(epoch, int)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(sets.train.inputs), sets.train.targets)
        torch.autograd.backward(loss)  # loss.backward() has no annotations, which mypy --strict tells
        optimizer.step()
        with torch.no_grad():
            val_loss = nn.functional.mse_loss(model(sets.val.inputs), sets.val.targets)
        trial.report(train_loss=loss.item(), val_loss=val_loss, steps=epoch + 1)
    (trial.folder / "note.txt").write_text(f"trial {trial.number}, seed {trial.seed}")


def task() -> sweeper.Task:
    params = {"width": 4, "activation": "relu"}
    sets = data(params)
    return sweeper.Task(build(params), nn.functional.mse_loss, sets.train.inputs, sets.train.targets, batch_size=8)


def alone() -> Path:
    trial = sweeper.current_trial()
    assert_type(trial, sweeper.Trial)
    return trial.folder


def ask(study: sweeper.Study) -> Mapping[str, object]:
    for frame in (study.best(3), study.trials(), study.epochs(), study.failures(), study.workers(), study.borders()):
        assert_type(frame, pd.DataFrame)
    assert_type(study.confirmed(), pd.DataFrame)
    assert_type(study.ranges(), pd.DataFrame)
    assert_type(study.space, SearchSpace)
    assert_type(study.name, str)
    findings = [f"{finding.severity}: {finding.sentence}" for finding in study.diagnose()]
    page: Path = study.report()
    copied: optuna.Study = study.to_optuna()
    return {"state": study.state, "findings": findings, "page": page, "best": copied.best_value}


def predictions(study: sweeper.Study) -> Tensor:
    made = study.ensemble(build=build, data=data, top=3, device="cpu")
    ensemble = sweeper.load_ensemble(made.folder, build=build)
    return ensemble(torch.zeros(5, 2))


def main() -> None:
    logger: sweeper.Logger = Diary()
    study = sweeper.run(
        train,
        study="typed",
        space={parameter.name: parameter for parameter in SPACE},
        search="random",
        epochs=3,
        budget=4,
        metric="val_loss",
        direction="minimize",
        loggers=[logger, told],
        folder=Path("runs"),
    )
    assert_type(study, sweeper.Study)
    print(ask(study), predictions(study).shape, len(task()))
    again = study.rerun(int(study.best()["number"].iloc[0]), train)
    assert_type(again.matches, bool)
    live = optuna.load_study(study_name="typed", storage=sweeper.optuna_storage("sqlite:///runs/sweeper.db"))
    print(live.best_params, again)
    try:
        sweeper.load_study("another", store="sqlite:///runs/sweeper.db")
    except SweeperError as error:
        print(sweeper.__version__, error)


if __name__ == "__main__":
    main()
