import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from experiments import toys
from sweeper.training import averaging, models
from sweeper.training.learner import Learner, seed_everything
from sweeper.trial import checkpoint
from sweeper.words.errors import ConfigError

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
GOLDEN = [
    [1.9419110639639379, 1.271860957145691, 0.7270194986072424],
    [1.0349414379565747, 0.6316208243370056, 0.8467966573816156],
]
"""Training loss, validation loss and accuracy of the first two epochs."""


pytestmark = pytest.mark.usefixtures("one_thread")


def learner(seed: int = 0, **groups) -> Learner:
    """`groups` stand beside CONFIG's or in their place."""
    config = {**CONFIG, **groups}
    return Learner(config, lambda c: models.build(c["model"]), lambda c: toys.digits(**c["data"]["split"]), seed)


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


def test_what_is_not_asked_for_changes_nothing():
    """The numbers of before there was a loss, a regularisation, a clipping, an augmentation, an average or a stop."""
    training = learner()
    first, second = training.epoch(), training.epoch()
    assert list(first.values()) == pytest.approx(GOLDEN[0], rel=1e-3)
    assert list(second.values()) == pytest.approx(GOLDEN[1], rel=1e-3)
    none = {"name": "none"}
    spelt = learner(
        model={**CONFIG["model"], "initialisation": "auto", "batch_norm": False, "input_dropout": 0.0, "shape": "same"},
        schedule={**CONFIG["schedule"], "warmup_epochs": 0},
        loss={"name": "auto"},
        regularisation={"l1": 0.0, "l2": 0.0, "max_norm": None, "biases": True},
        clipping={"norm": None, "value": None},
        augmentation={"flip": 0.0, "crop": 1.0, "image": [1, 8, 8]},
        averaging=none,
        stopping=none,
    )
    assert [spelt.epoch(), spelt.epoch()] == [first, second]
    assert list(spelt.state) == ["model", "optimizer", "schedule", "loader"]


STOPPING = {"name": "patience", "metric": "val_loss", "direction": "minimize", "patience": 3, "best_weights": True}
TRAININGS = {
    "nearly everything": {
        "model": {**CONFIG["model"], "batch_norm": True, "input_dropout": 0.1, "activation": "selu"},
        "schedule": {
            "name": "plateau",
            "metric": "val_loss",
            "direction": "minimize",
            "factor": 0.5,
            "patience": 0,
            "least_lr": 0.0,
            "warmup_epochs": 1,
        },
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1, "class_weights": "balanced"},
        "regularisation": {"l1": 1e-4, "l2": 1e-4, "max_norm": 1.0, "biases": False},
        "clipping": {"norm": 0.5, "value": 0.1},
        "augmentation": {"shift": 0.1, "rotate": 10.0, "noise": 0.1, "image": [1, 8, 8]},
        "averaging": {"name": "ema", "decay": 0.9},
        "stopping": STOPPING,
    },
    "swa": {
        "model": {**CONFIG["model"], "batch_norm": True},
        "optimizer": {"name": "nesterov", "lr": 0.05, "weight_decay": 1e-4, "momentum": 0.9},
        "schedule": {
            "name": "one_cycle",
            "rise": 0.3,
            "start_factor": 0.1,
            "final_factor": 0.01,
            "cycle_momentum": True,
        },
        "averaging": {"name": "swa", "start": 0.25, "lr_factor": 0.5, "anneal_epochs": 1},
    },
    "lbfgs": {
        "optimizer": {"name": "lbfgs", "lr": 1.0, "iterations": 5, "history": 5, "line_search": True},
        "schedule": {"name": "constant", "warmup_epochs": 1},
        "regularisation": {"l2": 1e-4},
        "augmentation": {"noise": 0.1},
        "averaging": {"name": "ema", "decay": 0.5},
        "stopping": STOPPING,
    },
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_resumed_run_is_bit_identical_whatever_it_is_made_of(name, tmp_path):
    straight = learner(**TRAININGS[name])
    expected = [straight.epoch() for _ in range(4)]

    before = learner(**TRAININGS[name])
    epochs = [before.epoch(), before.epoch()]
    saved = checkpoint.save(tmp_path, 1, before.state)
    resumed = learner(seed=77, **TRAININGS[name])
    checkpoint.load(saved, resumed.state)
    assert [*epochs, resumed.epoch(), resumed.epoch()] == expected
    assert expected[-1]["val_loss"] < expected[0]["val_loss"]


def test_the_average_is_what_is_evaluated_and_what_a_checkpoint_is_tested_by():
    training = learner(averaging={"name": "ema", "decay": 0.99})
    metrics = training.epoch()
    network = models.build(CONFIG["model"])
    network.load_state_dict(
        averaging.weights({name: e.state_dict() for name, e in training.state.items() if name != "loader"})
    )
    assert validation_loss(network, training) == pytest.approx(metrics["val_loss"], rel=1e-5)
    assert validation_loss(training.model, training) != pytest.approx(metrics["val_loss"], rel=1e-3)


def validation_loss(network: nn.Module, training: Learner) -> float:
    network.eval()
    return nn.functional.cross_entropy(network(training.data.val.inputs), training.data.val.targets).item()


def test_it_stops_early_and_ends_with_its_best_epoch():
    wild = {"name": "plain_sgd", "lr": 1.5, "weight_decay": 0.0}
    training = learner(
        epochs=30, optimizer=wild, schedule={"name": "constant"}, stopping={**STOPPING, "patience": 2}, seed=3
    )
    losses = []
    while not training.stopped:
        losses.append(training.epoch()["val_loss"])
    assert 3 <= len(losses) < 30
    assert losses[-1] == min(losses) == losses[-3]
    assert validation_loss(training.model, training) == pytest.approx(losses[-1], rel=1e-5)


def test_the_last_epoch_too_ends_with_the_best():
    wild = {"name": "plain_sgd", "lr": 1.5, "weight_decay": 0.0}
    losses = [(training := learner(epochs=5, optimizer=wild, schedule={"name": "constant"}, stopping=STOPPING)).epoch()]
    losses += [training.epoch() for _ in range(4)]
    assert losses[-1]["val_loss"] == min(each["val_loss"] for each in losses)


def test_the_share_of_clipped_steps_is_told():
    assert learner(clipping={"norm": 1e-3, "value": None}).epoch()["monitor/clipped"] == 1
    assert learner(clipping={"norm": 1e3, "value": None}).epoch()["monitor/clipped"] == 0


def test_max_norm_holds_after_an_epoch():
    training = learner(regularisation={"max_norm": 0.5})
    training.epoch()
    norms = torch.cat([each.norm(dim=1) for each in training.model.parameters() if each.ndim == 2])
    assert norms.max().item() == pytest.approx(0.5, rel=1e-3)


def test_lbfgs_falls_fast_and_takes_no_clipping():
    optimizer = {"name": "lbfgs", "lr": 1.0, "iterations": 20, "history": 10, "line_search": True}
    groups = {"optimizer": optimizer, "schedule": {"name": "constant"}, "model": {**CONFIG["model"], "dropout": 0.0}}
    training = learner(**groups)
    losses = [training.epoch()["train_loss"] for _ in range(3)]
    assert losses[0] > 2 > 0.5 > losses[1] > losses[2]
    with pytest.raises(ConfigError, match=r"optimizer=lbfgs .*clipping\.norm=1.0, .* choose clipping=none"):
        learner(**groups, clipping={"norm": 1.0, "value": None})


def test_validation_is_by_the_goals_own_loss_whatever_is_trained():
    training = learner(loss={"name": "cross_entropy", "label_smoothing": 0.5, "class_weights": None})
    assert training.epoch()["val_loss"] == pytest.approx(validation_loss(training.model, training), rel=1e-5)


def draws() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_every_generator_follows_the_seed():
    seed_everything(3)
    first = draws()
    seed_everything(3)
    assert draws() == first
    seed_everything(4)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_a_seed_beyond_32_bits():
    seed_everything(2**40 + 1)
