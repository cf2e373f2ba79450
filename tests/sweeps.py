"""Studies to report on, written into a store at once: three stages, moved ranges, every kind of failure, odd words."""

from __future__ import annotations

import math
import random

from sweeper.store import schema, writes
from sweeper.store.connection import Store
from sweeper.words.records import Failure, TrialState

BEGUN = 1_700_000_000.0
EPOCHS = (2, 6, 18)
PLAN = {
    "search": "coarse_to_fine",
    "stages": [
        {"name": "coarse", "sampler": "multi_fidelity", "epochs": EPOCHS[0]},
        {"name": "middle", "promote": "worth", "epochs": EPOCHS[1]},
        {"name": "fine", "promote": "worth", "epochs": EPOCHS[2]},
    ],
}
ODD = '</script><img src=x onerror=alert(1)> "quoted" & \u2028 %{x} <!-- Größe 学习率 \x1b[31mred'
MESSAGES = {
    Failure.DIVERGED: "Diverged: val_loss is nan at epoch 1",
    Failure.OUT_OF_MEMORY: "CUDA out of memory. Tried to allocate 20 MiB",
    Failure.TIMEOUT: "ran longer than 600 s",
    Failure.KILLED: "its worker was killed three times",
    Failure.ERROR: f"ValueError: {ODD}",
}


def space(low: float = 1e-5, high: float = 0.1, *, activation: str = "model.activation", choice: str = "tanh") -> list:
    return [
        {"type": "float", "name": "optimizer.lr", "low": low, "high": high, "log": True, "limits": [1e-7, 10]},
        {"type": "int", "name": "model.depth", "low": 1, "high": 4},
        {"type": "float", "name": "model.dropout", "low": 0.0, "high": 0.5},
        {"type": "categorical", "name": activation, "choices": ["relu", choice, "elu"]},
        {"type": "categorical", "name": "optimizer", "choices": ["sgd", "adam"]},
        {
            "type": "float",
            "name": "optimizer.momentum",
            "low": 0.5,
            "high": 0.99,
            "when": [{"parameter": "optimizer", "values": ["sgd"]}],
        },
    ]


def study(store: Store, name: str = "digits", *, trials: int = 0, **more) -> int:
    definition = {
        "name": name,
        "metric": "val_loss",
        "direction": "minimize",
        "seed": 0,
        "folder": f"runs/{name}",
        "space": space(),
        "plan": PLAN,
        "config": {
            "variants": [{"choices": {"optimizer": "sgd"}, "yaml": "epochs: 18\nseed: 0\n"}],
            "fixed": ["data=digits"],
            "added": [],
            "script": {"path": "train.py", "text": ""},
        },
        "budget": trials or 8,
        "full_epochs": EPOCHS[-1],
        "budget_epochs": EPOCHS[-1] * (trials or 8),
    }
    made = {**definition, **more}
    stages = [
        {"stage": index, "name": stage["name"], "epochs": stage["epochs"], "sampler": {}, "ranges": made["space"]}
        for index, stage in enumerate(PLAN["stages"])
    ]
    granted = {"next_number": trials, "granted_epochs": made["budget_epochs"] if trials else 0}
    return writes.create_study(store, {**made, **granted}, stages)


def loss(params: dict, epoch: int) -> float:
    """Best at a rate of 0.01 and three layers; dropout hardly matters."""
    distance = (math.log10(params["optimizer.lr"]) + 2) ** 2 + 0.3 * abs(params["model.depth"] - 3)
    return 0.1 + 0.2 * distance + 0.02 * params["model.dropout"] + 1.5 / (epoch + 1)


def fill(store: Store, study_id: int, count: int, *, failing: bool = True, words: dict | None = None) -> None:
    """`count` trials by two workers, one after another; of seven one fails, for each reason in turn.

    `words`: other names of parameters and choices than those of `space`.
    """
    generator, words = random.Random(0), words or {}
    trials, epochs, free = [], [], [BEGUN, BEGUN + 3]
    hands = _workers(store, study_id, BEGUN)
    for number in range(count):
        lane = min(range(len(free)), key=free.__getitem__)
        begun = free[lane] + 0.5
        params = _params(generator, number)
        stage = min(2, int(-math.log(generator.random()) * 1.2))
        reason = list(Failure)[number // 7 % len(Failure)] if failing and number % 7 == 3 else None
        done = 1 if reason else EPOCHS[stage]
        values = [loss(params, epoch) * (1 + 0.02 * generator.random()) for epoch in range(done)]
        for epoch, value in enumerate(values):
            epochs.append(
                {
                    "study_id": study_id,
                    "number": number,
                    "epoch": epoch,
                    "attempt": 1,
                    "metrics": {"train_loss": 0.8 * value, "val_loss": value, "val_accuracy": 1 / (1 + value)},
                    "value": value,
                    "seconds": 2.0,
                    "reported": begun + 2.0 * (epoch + 1),
                }
            )
        free[lane] = begun + 2.0 * done + (0 if reason else generator.random())
        state = TrialState.FAIL if reason else TrialState.COMPLETE if stage == 2 else TrialState.PAUSED
        named = {words.get(name, name): words.get(value, value) for name, value in params.items()}
        trials.append(
            {
                "study_id": study_id,
                "number": number,
                "stage": 0 if reason else stage,
                "state": state,
                "failure": reason,
                "message": MESSAGES[reason] if reason else None,
                "traceback": f"Traceback:\n  {ODD}\n{MESSAGES[reason]}" if reason is Failure.ERROR else None,
                "seed": number,
                "params": named,
                "value": None if reason else values[-1],
                "metrics": {} if reason else epochs[-1]["metrics"],
                "epochs_done": done,
                "target_epochs": done,
                "attempt": 1,
                "worker_id": hands[lane],
                "created": begun,
                "started": begun,
                "finished": None if state is TrialState.PAUSED else free[lane],
                "seconds": 2.0 * done,
                "revision": number + 1,
            }
        )
    with store.write() as connection:
        if trials:
            connection.execute(schema.trials.insert(), trials)
            connection.execute(schema.epochs.insert(), epochs)
        for hand, end in zip(hands, free, strict=True):
            ended = schema.workers.update().where(schema.workers.c.id == hand).values(ended=end + 1, beat=end + 1)
            connection.execute(ended)


def _workers(store: Store, study_id: int, begun: float) -> list[int]:
    born = {"study_id": study_id, "host": "node<1>", "device": "cuda", "engine": "local", "started": begun}
    ended = {"beat": begun, "ended": begun + 1, "ending": "done"}
    rows = [{**born, **ended, "pid": lane, "slot": f"gpu {lane}"} for lane in range(2)]
    with store.write() as connection:
        return [connection.execute(schema.workers.insert().values(**row)).inserted_primary_key[0] for row in rows]


def _params(generator: random.Random, number: int) -> dict:
    params = {
        "optimizer.lr": 10 ** generator.uniform(-5, -1),
        "model.depth": generator.randint(1, 4),
        "model.dropout": generator.uniform(0, 0.5),
        "model.activation": generator.choice(["relu", "tanh", "elu"]),
        "optimizer": generator.choice(["sgd", "adam"]),
    }
    return {**params, "optimizer.momentum": generator.uniform(0.5, 0.99)} if params["optimizer"] == "sgd" else params


def move(store: Store, study_id: int, number: int, low: float, high: float, trials: int) -> None:
    """A move of the learning rate's range."""
    row = {"study_id": study_id, "move": number, "stage": 0, "kind": "widened", "space": space(low, high)}
    with store.write() as connection:
        reason = f"the best crowd an edge {ODD}"
        connection.execute(schema.moves.insert().values(**row, trials=trials, reason=reason, time=BEGUN + 10 * number))
