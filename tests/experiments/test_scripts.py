"""The configs compose, each says what it is, and the training scripts run alone and are tested alone."""

import functools
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

import forks
from sweeper.retraining import parts as script
from sweeper.retraining.handover import FULL
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.training import models, scaling
from sweeper.training.data import Data, Examples
from sweeper.training.goals import CLASSIFICATION, REGRESSION
from sweeper.training.learner import Learner

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
SCRIPTS = ("digits.py", "mnist.py", "tabular.py")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
CHOICES = [
    f"{group}={path.stem}"
    for group in sorted(path.name for path in CONF.iterdir() if path.is_dir())
    for path in sorted((CONF / group).glob("*.yaml"))
    if group not in ("data", "experiment", "model", "search")  # the data's shape goes with its model
]
NEEDS = {
    "space=cnn": "experiment=mnist",
    "loss=mse": "experiment=diabetes",
    "loss=mae": "experiment=diabetes",
    "loss=huber": "experiment=diabetes",
}


@functools.cache
def composed(*overrides: str) -> DictConfig:
    """To read."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def chosen(experiment: str | None) -> list[str]:
    return [f"experiment={experiment}"] if experiment else []


def random_data(cfg: DictConfig) -> Data:
    """A few examples of the data's shape."""
    goal = REGRESSION if cfg.data.outputs == 1 else CLASSIFICATION
    targets = torch.randn(40, 1) if goal is REGRESSION else torch.arange(40) % cfg.data.outputs
    raw = torch.rand(40, *cfg.data.inputs)
    examples = Examples(scaling.fit(cfg.scaling, raw, per_feature=True)(raw), targets)
    return Data(examples, examples, goal, lambda: examples)


def build_everything(cfg: DictConfig) -> None:
    """The network takes the data's shape, every group its keys, and all of it trains."""
    model = models.build(cfg.model).eval()
    assert model(torch.zeros(2, *cfg.data.inputs)).shape == (2, cfg.data.outputs)
    metrics = Learner(cfg, lambda cfg: models.build(cfg.model), random_data, seed=0).epoch()
    assert all(math.isfinite(metrics[name]) for name in ("train_loss", "val_loss"))


@pytest.mark.parametrize("experiment", [None, *EXPERIMENTS])
def test_every_experiment_composes(experiment):
    cfg = composed(*chosen(experiment))
    assert cfg.study == cfg.data.name
    assert cfg.hydra.sweeper.study == cfg.study
    assert cfg.hydra.sweeper.epochs == cfg.epochs
    build_everything(cfg)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes(choice):
    overrides = [choice, NEEDS[choice]] if choice in NEEDS else [choice]
    build_everything(composed(*overrides))


@pytest.mark.parametrize("overrides", [[], *([f"experiment={name}"] for name in EXPERIMENTS), ["space=everything"]])
def test_the_space_names_keys_that_exist(overrides):
    for name, domain in composed(*overrides).hydra.sweeper.params.items():
        of_choice = re.match(r"\w+=\w+", domain.get("when", "")) if isinstance(domain, DictConfig) else None
        cfg = composed(*overrides, *([of_choice[0]] if of_choice else []))
        group, _, key = name.rpartition(".")
        assert key in (OmegaConf.select(cfg, group) if group else cfg), name


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_config_says_what_it_is(path):
    assert path.read_text().startswith("# ")


@pytest.fixture
def run_script(tmp_path, monkeypatch):
    """`run_script(name, arguments…)`: alone, on the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return forks.script(ROOT / "experiments" / name, *arguments, folder=tmp_path)

    return run


def test_digits_trains_alone_and_is_tested(run_script, tmp_path):
    output = tmp_path / "alone"
    trained = run_script("digits.py", "epochs=2", "optimizer.lr=0.01", f"hydra.run.dir={output}")
    assert trained.returncode == 0, trained.stderr
    assert "val_accuracy" in trained.stdout
    assert "test" not in trained.stdout
    assert list((output / "checkpoints").glob("epoch=0001*.pt"))

    tested = run_script("digits.py", f"evaluate={output}", f"hydra.run.dir={tmp_path / 'evaluation'}")
    assert tested.returncode == 0, tested.stderr
    scores = dict(re.findall(r"(test_\w+): ([0-9.]+)", tested.stdout))
    assert set(scores) == {"test_loss", "test_accuracy"}
    assert float(scores["test_accuracy"]) > 0.8


def test_workers_find_what_the_scripts_share(run_script, tmp_path):
    swept = run_script("digits.py", "--multirun", "search=random", "budget=2", "epochs=1", "check=false")
    assert swept.returncode == 0, swept.stderr
    store = Store(f"sqlite:///{tmp_path}/runs/sweeper.db")
    assert [record.epochs_done for record in reads.all_trials(store, reads.study(store, "digits").id)] == [1, 1]
    store.close()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shows_its_network_and_its_data(name):
    path = ROOT / "experiments" / name
    script.check(path)
    assert script.knows(path, FULL)


def test_all_but_the_test_set_is_for_training_where_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    parts = script.parts(ROOT / "experiments" / "digits.py")
    some, full = (parts.sets(composed(*more)) for more in ((), (f"++{FULL}=true",)))
    assert len(full.train) == len(some.train) + len(some.val)
    assert parts.build(composed())(some.val.inputs).shape == (len(some.val), 10)


def test_diabetes_trains_alone(run_script):
    trained = run_script("tabular.py", "experiment=diabetes", "epochs=2")
    assert trained.returncode == 0, trained.stderr
    assert "val_r2" in trained.stdout


def test_mnist_says_what_is_missing(run_script, tmp_path):
    trained = run_script("mnist.py", "experiment=mnist", f"data.root={tmp_path}")
    assert trained.returncode != 0
    assert f"The folder {tmp_path} must hold t10k-images-idx3-ubyte" in trained.stderr
