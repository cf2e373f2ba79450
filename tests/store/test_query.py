"""A person's own SQL: it is answered on each backend, and changes nothing."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from sweeper.store import fenced, query, reads
from sweeper.words.errors import StoreError
from sweeper.words.records import EpochReport, TrialState


@pytest.fixture
def asked(any_store, begin, hire, take):
    """A store with one complete trial."""
    study = begin(any_store)
    lease = take(any_store, study, hire(any_store, study))
    fenced.set_params(any_store, lease, {"x": 0.25})
    fenced.report(any_store, lease, EpochReport(0, 0, {"val_loss": 0.5}, 1.5), 0.5)
    fenced.finish(any_store, lease, TrialState.COMPLETE, value=0.5, seconds=1.5)
    return any_store


def test_a_query_gives_columns_and_rows(asked):
    columns, rows = query.select(asked, "select number, value, params, study from v_trials")
    assert columns == ["number", "value", "params", "study"]
    assert rows == [{"number": 0, "value": 0.5, "params": {"x": 0.25}, "study": "demo"}]


@pytest.mark.parametrize("view", ["v_trials", "v_epochs", "v_best"])
def test_every_view_can_be_asked(asked, view):
    columns, rows = query.select(asked, f"select * from {view}")
    told = {row["view"]: row["columns"].split(", ") for row in query.views(asked)}
    assert columns == told[view]
    assert len(rows) == 1


@pytest.mark.parametrize(
    "text",
    ["  SELECT 1 AS a", "-- why\nselect 1 as a", "/* x */ select 1 as a", "with t as (select 1 as a) select * from t"],
)
def test_what_begins_a_query(asked, text):
    assert query.select(asked, text) == (["a"], [{"a": 1}])


@pytest.mark.parametrize(
    "text",
    [
        "delete from trials",
        "",
        "drop table trials",
        "pragma journal_mode=delete",
        "attach 'other.db' as other",
        "set transaction read write",
        "commit",
        "with gone as (delete from trials returning *) select * from gone",
        "with gone as (select 1) delete from trials",
        "select 1; delete from trials",
        "select 1; commit; delete from trials",
        "explain analyze delete from trials",
        "select load_extension('x')",
        "select set_config('transaction_read_only', 'off', false)",
        "select * from pragma_journal_mode('delete')",
        "select * from trials for update",
    ],
)
def test_nothing_is_changed(asked, text):
    with pytest.raises(StoreError, match=r"only asks|cannot be run"):
        query.select(asked, text)
    assert reads.trial(asked, 1, 0)["state"] == "COMPLETE"


def test_the_connection_itself_cannot_write(asked, monkeypatch):
    """Also where a statement would get past the first word and past SQLite's authorizer."""
    monkeypatch.setattr(query, "QUERY", query.re.compile(""))
    monkeypatch.setattr(query.sqlite3, "SQLITE_DENY", query.sqlite3.SQLITE_OK)
    with pytest.raises(StoreError, match=r"read-?only"):
        query.select(asked, "delete from trials")
    assert reads.trial(asked, 1, 0)["state"] == "COMPLETE"


def test_an_error_names_the_views(asked):
    with pytest.raises(StoreError, match=r"lod.*Views: v_trials \(study, number, state"):
        query.select(asked, "select lod from v_trials")


def test_columns_of_one_name_are_told_apart(asked):
    assert query.select(asked, "select 1 as a, 2 as a, 3 as a")[0] == ["a", "a_2", "a_3"]


def test_a_percent_sign_and_a_colon_are_themselves(asked):
    assert query.select(asked, "select '100%s :x' as a") == (["a"], [{"a": "100%s :x"}])


def test_what_json_cannot_say_is_text(asked):
    if asked.path is None:
        _, (row,) = query.select(
            asked, "select 'inf'::float8 as a, now() as b, 1.5::numeric as c, '\\x00ff'::bytea as d"
        )
        assert row["b"].startswith("20")
        del row["b"]
    else:
        _, (row,) = query.select(asked, "select 9e999 as a, 1.5 as c, x'00ff' as d")
    assert row == {"a": "inf", "c": 1.5, "d": "00ff"}


def test_nothing_is_left_beside_the_file(store):
    query.select(store, "select 1")
    store.close()
    assert [each.name for each in store.path.parent.iterdir()] == [store.path.name]


def test_ctrl_c_ends_a_query_that_takes_long(store):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    endless = "with recursive t(n) as (select 1 union all select n + 1 from t) select count(*) from t"
    with pytest.raises((KeyboardInterrupt, StoreError)):
        query.select(store, endless)
