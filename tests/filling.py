"""Stores to ask: a study of 20 epochs a trial, written as its workers would."""

from __future__ import annotations

import json
import os

import sqlalchemy as sa

from sweeper.store import breaker, claims, fenced, process, reads, schema, writes
from sweeper.store.connection import Store
from sweeper.words.records import EpochReport, Failure, Lease, TrialState

SPACE = [
    {"type": "float", "name": "optimizer.lr", "low": 1e-5, "high": 0.1, "log": True, "limits": [1e-7, 10]},
    {"type": "int", "name": "model.depth", "low": 1, "high": 4},
    {"type": "categorical", "name": "model.activation", "choices": ["relu", "tanh"]},
    {"type": "categorical", "name": "optimizer", "choices": ["sgd", "adam"], "group": True},
    {
        "type": "int",
        "name": "optimizer.period",
        "low": 1,
        "high": 9,
        "when": [{"parameter": "optimizer", "values": ["sgd"]}],
    },
]
CONFIG = {
    "variants": [{"choices": {"optimizer": "sgd"}, "yaml": "epochs: 20\nseed: 0\n"}],
    "fixed": ["data=digits", "seed=3"],
    "added": [],
    "script": {"path": "train it.py", "text": ""},
}


def study(url: str, name: str = "digits", *, budget: int = 8, epochs: int = 4, **more) -> tuple[Store, int]:
    """An open study without trials."""
    store = Store(url, create=True)
    definition = {
        "name": name,
        "metric": "val_loss",
        "direction": "minimize",
        "seed": 0,
        "folder": f"runs/{name}",
        "space": SPACE,
        "plan": {"search": "random", "stages": [{"name": "search", "sampler": "random", "epochs": epochs}]},
        "config": CONFIG,
        "budget": budget,
        "full_epochs": epochs,
        "budget_epochs": budget * epochs,
    }
    return store, writes.create_study(store, {**definition, **more}, [])


def worker(store: Store, study_id: int, log: str | None = None, engine: str = "local") -> int:
    """A worker that lives as long as this process."""
    return claims.add_worker(
        store,
        study_id,
        host=process.host(),
        pid=os.getpid(),
        process_started=process.start_time(os.getpid()),
        device="cpu",
        engine=engine,
        log=log,
    )


def pause_device(store: Store, study_id: int, device: str, message: str) -> None:
    """As after three failures in a row there."""
    row = {"failures": 3, "numbers": [], "cause": message, "pauses": 1, "message": message}
    with store.write() as connection:
        until = schema.now() + breaker.PAUSE_SECONDS
        insert = schema.failing_devices.insert()
        connection.execute(insert.values(study_id=study_id, device=device, paused_until=until, **row))


def params(number: int) -> dict:
    made = {"optimizer.lr": 0.001234567 * (number + 1), "model.depth": 1 + number % 4, "model.activation": "relu"}
    return {**made, "optimizer": "adam"} if number % 2 else {**made, "optimizer": "sgd", "optimizer.period": 3}


def begin(store: Store, study_id: int, worker_id: int, epochs: int, loss: float, grant: int = 4) -> Lease:
    """Claim a trial and report so many epochs of it, down to `loss`."""
    record = claims.claim(store, study_id, worker_id, grant_epochs=grant)
    lease = Lease(study_id, record.number, record.attempt, worker_id)
    fenced.set_params(store, lease, params(record.number))
    for epoch in range(epochs):
        value = loss * (1 + 0.5 * (epochs - 1 - epoch))
        metrics = {"train_loss": value / 2, "val_loss": value, "val_accuracy": 1 / (1 + value)}
        fenced.report(store, lease, EpochReport(record.number, epoch, metrics, 0.25), value)
    return lease


def complete(store: Store, study_id: int, worker_id: int, loss: float, epochs: int = 4) -> Lease:
    lease = begin(store, study_id, worker_id, epochs, loss)
    fenced.finish(store, lease, TrialState.COMPLETE, value=loss, seconds=1.5)
    return lease


def fail(store: Store, study_id: int, worker_id: int, message: str = "ValueError: no such file") -> Lease:
    lease = begin(store, study_id, worker_id, 1, 0.9)
    trace = "Traceback (most recent call last):\n" + "\n".join(f"  line {i}" for i in range(30)) + f"\n{message}"
    fenced.finish(store, lease, TrialState.FAIL, failure=Failure.ERROR, message=message, traceback=trace, seconds=0.5)
    return lease


def running_study(url: str) -> tuple[Store, int]:
    """Three complete trials (the best is 1), one failed, one running at epoch 2 of 4, a checkpoint of the best."""
    store, study_id = study(url)
    hand = worker(store, study_id)
    complete(store, study_id, hand, 0.5)
    best = begin(store, study_id, hand, 4, 0.123456789)
    row = {"epoch": 3, "path": "checkpoints/epoch=0003.pt", "sha256": "0", "size_bytes": 1_234_567}
    fenced.add_checkpoint(store, best, {**row, "value": 0.123456789})
    fenced.finish(store, best, TrialState.COMPLETE, value=0.123456789, seconds=1.5)
    fail(store, study_id, hand)
    complete(store, study_id, hand, 0.3)
    begin(store, study_id, hand, 2, 0.4)
    return store, study_id


def many(url: str, count: int) -> tuple[Store, int]:
    """`count` finished trials, every 50th of them failed, written at once."""
    store, study_id = study(url, budget=count, granted_epochs=4 * count, next_number=count)
    hand = worker(store, study_id)

    def row(number: int) -> dict:
        failed = number % 50 == 0
        loss = 1 + (number * 7919 % count) / count
        return {
            "study_id": study_id,
            "number": number,
            "state": "FAIL" if failed else "COMPLETE",
            "failure": "error" if failed else None,
            "seed": number,
            "params": params(number),
            "value": None if failed else loss,
            "metrics": {} if failed else {"val_loss": loss},
            "epochs_done": 4,
            "attempt": 1,
            "worker_id": hand,
            "created": 1e9 + number,
            "started": 1e9 + number,
            "finished": 1e9 + number + 2,
            "seconds": 2.0,
            "revision": number + 1,
        }

    with store.write() as connection:
        connection.execute(schema.trials.insert(), [row(number) for number in range(count)])
    return store, study_id


def plans(store: Store, function, *arguments, **more) -> list[str]:
    """SQLite's query plans of every SELECT that a read issues."""
    asked: list[tuple[str, tuple]] = []

    def listen(connection, cursor, statement, parameters, context, many):
        asked.append((statement, parameters))

    sa.event.listen(store._engine, "before_cursor_execute", listen)
    function(store, *arguments, **more)
    sa.event.remove(store._engine, "before_cursor_execute", listen)
    with store.read() as connection:
        return [
            json.dumps([row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)])
            for text, values in asked
            if text.lstrip().startswith("SELECT")
        ]


def record(store: Store, name: str = "digits"):
    return reads.study(store, name)
