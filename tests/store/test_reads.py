"""What people and workers ask of a store."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from sweeper.store import claims, fenced, reads, schema, totals, writes
from sweeper.words.errors import StoreError
from sweeper.words.records import Direction, EpochReport, Failure, StudyRecord, TrialState


@pytest.fixture
def study(store, begin):
    return begin(store, budget=10)


@pytest.fixture
def train(store, study, worker, take):
    """`train(0.5)`: one trial from claim to result; None: it fails."""

    def train_one(value, failure=None, seconds=1.0):
        lease = take(store, study, worker)
        fenced.set_params(store, lease, {"x": 0.5})
        if value is not None:
            fenced.report(store, lease, EpochReport(lease.number, 0, {"val_loss": value}, seconds), value)
        state = TrialState.FAIL if failure else TrialState.COMPLETE
        fenced.finish(store, lease, state, value=value, failure=failure, message=failure and "no", seconds=seconds)
        return lease.number

    return train_one


# ---- studies ---------------------------------------------------------------------------------------------------------


def test_without_a_name_it_is_the_newest_study(store, begin):
    for name in ("first", "second", "third"):
        begin(store, name=name)
    assert reads.study(store).name == "third"
    assert reads.study(store, "first").name == "first"
    assert reads.study_names(store) == ["third", "second", "first"]


def test_an_unknown_name_is_told_with_those_that_there_are(store, begin):
    begin(store, name="first")
    begin(store, name="second")
    with pytest.raises(StoreError, match=r"no study '?third'? in .*sweeper\.db; it holds: second, first") as caught:
        reads.study(store, "third")
    assert "\n" not in str(caught.value)
    assert reads.find_study(store, "third") is None


def test_a_store_without_a_study_says_so(store):
    with pytest.raises(StoreError, match="no study yet") as caught:
        reads.study(store)
    assert "  " not in str(caught.value)


def test_a_study_is_read_as_it_was_written(store, begin, settings):
    asked = settings(epochs=5, budget=2.5, seed=7, direction=Direction.MAXIMIZE, config={"fixed": ["a=1"]})
    begin(store, epochs=5, budget=2.5, seed=7, direction=Direction.MAXIMIZE, config={"fixed": ["a=1"]})
    found = reads.study(store)
    assert isinstance(found, StudyRecord)
    assert (found.metric, found.direction, found.seed) == ("val_loss", Direction.MAXIMIZE, 7)
    assert (found.budget, found.full_epochs, found.budget_epochs, found.granted_epochs) == (2.5, 5, 12, 0)
    assert found.space == asked.space.to_json()
    assert found.config == {"fixed": ["a=1"]}
    (stage,) = reads.stage_rows(store, found.id)
    assert (stage["stage"], stage["name"], stage["epochs"], stage["sampler"]) == (0, "search", 5, "random")


# ---- trials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "order"), [("minimize", [1, 3, 2, 0]), ("maximize", [0, 2, 1, 3])])
def test_the_best_come_first_and_of_equals_the_earlier(store, study, train, direction, order):
    with store.write() as connection:
        connection.execute(schema.studies.update().values(direction=direction))
    for value in (0.3, 0.1, 0.2, 0.1):
        train(value)
    train(0.0, failure=Failure.ERROR)
    study = reads.study(store)
    assert [record.number for record in reads.best(store, study, 10)] == order
    assert [record.number for record in reads.best(store, study)] == order[:1]


def test_a_running_trial_is_not_the_best(store, study, worker, take):
    lease = take(store, study, worker)
    fenced.report(store, lease, EpochReport(0, 0, {"val_loss": 0.0}, 1.0), 0.0)
    assert reads.best(store, study) == []


def asked_of(store, question):
    """The SELECT statements that `question()` sends, each with SQLite's plan for it."""
    sent = []

    def note(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    sa.event.listen(store._engine, "before_cursor_execute", note)
    question()
    sa.event.remove(store._engine, "before_cursor_execute", note)
    with store.read() as connection:
        return {
            text: [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            for text, values in sent
        }


@pytest.mark.parametrize("question", ["best", "counts", "claim"])
def test_questions_that_come_often_use_an_index(store, study, hire, question):
    """By the primary key they would read every trial of the study: at 20,000 a claim would take ten times as long."""
    worker = hire(store, study)
    ask = {
        "best": lambda: reads.best(store, study, 5),
        "counts": lambda: totals.counts(store, study.id),
        "claim": lambda: claims.claim(store, study.id, worker),
    }[question]
    plans = {text: steps for text, steps in asked_of(store, ask).items() if "FROM trials" in text}
    ways = [step for steps in plans.values() for step in steps if "trials" in step]
    assert ways
    assert [step for step in ways if "ix_trials_" not in step] == []


def test_the_trial_of_a_number_comes_with_its_worker(store, study, train):
    train(0.5)
    found = reads.trial(store, study.id, 0)
    assert (found["number"], found["state"], found["value"], found["device"]) == (0, "COMPLETE", 0.5, "cpu")


def test_an_unknown_number_is_told_with_those_that_there_are(store, study, train):
    train(0.5)
    train(0.5)
    with pytest.raises(StoreError, match=r"0\.\.1, but got 2"):
        reads.trial(store, study.id, 2)


def test_an_unknown_number_of_an_empty_study_is_told_too(store, study):
    with pytest.raises(StoreError) as caught:
        reads.trial(store, study.id, 0)
    assert "0..-1" not in str(caught.value)


def test_trials_by_state(store, study, worker, train, take):
    train(0.5)
    train(None, failure=Failure.ERROR)
    take(store, study, worker)
    assert [record.number for record in reads.all_trials(store, study.id)] == [0, 1, 2]
    assert [record.number for record in reads.all_trials(store, study.id, [TrialState.FAIL])] == [1]
    assert totals.counts(store, study.id) == {TrialState.COMPLETE: 1, TrialState.FAIL: 1, TrialState.RUNNING: 1}


def test_a_record_is_typed(store, study, train):
    train(None, failure=Failure.DIVERGED)
    (record,) = reads.all_trials(store, study.id)
    assert record.state is TrialState.FAIL
    assert record.failure is Failure.DIVERGED
    assert record.metrics == {}


def test_failures_come_in_the_order_of_their_ends(store, study, worker, take):
    """Also within a millisecond: SQLite's clock has no finer steps."""
    late, early = take(store, study, worker), take(store, study, worker)
    for lease in (early, late):
        fenced.finish(store, lease, TrialState.FAIL, failure=Failure.ERROR, message=f"no {lease.number}")
    with store.write() as connection:
        connection.execute(schema.trials.update().values(finished=1.0))
    assert [row["number"] for row in reads.failures(store, study.id)] == [1, 0]


def test_failures_are_counted_by_reason(store, study, train):
    for failure in (Failure.ERROR, Failure.DIVERGED, Failure.ERROR):
        train(None, failure=failure)
    assert totals.failure_counts(store, study.id) == {Failure.ERROR: 2, Failure.DIVERGED: 1}


def test_epochs_come_by_trial_and_epoch(store, study, worker, take):
    leases = [take(store, study, worker) for _ in range(2)]
    for epoch in (0, 1):
        for lease in reversed(leases):
            fenced.report(store, lease, EpochReport(lease.number, epoch, {"val_loss": 0.5}, 1.5), 0.5)
    assert [(each.number, each.epoch) for each in reads.epoch_reports(store, study.id)] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    assert [each.number for each in reads.epoch_reports(store, study.id, 1)] == [1, 1]


# ---- a running study -------------------------------------------------------------------------------------------------


def test_what_runs_and_what_ended_last(store, study, worker, train, take):
    for value in (0.3, 0.2, 0.1):
        train(value, seconds=2.0)
    take(store, study, worker)
    assert [row["number"] for row in reads.running_trials(store, study.id)] == [3]
    assert reads.running_trials(store, study.id)[0]["device"] == "cpu"
    assert [record.number for record in reads.latest_finished(store, study.id, 2)] == [2, 1]
    assert totals.seconds_per_trial(store, study.id) == [2.0] * 3
    assert totals.total_seconds(store, study.id) == 6.0


def test_workers_that_live(store, study, hire):
    one, other = hire(store, study), hire(store, study)
    claims.end_worker(store, one, "left")
    assert [row["id"] for row in reads.worker_rows(store, study.id, alive=True)] == [other]
    assert [row["ending"] for row in reads.worker_rows(store, study.id)] == ["left", None]


def test_events_come_in_order(store, study):
    for message in ("one", "two"):
        writes.add_event(store, study.id, "note", message)
    assert [row["message"] for row in reads.event_rows(store, study.id)][-2:] == ["one", "two"]


def test_questions_change_nothing(store, study, train):
    train(0.5)
    before = store.path.read_bytes()
    reads.best(store, study)
    totals.counts(store, study.id)
    reads.trial(store, study.id, 0)
    assert store.path.read_bytes() == before
