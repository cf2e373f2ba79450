"""`--where`: what it means, that nothing of it is run, and what it says of what it cannot read."""

from __future__ import annotations

import contextlib
import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.analysis import condition, places
from sweeper.analysis.condition import column, names_in, rows_where
from sweeper.report.terminal import comparison
from sweeper.words.errors import ConfigError

COLUMNS = {
    "number": [0, 1, 2, 3],
    "state": ["COMPLETE", "FAIL", "COMPLETE", "RUNNING"],
    "failure": [None, "diverged", None, None],
    "value": [0.5, None, 0.25, 0.75],
    "epochs_done": [4, 1, 4, 2],
    "params.optimizer.lr": [1e-4, 1e-1, 1e-3, 1e-2],
    "params.optimizer": ["sgd", "adam", "adam", "nadam"],
    "params.model.depth": [1, 2, 3, 4],
    "params.encoder.depth": [1, 1, 1, 1],
    "params.period": [3, None, None, 4],
    "params.nesterov": [True, False, None, True],
    "params.weight-decay/l2": [0.1, 0.2, 0.3, 0.4],
    "params.mixed": [1, "a", True, 2.5],
    "params.betas": [[0.9, 0.99], [0.9, 0.999], [0.9, 0.99], None],
    "metrics.val_loss": [0.5, None, 0.25, 0.75],
    "metrics.train_loss": [0.1, None, 0.25, 0.0],
    "finished": [1_700_000_000.0, 1_700_000_100.0, 1_800_000_000.0, None],
}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("params.optimizer.lr < 1e-2", [0, 2]),
        ("lr < 1e-2", [0, 2]),
        ("1e-4 < lr <= 1e-2", [2, 3]),
        ("trial == 2", [2]),
        ("epochs >= 4 and optimizer == 'adam'", [2]),
        ("lr >= 1e-1 or not state == 'COMPLETE'", [1, 3]),
        ("optimizer in ('adam', 'sgd')", [0, 1, 2]),
        ("optimizer not in ['adam']", [0, 3]),
        ("'adam' in optimizer", [1, 2, 3]),
        ("model.depth in {1, 4.0}", [0, 3]),
        ("value > -1", [0, 2, 3]),
        ("-value < -0.4", [0, 3]),
        ("val_loss - train_loss > 0.3", [0, 3]),
        ("val_loss / train_loss > 1", [0]),
        ("2 * (value + 1) == 3", [0]),
        ("nesterov", [0, 3]),
        ("not nesterov", [1, 2]),
        ("nesterov == true", [0, 3]),
        ("nesterov == False", [1]),
        ("`weight-decay/l2` > 0.25 and `params.weight-decay/l2` < 0.35", [2]),
        ("finished > '2023-11-14T22:14:00'", [1, 2]),
        ("finished > '2023-11-14T23:14:00+01:00'", [1, 2]),
        ("finished < '2023-11-15'", [0, 1]),
        ("mixed == 'a' or mixed > 2", [1, 3]),
        ("betas == [0.9, 0.99]", [0, 2]),
        ('state == "FAIL"', [1]),
        (" state == 'FAIL' ", [1]),
    ],
)
def test_a_condition_holds(text, rows):
    assert rows_where(text, COLUMNS) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("period < 4", [0]),
        ("period >= 4", [3]),
        ("period == None", [1, 2]),
        ("period is not null", [0, 3]),
        ("period != 3", [1, 2, 3]),
        ("failure != 'diverged'", [0, 2, 3]),
        ("period + 1 > 0", [0, 3]),
        ("'div' in failure", [1]),
        ("finished is None", [3]),
    ],
)
def test_what_is_missing_equals_nothing_but_none(text, rows):
    assert rows_where(text, COLUMNS) == rows


def test_without_trials_nothing_is_of_a_wrong_kind():
    assert rows_where("lr < 1 and optimizer == 3 and nesterov", {name: [] for name in COLUMNS}) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr = 3", "`==` compares"),
        ("lr < 1 & value < 1", r"kind|and"),
        ("lr <", "cannot be read"),
        ("", "cannot be read"),
        ("(" * 300 + "lr" + ")" * 300 + " < 1", "cannot be read"),
        ("x" * 3000, "2000 letters"),
        ("learning_rate < 1", r"learning_rate is of none.*params\.optimizer\.lr"),
        ("state == COMPLETE", "text stands in quotes: 'COMPLETE'"),
        ("depth == 1", r"params\.model\.depth, params\.encoder\.depth: write it in full"),
        ("state < 3", "state is text and 3 is a number"),
        ("model.depth == '2'", "is a number and '2' is text"),
        ("model.depth in (1, '2')", "compare like with like"),
        ("nesterov == 1", "true or false"),
        ("lr", "compare it with something"),
        ("lr and value", "compare it with something"),
        ("lr is 3", "write =="),
        ("3 in lr", "is a number: write"),
        ("optimizer + 1 > 2", "Only numbers are reckoned with"),
        ("-optimizer > 2", "Only numbers are reckoned with"),
        ("finished > 'yesterday'", "ISO 8601"),
        ("finished > 3", "like with like"),
    ],
)
def test_what_is_refused_says_why(text, said):
    with pytest.raises(ConfigError, match=said):
        rows_where(text, COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch here')",
        "open('here', 'w') == 1",
        "lr.__class__ == 1",
        "().__class__ == 1",
        "[x for x in (1, 2)] == 1",
        "(lambda: 1)() == 1",
        "(lr := 3) == 3",
        "f'{lr}' == 'x'",
        "state[0] == 'C'",
        "10 ** 10 ** 10 > lr",
        "lr if value else 3",
        "1 << 99 > lr",
        "'a' * 10 == 'b'",
        "b'x' == lr",
        "1j == lr",
        "... == lr",
        "import os",
        "lr < 1; lr > 2",
        "lr < 1\x00",
    ],
)
def test_nothing_is_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        rows_where(text, COLUMNS)
    assert not list(tmp_path.iterdir())


@given(st.text(alphabet="lrvaue01.<>=!()[]{}'\"` +-*/%&|~@:,#\\\nnotandioN", max_size=40))
def test_whatever_is_typed_is_answered_or_refused(text):
    with contextlib.suppress(ConfigError):
        assert set(rows_where(text, COLUMNS)) <= {0, 1, 2, 3}


@pytest.mark.parametrize("text", ["not " * 480 + "nesterov", "-" * 1900 + "lr < 1", "lr < 1" + " and lr < 1" * 150])
def test_a_deep_one_too(text):
    with contextlib.suppress(ConfigError):
        assert set(rows_where(text, COLUMNS)) <= {0, 1, 2, 3}


def test_names():
    assert names_in("lr < 1 and value < 2 or lr > 3", COLUMNS) == ["params.optimizer.lr", "value"]
    assert column("val_loss", COLUMNS) == "metrics.val_loss"
    assert column("optimizer", COLUMNS) == "params.optimizer"


@pytest.mark.parametrize("module", [condition, places, comparison])
def test_the_examples_hold(module):
    assert doctest.testmod(module).failed == 0
