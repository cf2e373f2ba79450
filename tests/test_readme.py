"""The README's own script and space run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import forks

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")

MODEL = """
def build(cfg):
    layers = [torch.nn.Linear(2, cfg.width), torch.nn.ReLU()]
    for _ in range(cfg.depth - 1):
        layers += [torch.nn.Linear(cfg.width, cfg.width), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(cfg.width, 1))

def loss(model):
    inputs = torch.linspace(-1, 1, 20).reshape(10, 2)
    return torch.nn.functional.mse_loss(model(inputs).squeeze(1), inputs.prod(1))

def evaluate(model):
    with torch.no_grad():
        return loss(model).item()

def train_epoch(model, optimizer):
    optimizer.zero_grad()
    value = loss(model)
    value.backward()
    optimizer.step()
    return value.item()

train()
"""

GROUPS = {
    "optimizer/adam.yaml": "lr: 0.001\n",
    "optimizer/sgd.yaml": "lr: 0.1\nmomentum: 0.9\n",
}
REST = "model: {depth: 2, width: 16}\ndata: {batch_size: 32}\n"


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return next(text for text in blocks if containing in text)


def test_your_own_script_and_space(tmp_path):
    script = block("python", "@hydra.main").replace("\ntrain()\n", MODEL)
    (tmp_path / "train.py").write_text(script)
    config = block("yaml", "hydra/sweeper: sweeper").replace("epochs: 20\n", f"epochs: 3\n{REST}", 1)
    for name, text in {"config.yaml": config, **GROUPS}.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)
    overrides = ["hydra.sweeper.budget=4", "hydra.sweeper.workers=2"]
    done = forks.script(tmp_path / "train.py", "--multirun", *overrides, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"complete: [34]\.\d of 4 full trainings", done.stdout)
    assert (tmp_path / "runs" / "train" / "0003" / "checkpoints").is_dir()


OPTUNA_SWEEPER_BLOCK = """
defaults:
  - _self_
  - override hydra/sweeper: sweeper
x: 1
y: 1
z: 10
w: 1
hydra:
  sweeper:
    direction: minimize
    params:
      x: interval(-5.5, 5.5)
      y: choice(-5, 0, 5)
      z: tag(log, interval(1e-3, 100))
      w: range(1, 3)
"""


def test_a_block_of_hydra_optuna_sweeper_runs_unchanged(tmp_path):
    (tmp_path / "config.yaml").write_text(OPTUNA_SWEEPER_BLOCK)
    (tmp_path / "sphere.py").write_text(
        "import hydra\n"
        "@hydra.main(version_base='1.3', config_path='.', config_name='config')\n"
        "def sphere(cfg):\n"
        "    assert cfg.w in (1, 2)\n"
        "    return float(cfg.x**2 + cfg.y**2 + cfg.z)\n"
        "sphere()\n"
    )
    overrides = ["hydra.sweeper.budget=6", "hydra.sweeper.workers=2"]
    done = forks.script(tmp_path / "sphere.py", "--multirun", *overrides, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 complete" in done.stdout
