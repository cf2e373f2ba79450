import math

import pytest
import torch
from torch import nn

from sweeper.training.stopping import build
from sweeper.words.errors import ConfigError

SETTINGS = {"name": "patience", "metric": "val_loss", "direction": "minimize", "patience": 2}


def stopping(**more):
    return build({**SETTINGS, **more})


def epochs(stopping, *values: float, network=None, metric="val_loss") -> int:
    """How many of the epochs are trained before it stops."""
    for epoch, value in enumerate(values):
        network = network or nn.Linear(1, 1)
        network.weight.data.fill_(value)
        stopping.look({metric: value}, network)
        if stopping.stopped:
            return epoch + 1
    return len(values)


def test_it_stops_after_so_many_epochs_without_a_gain():
    assert epochs(stopping(), 3, 2, 2.5, 2.2, 1) == 4
    assert epochs(stopping(), 3, 2, 2.5, 1.9, 1.95, 1.8) == 6
    assert epochs(stopping(patience=1), 3, 3) == 2


def test_a_gain_may_need_a_size_and_a_direction():
    assert epochs(stopping(least_gain=0.5), 3, 2.8, 2.6, 1) == 3
    wanted = stopping(metric="val_accuracy", direction="maximize")
    assert epochs(wanted, 0.5, 0.6, 0.7, 0.7, 0.6, 0.9, metric="val_accuracy") == 5


def test_no_number_is_no_gain():
    assert epochs(stopping(), math.nan, math.nan) == 2
    assert epochs(stopping(), math.nan, 1.0, 0.9, 0.8) == 4


def test_the_best_weights_come_back():
    network = nn.Linear(1, 1)
    wanted = stopping()
    epochs(wanted, 3, 2, 4, 5, network=network)
    assert network.weight.item() == 5
    assert wanted.restore(network)
    assert network.weight.item() == 2


def test_nothing_comes_back_where_the_last_were_the_best_or_nobody_wants_it():
    network = nn.Linear(1, 1)
    wanted = stopping()
    epochs(wanted, 3, 2, network=network)
    assert not wanted.restore(network)
    unwanted = stopping(best_weights=False)
    epochs(unwanted, 3, 4, 5, network=network)
    assert not unwanted.restore(network)
    assert network.weight.item() == 5


def test_its_state_goes_on_where_it_was():
    first, resumed = stopping(), stopping()
    epochs(first, 3, 2, 2.5)
    resumed.load_state_dict(first.state_dict())
    assert not resumed.stopped
    network = nn.Linear(1, 1)
    assert epochs(resumed, 2.1, 1, network=network) == 1
    assert resumed.restore(network)
    assert network.weight.equal(torch.tensor([[2.0]]))


def test_none_never_stops():
    assert build({"name": "none"}) is None


def test_impossible_settings_are_told():
    with pytest.raises(ConfigError, match=r"stopping\.patience >= 1.*patience=0"):
        stopping(patience=0)
    with pytest.raises(ConfigError, match=r"`stopping\.metric` must be one of val_los, but got 'val_loss'"):
        epochs(stopping(), 1, metric="val_los")
    with pytest.raises(ConfigError, match=r"`stopping\.direction` must be one of maximize, minimize"):
        stopping(direction="min")
