import pytest
import torch
from torch import nn, optim

from sweeper.errors import ConfigError
from sweeper.training.optimizers import build

SHARED = {"lr": 0.1, "weight_decay": 0.01}
SETTINGS = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "adam": {"beta1": 0.8, "beta2": 0.99},
    "nadam": {"beta1": 0.8, "beta2": 0.99},
    "rmsprop": {"alpha": 0.9, "momentum": 0.5},
}
CLASSES = {"sgd": optim.SGD, "adam": optim.Adam, "nadam": optim.NAdam, "rmsprop": optim.RMSprop}


@pytest.mark.parametrize("name", CLASSES)
def test_pytorchs_own_class_with_its_settings(name):
    optimizer = build(nn.Linear(2, 1).parameters(), {"name": name, **SHARED, **SETTINGS[name]})
    group = optimizer.param_groups[0]
    assert type(optimizer) is CLASSES[name]
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.01)
    expected = {"betas": (0.8, 0.99)} if "beta1" in SETTINGS[name] else SETTINGS[name]
    assert {key: group[key] for key in expected} == expected


@pytest.mark.parametrize("name", CLASSES)
def test_each_descends(name):
    weight = nn.Parameter(torch.tensor([3.0]))
    optimizer = build([weight], {"name": name, **SHARED, **SETTINGS[name], "lr": 0.01})
    for _ in range(20):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert abs(weight.item()) < 3


def test_nesterov_needs_momentum():
    with pytest.raises(ConfigError, match=r"momentum > 0.*momentum=0"):
        build([nn.Parameter(torch.ones(1))], {"name": "sgd", **SHARED, "momentum": 0, "nesterov": True})


def test_a_key_of_another_optimizer_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer=adam takes the keys lr, .*unknown: momentum"):
        build([nn.Parameter(torch.ones(1))], {"name": "adam", **SHARED, **SETTINGS["adam"], "momentum": 0.9})
