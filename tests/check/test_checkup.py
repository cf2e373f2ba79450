"""Whole checkups: scripts under every check, the corners of their space, and what stands before a sweep."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import forks
from sweeper.check import check_script
from sweeper.check.checkup import Checkup, Wish
from sweeper.check.corners import corners, judged, words_of
from sweeper.check.cost import cost
from sweeper.check.finding import Finding, Verdict, fails, passes, unknown
from sweeper.check.rates import LrCheck, Ramp
from sweeper.check.rates import judged as judged_rate
from sweeper.check.stopwatch import EPOCHS, Stopwatch
from sweeper.check.training.survey import SurveyDone
from sweeper.cli import app
from sweeper.machine.devices import slots
from sweeper.report.terminal import checkup
from sweeper.search.plans import make_plan
from sweeper.search.space import Categorical, Float, Int, SearchSpace, When
from sweeper.sweep import gate
from sweeper.training.lr_range import analyse, geometric
from sweeper.words.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT / "data" / "mnist"

TRAIN = """
import hydra, sweeper, torch
from torch import nn

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def train(cfg):
    torch.manual_seed(0)
    trial = sweeper.current_trial()
    if cfg.model.width >= cfg.room:
        raise MemoryError(f"no room for {cfg.model.width}")
    inputs = torch.randn(192, 4)
    labels = (inputs.sum(dim=1) > 0).long()
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[cfg.model.activation]()
    model = nn.Sequential(nn.Linear(4, cfg.model.width), activation, nn.Linear(cfg.model.width, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.optimizer.lr)
    for epoch in trial.epochs(cfg.epochs, state={"model": model, "optimizer": optimizer}):
        for index in torch.randperm(128).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[index]), labels[index]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model(inputs[128:]), labels[128:])
        trial.report(val_loss=loss)

train()
"""

CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: sweeper
  - override hydra/launcher: local
model: {width: 16, activation: relu}
optimizer: {lr: 0.01}
epochs: 2
room: 100
hydra:
  sweeper:
    study: s
    search: random
    epochs: ${epochs}
    budget: 2
    workers: 1
    metric: val_loss
    params:
      model.width: int(interval(4, 64))
      model.activation: choice(relu, tanh)
      optimizer.lr: {interval: [1e-4, 1e-1], log: true}
"""

TASK = """
import torch
from torch import nn
from sweeper.training.checks.task import Task

def task():
    torch.manual_seed(0)
    inputs = torch.randn(200, 3)
    outputs = inputs @ torch.tensor([[1.0], [-1.0], [0.5]])
    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
    return Task(model, nn.functional.mse_loss, inputs[:150], outputs[:150], inputs[150:], outputs[150:])
"""


@pytest.fixture
def folder(tmp_path: Path, forked: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {"train.py": TRAIN, "config.yaml": CONFIG, "own.py": TASK}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    (tmp_path.parent / "temporary").mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path.parent / "temporary"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


def verdicts(found: Checkup) -> dict[str, Finding]:
    return {each.name: each for each in found.findings}


def not_passed(found: Checkup) -> dict[str, str]:
    return {each.name: each.sentence for each in found.findings if each.verdict is not Verdict.PASSES}


# ---- scripts ---------------------------------------------------------------------------------------------------------


def test_a_sound_script_passes_and_nothing_is_left(folder: Path) -> None:
    before = set(folder.iterdir())
    result = CliRunner().invoke(app, ["check", "--format", "json", "train.py", "epochs=4"])
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    assert {name: row["message"] for name, row in rows.items() if row["verdict"] != "passes"} == {}
    assert result.exit_code == 0
    assert len(rows) == 19
    assert rows["cost"]["numbers"]["epochs"] == 8  # a budget of two full trainings, of the epochs that were asked for
    assert [each["place"] for each in rows["corners"]["numbers"]["corners"]] == ["smallest", "largest", "middle"]
    assert set(folder.iterdir()) == before
    assert not list((folder.parent / "temporary").glob("sweeper-check-*"))


def test_a_corner_that_needs_too_much_memory_is_named(folder: Path) -> None:
    result = CliRunner().invoke(app, ["check", "--quick", "train.py", "room=64"])
    assert result.exit_code == 1
    assert "✗ corners" in result.stdout
    assert "1 of 3 corners do not run." in result.stdout
    assert "the largest, model.width=64 model.activation=tanh optimizer.lr=0.1:" in result.stdout
    assert "out of memory: MemoryError: no room for 64 (train.py:10)" in result.stdout
    assert "Lower the high ends" in result.stdout


def test_a_script_that_fails_is_quoted(folder: Path) -> None:
    found = check_script(Path("train.py"), ["model.activation=gelu"], Wish(seconds=1.0, ramp=None, again=False))
    assert [each.name for each in found.failed] == ["script"]
    assert "KeyError: 'gelu' (train.py:13)" in found.failed[0].sentence
    assert "KeyError" in found.log
    assert len(found.findings) == 3
    assert verdicts(found)["corners"].verdict is Verdict.UNKNOWN


def test_a_metric_that_is_not_reported_and_a_rate_too_high_are_named(folder: Path) -> None:
    wish = Wish(1.0, Ramp(1e-6, 10.0, 60, 1), again=False)
    found = check_script(Path("train.py"), ["optimizer.lr=9", "hydra.sweeper.metric=val_acc"], wish)
    assert {"metric", "learning rate"} <= {each.name for each in found.failed}
    told = verdicts(found)
    assert "improves 'val_acc', but the script reports val_loss" in told["metric"].sentence
    assert "the script's own is 9: too high" in told["learning rate"].sentence
    assert str(told["learning rate"].cure).startswith("Search optimizer.lr: {interval: [")


def test_a_task_is_named_by_its_function(folder: Path) -> None:
    result = CliRunner().invoke(app, ["check", "own.py:task"])
    assert "Targets are numbers" in result.stdout, result.output
    assert "✗" not in result.stdout
    assert result.exit_code == 0
    assert "? corners" in result.stdout


def test_there_must_be_a_script(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no nothing\.py"):
        check_script(Path("nothing.py:task"), [])


@pytest.mark.parametrize(
    "words",
    [
        ["digits.py"],
        ["tabular.py"],
        ["tabular.py", "experiment=diabetes"],
        pytest.param(
            ["mnist.py", f"data.root={MNIST}"], marks=pytest.mark.skipif(not MNIST.exists(), reason="no MNIST here")
        ),
    ],
    ids=lambda words: "-".join(word.partition("=")[2] or word for word in words),
)
def test_the_experiments_are_sound(folder: Path, words: list[str]) -> None:
    script, *overrides = words
    wish = Wish(seconds=5.0, ramp=None)
    found = check_script(ROOT / "experiments" / script, overrides, wish)
    assert not_passed(found) == {}


# ---- before a sweep --------------------------------------------------------------------------------------------------


def sweep(folder: Path, *overrides: str, code: int = 0) -> tuple[str, str]:
    done = forks.script(folder / "train.py", "--multirun", *overrides, folder=folder)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_before_its_first_trial_a_sweep_is_looked_over_once(folder: Path) -> None:
    out, err = sweep(folder, "hydra.sweeper.check=quick")
    assert "Checked in" in out + err
    assert "fail" not in out
    out, err = sweep(folder, "hydra.sweeper.check=quick", "hydra.sweeper.budget=3")
    assert "Checked in" not in out + err


def test_a_sweep_is_not_begun_where_a_corner_raises_unless_one_insists(folder: Path) -> None:
    out, err = sweep(folder, "hydra.sweeper.check=quick", "room=64", code=1)
    assert "no room for 64" in out
    assert "check=false begins all the same" in err
    assert not list((folder / "runs" / "s").glob("0*"))
    out, err = sweep(folder, "room=64")
    assert "Checked in" not in out


def test_what_is_looked_at_is_quick_full_or_nothing() -> None:
    assert [gate.wanted(value) for value in (None, False, True, "quick", "full")] == [
        None,
        None,
        "full",
        "quick",
        "full",
    ]
    with pytest.raises(ConfigError, match="`check` is quick, full or false, but got 'fast'"):
        gate.wanted("fast")


# ---- words -----------------------------------------------------------------------------------------------------------


def lr_check(own_rate: float, searched: tuple[float, float] | None = None, fall: float = 0.9) -> LrCheck:
    """A loss that falls around a rate of 1e-3, to a tenth, and is lost above 1."""
    rates = [rate for rate in geometric(1e-7, 10, 200) if rate < 1.2]
    curve = [(rate, 1 - fall / (1 + 1e-3 / rate) if rate < 0.5 else 1.5) for rate in rates]
    return LrCheck(analyse([curve]), "optimizer.lr", own_rate, searched, (1e-7, 10.0), 3, 1.0, None)


@pytest.mark.parametrize(
    ("found", "verdict", "words"),
    [
        (lr_check(0.01), Verdict.PASSES, "the script's own is 0.01."),
        (lr_check(0.01, (1e-4, 0.1)), Verdict.PASSES, "the searched range [0.0001, 0.1]."),
        (lr_check(100.0), Verdict.FAILS, "100: too high"),
        (lr_check(1e-7), Verdict.UNKNOWN, "1e-7: too low"),
        (lr_check(0.01, (2.0, 9.0)), Verdict.FAILS, "all of the searched range [2, 9] lies above that"),
        (lr_check(0.01, (1e-7, 1e-6)), Verdict.FAILS, "all of the searched range [1e-7, 1e-6] lies below that"),
        (lr_check(0.01, fall=0.0), Verdict.UNKNOWN, "at no rate does the loss 1 fall"),
    ],
)
def test_a_rate_is_judged(found: LrCheck, verdict: Verdict, words: str) -> None:
    told = judged_rate(found)
    assert words in told.sentence
    assert told.verdict is verdict


def printed(drawing: Any) -> str:
    page = Console(width=60, file=io.StringIO())
    page.print(drawing, crop=False)
    return page.file.getvalue()  # type: ignore[attr-defined]


def test_findings_are_drawn_and_before_a_sweep_only_the_failures() -> None:
    found = [
        passes("chance", "The first loss 2.3 is near chance."),
        fails("labels", "Out of range.", "Count from 0.", "they are 10, 11"),
        unknown("split", "Cannot tell: nothing was seen."),
        passes("cost", "About 5 min."),
    ]
    rows = [each.as_row() for each in found]
    assert printed(checkup.drawn(rows)).splitlines() == [
        "✓ chance  The first loss 2.3 is near chance.",
        "✗ labels  Out of range.",
        "          they are 10, 11",
        "          cure: Count from 0.",
        "? split   Cannot tell: nothing was seen.",
        "✓ cost    About 5 min.",
        "",
        "2 of 4 checks pass, 1 fails, 1 cannot tell.",
    ]
    brief = printed(checkup.brief(rows, 3.2)).splitlines()
    assert [line[:10] for line in brief] == ["✗ labels  ", " " * 10, " " * 10, "Checked in", "About 5 mi"]
    assert brief[3].endswith("1 cannot tell. (not split: sweeper check looks longer)")
    assert [Finding.from_row(json.loads(json.dumps(row))) for row in rows] == found


# ---- corners ---------------------------------------------------------------------------------------------------------

SPACE = SearchSpace(
    (
        Float("lr", 1e-4, 1e-2, log=True),
        Int("width", 4, 64),
        Categorical("batch", (64, 16, 32)),
        Categorical("optimizer", ("sgd", "adam", "nadam", "rmsprop"), group=True),
        Float("momentum", 0.5, 0.9, when=(When("optimizer", ("sgd",)),)),
    )
)


def test_corners_hold_the_ends_and_every_choice() -> None:
    ends = corners(SPACE, lambda params: words_of(params, [], SPACE, frozenset()))
    assert [each.place for each in ends] == ["smallest", "largest", "middle", "middle"]
    assert [each.params["optimizer"] for each in ends] == ["sgd", "adam", "nadam", "rmsprop"]
    assert [each.params["batch"] for each in ends] == [16, 64, 32, 32]
    assert [each.params["width"] for each in ends][:2] == [4, 64]
    assert ends[0].words == ("optimizer=sgd", "lr=0.0001", "width=4", "batch=16", "momentum=0.5")
    assert "momentum" not in ends[1].params
    for each in ends:
        SPACE.validate(each.params)


def result(place: str = "middle", **more: Any) -> dict[str, Any]:
    ran = {"error": None, "steps": 9, "epoch_seconds": 2.0, "step_seconds": 0.1, "epoch_steps": None}
    corner = {"place": place, "params": {"width": 4}, "words": []}
    return {"corner": corner, **ran, "memory_bytes": 10**9, "memory_total": 8 * 10**9, **more}


def test_workers_that_do_not_fit_together_are_noticed() -> None:
    assert judged([result()], slots(8, gpus=[])).verdict is Verdict.PASSES
    crowded = judged([result("smallest", memory_bytes=10), result("largest")], slots(9, gpus=[]))
    assert crowded.verdict is Verdict.FAILS
    assert crowded.problems == ("9 × 1 GB of the largest on this machine, which has 8 GB: width=4",)
    one_gpu = judged([result(gpu_bytes=30 * 10**9, gpu_total=40 * 10**9)], slots(2, gpus=[]))
    assert one_gpu.verdict is Verdict.FAILS
    assert judged([], slots(1, gpus=[])).verdict is Verdict.UNKNOWN
    assert judged([result(steps=0)], slots(1, gpus=[])).verdict is Verdict.UNKNOWN


# ---- cost ------------------------------------------------------------------------------------------------------------


def test_the_cost_lies_between_the_corners() -> None:
    plan = make_plan("random", epochs=10)
    measured = [result("smallest", epoch_seconds=1.0), result("largest", epoch_seconds=4.0), result()]
    found = cost(measured, plan, 20, 4)
    assert found.numbers["epochs"] == 200
    assert found.numbers["least_seconds"] == 50.0
    assert found.numbers["most_seconds"] == 200.0
    assert found.numbers["seconds"] == pytest.approx(200 * (1 + 4 * 2 + 4) / 6 / 4)
    assert "200 epochs by 4 workers" in found.sentence


def test_a_long_epoch_is_counted_in_steps_and_an_unknown_one_not_at_all() -> None:
    plan = make_plan("random", epochs=10)
    long = result(epoch_seconds=None, epoch_steps=600)
    assert cost([long], plan, 1, 1).numbers["seconds"] == pytest.approx(600.0)
    assert "without its validation" in cost([long], plan, 1, 1).sentence
    assert cost([result(epoch_seconds=None)], plan, 1, 1).verdict is Verdict.UNKNOWN
    assert cost([result()], make_plan("random"), 1, 1).verdict is Verdict.UNKNOWN


def test_a_stopwatch_ends_with_its_epochs_or_its_time() -> None:
    watch = Stopwatch(seconds=60.0)
    for _ in range(EPOCHS - 1):
        watch.epoch_ended(0.01)
    with pytest.raises(SurveyDone):
        watch.epoch_ended(0.01)
    late = Stopwatch(seconds=0.0)
    late.after_step(None)
    with pytest.raises(SurveyDone):
        late.after_step(None)
    assert late.step_seconds is not None
