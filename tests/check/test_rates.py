"""Scripts looked over as they stand: one of Hydra, one of torch alone, and those that cannot be tested."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweeper import check
from sweeper.check.rates import climbed
from sweeper.cli import app
from sweeper.report.terminal import ramp as report
from sweeper.training.lr_range import analyse, geometric
from sweeper.words.errors import ConfigError

LESSON = """
import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(64, 3)
targets = inputs @ torch.tensor([[1.0], [2.0], [3.0]]) + 0.1 * torch.randn(64, 1)
model = nn.Linear(3, 1)

def train_epoch(optimizer, schedule=None):
    for index in torch.randperm(64).split(16):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs[index]), targets[index])
        if raises and not loss < 1e3:
            raise ValueError("the loss is too large")
        loss.backward()
        optimizer.step()
        if schedule:
            schedule.step()
"""

PLAIN = (
    """
import sys
epochs, raises = int(sys.argv[1]), "--raises" in sys.argv
"""
    + LESSON
    + """
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(epochs):
    train_epoch(optimizer)
"""
)

HYDRA = (
    """
import hydra, sweeper
raises = False
"""
    + LESSON
    + """
@hydra.main(version_base="1.3", config_path=".", config_name="config")
def train(cfg):
    trial = sweeper.current_trial()
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.optim.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=cfg.optim.learning_rate, total_steps=2 * 4)
    stopping = {"best": 0}
    for epoch in trial.epochs(2, state={"model": model, "optimizer": optimizer, "schedule": schedule, "s": stopping}):
        assert stopping["best"] == 0
        stopping["best"] = 1
        train_epoch(optimizer, schedule)
        trial.report(val_loss=float("nan"))
    print("never reached")

train()
"""
)

CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: sweeper
optim: {learning_rate: 1e-6, decay: 1e-6}
hydra:
  sweeper:
    params:
      optim.learning_rate: {interval: [1e-6, 1e-5], log: true, limits: [1e-8, 1]}
"""


@pytest.fixture
def folder(tmp_path: Path, forked: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {"plain.py": PLAIN, "train.py": HYDRA, "config.yaml": CONFIG}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(*words: str, code: int = 0) -> str:
    """`sweeper check --lr …`; what it says."""
    result = CliRunner().invoke(app, ["check", "--lr", *words])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


# ---- scripts ---------------------------------------------------------------------------------------------------------


def test_a_script_of_hydra_is_tested_as_it_stands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    before = set(folder.iterdir())
    text = ask("--steps", "120", "--repeats", "2", "train.py", "optim.decay=1e-5")
    assert "optim.learning_rate: {interval: [" in text
    assert "log: true, limits: [1e-8, 1]}" in text
    assert "The script's own rate 1e-6 is too low" in text
    assert "The searched range [1e-6, 1e-5] is too low: nothing in it learns" in text
    assert set(folder.iterdir()) == before
    assert not list((folder / "temporary").glob("sweeper-check-*"))


def test_a_script_that_knows_nothing_of_sweeper_is_tested(folder: Path) -> None:
    answer = json.loads(ask("--format", "json", "plain.py", "1000"))
    low, high = answer["interval"]
    assert low < answer["own_rate"] == 0.01 < high
    assert answer["suggestion"] == pytest.approx(answer["found"]["stable"] / 3, rel=0.05)
    assert (answer["ramps"], answer["searched"], answer["ending"]) == (3, None, None)
    assert answer["yaml"].startswith("optimizer.lr: {interval: [")


def test_a_script_that_ends_itself_is_understood(folder: Path) -> None:
    ramp = check.Ramp(1e-7, 10.0, 200, 3)
    raised = check.lr_of_script(Path("plain.py"), ["1000", "--raises"], ramp)
    assert raised.ramps == 1
    assert raised.found.stable is not None
    assert raised.found.stable < raised.found.diverges
    assert "the script itself ended with exit code 1 at the rate" in str(raised.ending)
    short = check.lr_of_script(Path("plain.py"), ["80"], ramp)
    assert (short.ramps, short.ending) == (1, "the script ended after 320 steps")
    with pytest.raises(ConfigError, match="needs 200 steps, but the script ended after 40"):
        check.lr_of_script(Path("plain.py"), ["10"], ramp)
    with pytest.raises(ConfigError, match="took none"):
        check.lr_of_script(Path("plain.py"), ["0"], ramp)


def test_a_script_that_fails_at_once_gives_no_verdict() -> None:
    lines = [{"ramp": 0, "rate": 1e-7, "loss": 1.0, "own_rate": 0.1}]
    with pytest.raises(ConfigError, match="the script ended with exit code 1; see above"):
        climbed(lines, check.Ramp(1e-7, 10.0, 200, 3), code=1)
    with pytest.raises(ConfigError, match="ended with exit code 1 before the first"):
        climbed([], check.Ramp(1e-7, 10.0, 200, 3), code=1)


def test_what_cannot_be_tested_is_said(folder: Path) -> None:
    assert "there is no nothing.py" in ask("nothing.py", code=1)
    assert "`0 < low < high" in ask("--low", "1", "--high", "0.1", "plain.py", code=1)


def test_without_matplotlib_a_plot_is_refused_before_the_training(folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install 'sweeper-hpo[plots]'" in ask("--plot", "lr.png", "plain.py", "1000", code=1)


def test_the_command_needs_no_torch(folder: Path) -> None:
    code = "import sys, sweeper.check, sweeper.report.terminal.ramp; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---- words -----------------------------------------------------------------------------------------------------------


def checked(own_rate: float = 0.01, searched=None, fall: float = 0.9) -> check.LrCheck:
    """A loss that falls around a rate of 1e-3, to a tenth, and is lost above 1."""
    rates = [rate for rate in geometric(1e-7, 10, 200) if rate < 1.2]
    curve = [(rate, 1 - fall / (1 + 1e-3 / rate) if rate < 0.5 else 1.5) for rate in rates]
    return check.LrCheck(analyse([curve]), "optimizer.lr", own_rate, searched, (1e-7, 10.0), 3, 1.0, None)


@pytest.mark.parametrize(
    ("searched", "words"),
    [
        ((1e-4, 0.5), "holds the suggested rate."),
        ((1e-7, 1e-6), "is too low: nothing in it learns"),
        ((1e-7, 1e-2), "ends too low, below the suggested"),
        ((0.2, 0.4), "begins too high, above the suggested"),
        ((2, 10), "is too high: all of it lies above"),
        ((0.01, 1000), "holds the suggested rate, but 71% of it lies above"),
    ],
)
def test_a_range_that_is_wrong_is_noticed(searched, words) -> None:
    assert words in report.text(checked(searched=searched))


@pytest.mark.parametrize(("rate", "words"), [(1e-7, "is too low"), (0.1, "lies inside"), (5.0, "is too high: it div")])
def test_the_scripts_own_rate_is_judged(rate, words) -> None:
    assert words in report.text(checked(own_rate=rate))


def test_a_loss_that_does_not_fall_is_no_proposal() -> None:
    flat = checked(fall=0.0)
    assert flat.yaml is None
    assert "Cannot tell: at no rate from 1e-7 to" in report.text(flat)


def test_the_curve_fits_its_frame() -> None:
    lines = report.curve(checked().found, width=40, height=6)
    assert len(lines) == 9
    assert max(map(len, lines)) <= 52
    assert [letter for letter in lines[7] if letter in "LSMD"] == ["L", "S", "M", "D"]
    assert lines[6].startswith("   0.1")


def test_a_picture_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report.png(checked(), tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
