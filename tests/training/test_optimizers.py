import pytest
import torch
from torch import nn, optim

from sweeper.training.optimizers import build, takes_all_examples
from sweeper.words.errors import ConfigError

SHARED = {"lr": 0.1, "weight_decay": 0.01}
SETTINGS = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "adam": {"beta1": 0.8, "beta2": 0.99},
    "nadam": {"beta1": 0.8, "beta2": 0.99},
    "rmsprop": {"alpha": 0.9, "momentum": 0.5},
    "plain_sgd": {},
    "momentum": {"momentum": 0.8},
    "nesterov": {"momentum": 0.8},
    "adagrad": {},
    "adamw": {"beta1": 0.8, "beta2": 0.99},
    "adamax": {"beta1": 0.8, "beta2": 0.99},
}
CLASSES = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "nadam": optim.NAdam,
    "rmsprop": optim.RMSprop,
    "plain_sgd": optim.SGD,
    "momentum": optim.SGD,
    "nesterov": optim.SGD,
    "adagrad": optim.Adagrad,
    "adamw": optim.AdamW,
    "adamax": optim.Adamax,
}


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


def test_plain_momentum_and_nesterov_differ_in_their_second_step():
    """By hand, on w^2 / 2 from 1 at the rate 0.1: velocities 1, then 0.5 + 0.9."""
    seconds = {}
    for name, more in {"plain_sgd": {}, "momentum": {"momentum": 0.5}, "nesterov": {"momentum": 0.5}}.items():
        weight = nn.Parameter(torch.tensor([1.0]))
        optimizer = build([weight], {"name": name, "lr": 0.1, "weight_decay": 0.0, **more})
        for _ in range(2):
            weight.grad = weight.detach().clone()
            optimizer.step()
        seconds[name] = weight.item()
    assert seconds["plain_sgd"] == pytest.approx(0.9 * 0.9)
    assert seconds["momentum"] == pytest.approx(0.9 - 0.1 * (0.9 + 0.5))
    assert seconds["nesterov"] == pytest.approx(0.85 - 0.1 * (0.85 + 0.5 * (0.5 + 0.85)))


def test_adamw_decays_beside_the_gradient():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build([weight], {"name": "adamw", **SHARED, **SETTINGS["adamw"]})
    weight.grad = torch.zeros(1)
    optimizer.step()
    assert weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.01))


def test_lbfgs_finds_a_quadratics_minimum_in_one_step_and_takes_groups_as_one():
    weights = [nn.Parameter(torch.tensor([3.0, -1.0])), nn.Parameter(torch.tensor([5.0]))]
    settings = {"name": "lbfgs", "lr": 1.0, "iterations": 20, "history": 10, "line_search": True}
    optimizer = build([{"params": weights[:1]}, {"params": weights[1:], "weight_decay": 0.0}], settings)
    assert takes_all_examples(optimizer)

    def closure():
        optimizer.zero_grad()
        loss = (weights[0] * torch.tensor([1.0, 10.0])).square().sum() + weights[1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure().item() < 1e-6


def test_nesterov_needs_momentum():
    with pytest.raises(ConfigError, match=r"momentum > 0.*momentum=0"):
        build([nn.Parameter(torch.ones(1))], {"name": "sgd", **SHARED, "momentum": 0, "nesterov": True})


def test_a_key_of_another_optimizer_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer=adam takes the keys lr, .*unknown: momentum"):
        build([nn.Parameter(torch.ones(1))], {"name": "adam", **SHARED, **SETTINGS["adam"], "momentum": 0.9})
