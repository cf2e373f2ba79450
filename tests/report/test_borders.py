from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import filling
from sweeper.report.formats import as_csv, as_json
from sweeper.report.terminal import borders, tables
from sweeper.search.verdict import BorderKind, Verdict
from sweeper.store import corrections

CROWDED = Verdict(
    "optimizer.lr", BorderKind.UPPER, "upper", 1e-5, 0.1, (1e-5, 10.0), 0.0971, 0.99, 5, 4, 0.5, 2e-5, 40, scale="log"
)
INSIDE = Verdict("dropout", BorderKind.INSIDE, None, 0.0, 0.7, None, 0.2, 0.29, 5, 0, 0.5, 0.4, 40)
FEW = Verdict("momentum", BorderKind.FEW, None, 0.5, 0.99, best=0.9, position=0.82, trials=6)
LIMIT = Verdict("depth", BorderKind.LIMIT, "upper", 1, 5, None, 5, 0.9, 5, 5, 1.0, 1e-4, 40)
UNSTABLE = Verdict("rate", BorderKind.DIVERGENCE, "upper", 0.1, 1.0, None, 0.9, 0.9, 5, 3, 0.5, 1e-4, 40, 3, 7)
ORDERED = Verdict("batch", BorderKind.LOWER, "lower", 16, 128, None, 16, 0.125, 5, 5, 1.0, 1e-4, 40, scale="choices")
DOUBT = Verdict("decay", BorderKind.FEW, "upper", 1e-6, 0.01, None, 0.009, 0.99, 5, 5, 3.5, 0.03, 23, scale="log")
ALL = [CROWDED, INSIDE, FEW, LIMIT, UNSTABLE, ORDERED]


@pytest.fixture(autouse=True)
def a_pipe_without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def page(found: list[Verdict], width: int = 200) -> str:
    stream = io.StringIO()
    tables.page(stream).print(borders.draw(found, width))
    return stream.getvalue()


def test_rows_are_flat_under_their_columns_and_fit_every_format() -> None:
    rows = borders.collect(ALL)
    assert [row["verdict"] for row in rows] == ["upper", "inside", "few", "limit", "divergence", "lower"]
    assert all(tuple(row) == borders.COLUMNS for row in rows)
    assert (rows[0]["widen_low"], rows[0]["widen_high"], rows[1]["widen_high"]) == (1e-5, 10.0, None)
    assert json.loads(as_json(rows))[0]["sentence"] == CROWDED.sentence
    assert next(csv.DictReader(io.StringIO(as_csv(rows, borders.COLUMNS))))["p_value"] == "2e-05"


def test_the_page_has_the_numbers_and_a_sentence_for_what_is_not_simply_right() -> None:
    text = page(ALL)
    table = text.partition("•")[0]
    for word in (
        "upper edge",
        "inside",
        "too few trials",
        "hard limit",
        "divergence",
        "lower edge",
        "4 of 5",
        "3 of 7",
    ):
        assert word in table
    assert text.count("•") == 4
    assert f"• {CROWDED.sentence}" in text
    assert "• batch crowds its first choice, 16: add choices below it." in text


def test_where_all_is_right_the_page_says_so() -> None:
    assert "The best trials crowd no edge of a range.\n" in page([INSIDE])
    assert "crowd no edge of a range. Of 1 there are too few trials to say." in page([INSIDE, FEW])
    assert "Too few trials to say (6 trials with a value, 10 are needed).\n" in page([FEW])
    assert "No parameter has a range" in page([])


def test_the_best_at_an_edge_with_too_few_trials_elsewhere_are_told_of() -> None:
    text = page([INSIDE, DOUBT])
    assert "too few trials, upper edge" in text
    assert f"• {DOUBT.sentence}" in text
    assert "5 of 5" in text
    assert page([INSIDE, FEW]).count("•") == 0


def test_a_narrow_terminal_gets_no_wider_table() -> None:
    table = page([INSIDE, CROWDED], 40).split("•")[0]
    assert max(map(len, table.splitlines())) <= 40
    assert "left out" not in page(ALL, 120)


def test_a_sweep_ends_with_what_a_person_ought_to_read() -> None:
    assert borders.last_words(ALL) == [found.sentence for found in (CROWDED, LIMIT, UNSTABLE, ORDERED)]
    assert borders.last_words([INSIDE, FEW]) == []
    assert borders.last_words([INSIDE, DOUBT, CROWDED]) == [
        CROWDED.sentence,
        "most of the best lie at an edge of decay (upper), but there are too few trials elsewhere to say more",
    ]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Twelve trials, the larger the rate the better."""
    monkeypatch.chdir(tmp_path)
    store, study_id = filling.study(f"sqlite:///{tmp_path / 'sweeper.db'}", budget=20)
    hand = filling.worker(store, study_id)
    for number in range(12):
        filling.complete(store, study_id, hand, 1.0 - number / 20)
    return store


def test_a_study_is_judged_by_its_store(store) -> None:
    study = filling.record(store)
    found = borders.judge(store, study)
    assert [each.parameter for each in found] == ["optimizer.lr", "model.depth", "optimizer.period"]
    assert [each.trials for each in found] == [12, 12, 6]
    assert found[0].best == pytest.approx(0.001234567 * 12)
    assert found[2].kind is BorderKind.FEW


def test_hidden_trials_do_not_count(store) -> None:
    study = filling.record(store)
    corrections.hide(store, study.id, [11], "wrong data")
    assert borders.judge(store, study)[0].best == pytest.approx(0.001234567 * 11)
