"""A Hydra script's study to its models: `sweeper ensemble`, and `sweeper train-best` into a folder to hand over."""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from typer.testing import CliRunner

import forks
import sweeper
from sweeper.cli import app
from sweeper.retraining import parts as scripts
from sweeper.training import weights

SCRIPT = """
import hydra, sweeper, torch
from torch import nn
from sweeper.training.data import Data, Examples
from sweeper.training.goals import REGRESSION
from sweeper.training.whole import whole

def build(cfg):
    return nn.Sequential(nn.Linear(2, cfg.width), nn.Tanh(), nn.Linear(cfg.width, 1))

def data(cfg):
    inputs = torch.randn(90, 2, generator=torch.Generator().manual_seed(cfg.data.seed))
    targets = inputs.prod(dim=1, keepdim=True)
    train, val, test = (Examples(inputs[i::3], targets[i::3]) for i in range(3))
    found = Data(train, val, REGRESSION, lambda: test)
    return whole(found) if cfg.get("full_data") else found

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def train(cfg):
    trial = sweeper.current_trial()
    torch.manual_seed(trial.seed)
    model, sets = build(cfg), data(cfg)
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr)
    for epoch in trial.epochs(cfg.epochs, state={"model": model, "optimizer": optimizer}):
        for _ in range(5):
            optimizer.zero_grad()
            REGRESSION.loss(model(sets.train.inputs), sets.train.targets).backward()
            optimizer.step()
        with torch.no_grad():
            loss = REGRESSION.loss(model(sets.val.inputs), sets.val.targets)
        trial.report(val_loss=loss.item(), examples=len(sets.train))

if __name__ == "__main__":
    train()
"""
CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: sweeper
  - override hydra/launcher: basic
lr: 0.1
width: 4
epochs: 3
data: {seed: 5}
store: sqlite:///runs/sweeper.db
hydra:
  sweeper:
    study: demo
    store: ${store}
    metric: val_loss
    search: random
    budget: 4
    epochs: ${epochs}
    params:
      lr: tag(log, interval(0.01, 0.3))
      width: range(3, 9)
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    for name, text in {"train.py": SCRIPT, "config.yaml": CONFIG}.items():
        (folder / name).write_text(text)
    done = forks.script(folder / "train.py", "--multirun", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(swept: Path, copied: Path) -> Path:
    with contextlib.closing(sqlite3.connect("runs/sweeper.db")) as raw, raw:
        for column in ("config", "folder"):
            raw.execute(f"UPDATE studies SET {column} = replace({column}, ?, ?)", (str(swept), str(copied)))
    return copied


def ask(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def best() -> int:
    return json.loads(ask("best", "--format", "json"))[0]["number"]


# ---- sweeper ensemble ------------------------------------------------------------------------------------------------


def test_the_ensemble_of_a_study_in_a_table_and_as_a_folder(folder: Path) -> None:
    text = ask("ensemble", "--device", "cpu")
    assert "val_r2" in text
    assert "The study remembers this look." in text
    assert "sweeper.load_ensemble('runs/demo/ensemble')(x) gives averaged outputs." in text
    assert sweeper.load_ensemble("runs/demo/ensemble")(torch.zeros(4, 2)).shape == (4, 1)
    assert "password" not in (folder / "runs/demo/ensemble/ensemble.json").read_text()
    answer = json.loads(ask("ensemble", "--format", "json", "--to", "other"))
    assert answer["test"] is None
    assert "looked at once before" in answer["warning"]
    assert {"trial", "kind", "seed", "weight", "epochs", "val_loss", "val_r2"} == set(answer["members"][0])
    rows = list(csv.DictReader(ask("ensemble", "--format", "csv", "--no-test").splitlines()))
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(1)


def test_the_best_is_trained_with_other_seeds_on_demand_and_once(folder: Path) -> None:
    answer = json.loads(ask("ensemble", "--top", "1", "--seeds", "2", "--no-test", "--format", "json"))
    assert answer["candidates"] == 3
    assert answer["left_out"] == []
    made = sorted((folder / "runs/demo/seeds").iterdir())
    assert len(made) == 2
    times = [path.stat().st_mtime_ns for path in made]
    json.loads(ask("ensemble", "--top", "1", "--seeds", "2", "--no-test", "--format", "json"))
    assert [path.stat().st_mtime_ns for path in made] == times
    assert not list((folder / "runs/demo/seeds").glob(".*"))


def test_a_script_without_build_is_told_what_to_add(folder: Path) -> None:
    (folder / "train.py").write_text(SCRIPT.replace("def build(", "def construct("))
    assert "has no `build`: move what your training does for it into\n\ndef build(cfg):" in ask("ensemble", code=1)


# ---- sweeper train-best ----------------------------------------------------------------------------------------------


def test_the_winner_is_trained_on_all_data_and_handed_over(folder: Path) -> None:
    text = ask("train-best", "--to", "out")
    assert f"trial {best()} of demo, trained on training and validation set together: 3 epochs" in text
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "README.md",
        "config.yaml",
        "curves.csv",
        "metrics.json",
        "weights.safetensors",
    ]
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert metrics["full"] is True
    assert metrics["metrics"]["examples"] == 60
    assert set(metrics["test"]) == {"test_loss", "test_r2"}
    assert metrics["sizes"] == {"train": 60, "val": 30, "test": 30}
    curve = list(csv.DictReader(Path("out/curves.csv").read_text().splitlines()))
    assert [row["epoch"] for row in curve] == ["0", "1", "2"]
    config = OmegaConf.load("out/config.yaml")
    assert "store" not in config  # it may hold a password
    model = scripts.parts(folder / "train.py").build(config)
    weights.fill(model, weights.load(Path("out/weights.safetensors")), "out")
    sets = scripts.parts(folder / "train.py").sets(config)
    test = sets.open_test()
    with torch.no_grad():
        assert sets.goal.loss(model(test.inputs), test.targets).item() == pytest.approx(metrics["test"]["test_loss"])


def test_the_card_tells_the_story(folder: Path) -> None:
    ask("train-best", "--to", "out")
    card = Path("out/README.md").read_text()
    for words in (
        f"# demo, trial {best()}",
        "| test_loss |",
        "- **Best.** Trial",
        "| lr | ",
        "0.01 … 0.3, log",
        "- train: 60 examples, the validation examples among them",
        "- torch: ",
        "python train.py",
        "++full_data=true",
    ):
        assert words in card
    assert str(folder) not in card


def test_another_trial_for_longer_with_another_seed_on_the_training_set(folder: Path) -> None:
    words = ["--epochs", "5", "--seed", "3", "--no-full", "--no-test", "--set", "data.seed=5", "--format", "json"]
    answer = json.loads(ask("train-best", "2", *words))
    assert (answer["trial"], answer["epochs"], answer["seed"], answer["full"]) == (2, 5, 3, False)
    assert answer["metrics"]["examples"] == 30
    assert answer["test"] is None
    assert answer["missing"] is None
    assert answer["changes"] == []  # of what was asked for
    assert answer["command"].startswith("OMP_NUM_THREADS=")
    assert answer["command"].endswith("data.seed=5 epochs=5")
    assert (folder / "runs/demo/best/weights.safetensors").exists()


def test_without_other_settings_it_is_the_trial_itself(folder: Path) -> None:
    shown = json.loads(ask("show", str(best()), "--format", "json"))
    answer = json.loads(ask("train-best", "--no-full", "--format", "json"))
    assert answer["metrics"]["val_loss"] == shown["value"]


def test_a_script_that_cannot_train_on_all_data_is_told_what_to_add(folder: Path) -> None:
    (folder / "train.py").write_text(SCRIPT.replace('whole(found) if cfg.get("full_data") else found', "found"))
    assert 'return whole(found) if cfg.get("full_data") else found' in ask("train-best", "--full", code=1)
    text = ask("train-best")
    assert "On the training set alone. To train on training and validation set together" in text
    assert json.loads((folder / "runs/demo/best/metrics.json").read_text())["metrics"]["examples"] == 30


def test_the_test_set_is_left_alone_after_a_first_look(folder: Path) -> None:
    ask("ensemble")
    text = ask("train-best")
    assert "so it was left alone" in text
    assert "test_loss" not in text.splitlines()[1]
    assert "test_loss" in ask("train-best", "--test", "--to", "again").splitlines()[1]


def test_a_folder_with_files_is_left_as_it_is(folder: Path) -> None:
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("years of work")
    assert "gets a folder of its own" in ask("train-best", "--to", "out", code=1)


def test_a_training_that_fails_leaves_what_it_wrote(folder: Path) -> None:
    (folder / "train.py").write_text(
        SCRIPT.replace("        trial.report(", "        1 / (2 - epoch)\n        trial.report(")
    )
    assert "ended with exit code 1 after 2 epochs" in ask("train-best", "--to", "out", code=1)
    assert list(Path("out/training/checkpoints").glob("epoch=0001*.pt"))


def test_epochs_without_a_key_for_them_are_told(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect("runs/sweeper.db")) as raw, raw:
        raw.execute(r"UPDATE studies SET config = replace(config, '\nepochs: 3', '\nsteps: 3')")
    assert "--epochs 9 --set trainer.max_epochs=9" in ask("train-best", "--epochs", "9", code=1)
