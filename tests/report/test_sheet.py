from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

import filling
from sweeper.analysis import sheet
from sweeper.report.terminal import sheet as drawn
from sweeper.store import fenced
from sweeper.words.records import EpochReport

LAYERS = [f"grad_norm/encoder.blocks.{index}.attention" for index in range(20)]


@pytest.fixture
def trial(tmp_path: Path) -> dict:
    """One that is watched, as JSON says it."""
    store, study_id = filling.study(f"sqlite:///{tmp_path / 'sweeper.db'}")
    lease = filling.begin(store, study_id, filling.worker(store, study_id), 0, 0.4)
    for epoch in range(3):
        watched = {"val_loss": 1.0 / (epoch + 1), "monitor/lr": 0.01, **dict.fromkeys(LAYERS, float(epoch))}
        fenced.report(store, lease, EpochReport(0, epoch, watched, 0.25), watched["val_loss"])
    return sheet.collect(store, filling.record(store), 0)


@pytest.mark.parametrize("width", [80, 160])
def test_monitors_are_curves_apart_from_the_table_of_epochs(trial: dict, width: int) -> None:
    page = Console(file=io.StringIO(), width=width)
    page.print(drawn.draw(trial, width))
    lines = [line.rstrip() for line in page.file.getvalue().splitlines()]
    heading = next(line for line in lines if line.startswith("epoch "))
    assert heading.split() == ["epoch", "val_loss", "seconds"]
    apart = lines[lines.index("monitors") + 1 :]
    assert apart[0].split() == ["monitor/lr", "▁▁▁", "0.0100", "→", "0.0100"]
    assert len([line for line in apart if line.startswith("grad_norm/")]) == len(LAYERS)
    assert max(map(len, lines[lines.index("epochs") :])) <= max(width, *(len(line) for line in lines if "SEED" in line))


def test_data_hold_every_metric(trial: dict) -> None:
    assert f"metrics.{LAYERS[-1]}" in trial["epochs"][0]
    assert "metrics.monitor/lr" in trial["epochs"][0]
