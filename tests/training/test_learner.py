import copy

import pytest
import torch

from sweeper.training import datasets, models
from sweeper.training.learner import Learner

CONFIG = {
    "epochs": 4,
    "data": {"batch_size": 64, "split": {"val": 0.2, "test": 0.2, "seed": 0}},
    "model": {
        "name": "mlp",
        "inputs": [64],
        "outputs": 10,
        "depth": 1,
        "width": 16,
        "activation": "relu",
        "dropout": 0.2,
    },
    "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999},
    "schedule": {"name": "cosine", "final_lr": 0.0},
}


@pytest.fixture(autouse=True)
def one_thread():
    """A sum's order, and so its last bits, depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def learner(seed: int = 0) -> Learner:
    return Learner(CONFIG, lambda c: models.build(c["model"]), lambda c: datasets.digits(**c["data"]["split"]), seed)


def test_it_learns_digits():
    epochs = [(training := learner()).epoch(), *(training.epoch() for _ in range(3))]
    assert list(epochs[0]) == ["train_loss", "val_loss", "val_accuracy"]
    assert epochs[-1]["val_loss"] < epochs[0]["val_loss"]
    assert epochs[-1]["val_accuracy"] > 0.85


def test_the_seed_fixes_every_number():
    first, again, other = ([(t := learner(seed)).epoch(), t.epoch()] for seed in (1, 1, 2))
    assert first == again != other


def test_its_state_is_all_that_a_resume_needs():
    training = learner()
    training.epoch()
    generator, random = training.state["loader"].get_state(), torch.get_rng_state()
    saved = {name: copy.deepcopy(training.state[name].state_dict()) for name in ("model", "optimizer", "schedule")}
    expected = [training.epoch(), training.epoch()]

    resumed = learner(seed=77)
    for name, state in saved.items():
        resumed.state[name].load_state_dict(state)
    resumed.state["loader"].set_state(generator)
    torch.set_rng_state(random)
    assert [resumed.epoch(), resumed.epoch()] == expected
