from __future__ import annotations

import csv
import doctest
import io

import pytest
from rich.console import Console

from sweeper.analysis import columns
from sweeper.report import formats
from sweeper.report.terminal import tables
from sweeper.words import numbers


@pytest.mark.parametrize("module", [numbers, tables, columns])
def test_examples(module) -> None:
    assert doctest.testmod(module).failed == 0


def drawn(renderable, width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(renderable)
    return stream.getvalue().splitlines()


def trial(number: int, **params) -> dict:
    head = {"number": number, "state": "COMPLETE", "failure": None, "value": 0.123456, "epochs_done": 3, "seconds": 1.0}
    metrics = {
        "metrics.val_loss": 0.123456,
        "metrics.train_loss": 0.1,
        "metrics.speed": 3.0,
        "metrics.val_accuracy": 0.9,
    }
    return {**head, **{f"params.{name}": value for name, value in params.items()}, **metrics}


def test_cells_have_short_headers_and_three_digits() -> None:
    rows = [trial(1, **{"a.lr": 1.23456e-5, "a.on": True}), trial(2, **{"a.lr": None, "a.on": False})]
    cells = tables.trial_cells(rows, "val_loss", states=False)
    assert cells[0] == {
        "trial": "1", "val_loss": "0.123", "val_accuracy": "0.900", "speed": "3.00", "lr": "1.23e-5", "on": "true"
    }  # fmt: skip
    assert cells[1]["lr"] == "-"


def test_what_cannot_vary_has_no_column() -> None:
    rows = [trial(1, lr=0.1, fixed="x", absent=None)]
    assert {"fixed", "absent"} & tables.trial_cells(rows, "val_loss", {"fixed"}, states=False)[0].keys() == set()


def test_a_parameter_named_like_a_column_keeps_its_full_name() -> None:
    cells = tables.trial_cells([trial(1, **{"trainer.epochs": 4})], "val_loss", states=True)
    assert cells[0]["trainer.epochs"] == "4"
    assert cells[0]["epochs"] == "3"


def test_what_watches_the_training_has_a_column_only_where_it_is_asked_for() -> None:
    row = {**trial(1), "metrics.monitor/lr": 0.01, "metrics.grad_norm/net.0": 2.0}
    cells = tables.trial_cells([row], "val_loss", states=True)
    assert not [name for name in cells[0] if "/" in name]
    (asked,) = tables.trial_cells([row], "val_loss", states=True, also=["metrics.monitor/lr"])
    assert asked["monitor/lr"] == "0.01"
    (own,) = tables.trial_cells([row], "val/loss", states=True)
    assert "val/loss" in own


def test_a_trial_that_runs_has_no_seconds_yet() -> None:
    (cells,) = tables.trial_cells([{**trial(1), "state": "RUNNING", "seconds": 0.0}], "val_loss", states=True)
    assert cells["seconds"] == "-"


def wide(count: int) -> list[dict[str, str]]:
    names = [f"some_long_parameter_{index}" for index in range(8)]
    return [{"trial": str(number), **dict.fromkeys(names, "0.123")} for number in range(count)]


@pytest.mark.parametrize("width", [40, 80, 120, 300])
@pytest.mark.parametrize("count", [1, 5, 20])
def test_no_table_is_wider_than_its_page(width: int, count: int) -> None:
    lines = drawn(tables.fitted(wide(count), width), width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)


def test_a_short_table_is_turned_and_a_long_one_cut_with_a_word() -> None:
    turned = drawn(tables.fitted(wide(5), 60), 60)
    assert turned[0].split() == ["trial", "0", "1", "2", "3", "4"]
    assert len(turned) == 10
    cut = " ".join(drawn(tables.fitted(wide(20), 60), 60))
    assert "left out for want of room" in cut
    assert "some_long_parameter_7" in cut


def test_csv_parses_back() -> None:
    text = formats.as_csv([{"a": 0.1 + 0.2, "b": None, "c": ["x", 1], "d": 'quo"te,\n'}], ["a", "b", "c", "d"])
    (row,) = csv.DictReader(io.StringIO(text))
    assert row == {"a": "0.30000000000000004", "b": "", "c": '["x", 1]', "d": 'quo"te,\n'}


def test_a_pipe_has_no_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert tables.page(io.StringIO()).width == tables.UNBOUNDED
    monkeypatch.setenv("COLUMNS", "90")
    assert tables.page(io.StringIO()).width == 90


def test_a_curve_that_falls_at_once_is_not_flat_and_one_that_rises_is_as_it_is() -> None:
    falling = [1.0, 0.2, 0.15, 0.12, 0.11, 0.1, 0.1, 0.1]
    assert numbers.sparkline(falling) == "█▃▂▂▁▁▁▁"
    rising = [0.1, 0.5, 0.9, 0.95, 0.97, 0.98]
    assert numbers.sparkline(rising) == "▁▄▇███"
    assert numbers.sparkline([-1.0, 0.0, 1.0]) == "▁▅█"
    assert numbers.sparkline([]) == ""
    assert numbers.sparkline([None, float("inf")]) == " ×"
