import math

import pytest
import torch
from torch import nn, optim

from sweeper.training.schedules import build
from sweeper.words.errors import ConfigError

EXPECTED = {
    "constant": ({}, [1, 1, 1, 1, 1]),
    "cosine": ({"final_lr": 0.0}, [1, 0.853553, 0.5, 0.146447, 0]),
    "step": ({"every_epochs": 2, "factor": 0.1}, [1, 1, 0.1, 0.1, 0.01]),
    "exponential": ({"factor": 0.5}, [1, 0.5, 0.25, 0.125, 0.0625]),
    "inverse": ({"decay": 1.0}, [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]),
}
PLATEAU = {
    "name": "plateau",
    "metric": "val_loss",
    "direction": "minimize",
    "factor": 0.1,
    "patience": 1,
    "least_lr": 0.05,
}
ONE_CYCLE = {
    "name": "one_cycle",
    "rise": 0.25,
    "start_factor": 0.1,
    "final_factor": 0.01,
    "cycle_momentum": False,
}
STEPS = 5
"""Of an epoch."""


def sgd(**more) -> optim.Optimizer:
    return optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0, **more)


def make(name: str, epochs: int = 4, **more):
    optimizer = sgd()
    return optimizer, build(optimizer, {"name": name, **EXPECTED[name][0], **more}, epochs, STEPS)


def rate(optimizer) -> float:
    return optimizer.param_groups[0]["lr"]


def train(optimizer, schedule, **metrics) -> list[float]:
    """The rate of each step of one epoch."""
    rates = []
    for _ in range(STEPS):
        rates.append(rate(optimizer))
        optimizer.step()
        schedule.after_step()
    schedule.after_epoch(metrics)
    return rates


@pytest.mark.parametrize("name", EXPECTED)
def test_learning_rate_before_and_after_each_epoch(name):
    optimizer, schedule = make(name)
    rates = [rate(optimizer)]
    for _ in range(4):
        assert len(set(train(optimizer, schedule))) == 1
        rates.append(rate(optimizer))
    assert rates == pytest.approx(EXPECTED[name][1], abs=1e-6)
    assert schedule.epochs == 4


@pytest.mark.parametrize("warmup", [0, 2])
@pytest.mark.parametrize("name", EXPECTED)
def test_state_goes_on_where_it_was(name, warmup):
    optimizer, schedule = make(name, warmup_epochs=warmup)
    train(optimizer, schedule)
    resumed_optimizer, resumed = make(name, warmup_epochs=warmup)
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    goes_on = [train(optimizer, schedule) for _ in range(3)]
    assert [train(resumed_optimizer, resumed) for _ in range(3)] == goes_on


def test_the_state_of_another_schedule_is_refused():
    (_, cosine), (_, step) = make("cosine"), make("step")
    with pytest.raises(ConfigError, match="one of StepLR, but the schedule is CosineAnnealingLR"):
        cosine.load_state_dict(step.state_dict())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_warm_up_rises_from_step_to_step_and_the_schedule_follows_whole(name):
    optimizer, schedule = make(name, epochs=6, warmup_epochs=2)
    warm = train(optimizer, schedule) + train(optimizer, schedule)
    assert warm == pytest.approx([(step + 1) / (2 * STEPS) for step in range(2 * STEPS)])
    rates = [rate(optimizer)] + [train(optimizer, schedule) and rate(optimizer) for _ in range(4)]
    assert rates == pytest.approx(EXPECTED[name][1], abs=1e-6)


def test_plateau_waits_out_its_patience_and_stops_at_the_least_rate():
    optimizer = sgd()
    schedule = build(optimizer, PLATEAU, epochs=9, steps_per_epoch=STEPS)
    rates = [train(optimizer, schedule, val_loss=loss) and rate(optimizer) for loss in (3, 2, 2, 2, 1, 1, 1, 1, 1)]
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05])


def test_plateau_names_the_metrics_that_there_are():
    optimizer = sgd()
    schedule = build(optimizer, {**PLATEAU, "metric": "val_los"}, epochs=3)
    with pytest.raises(ConfigError, match=r"`schedule\.metric` must be one of val_loss, but got 'val_los'"):
        train(optimizer, schedule, val_loss=1.0)


def test_one_cycles_peak_is_the_learning_rate_after_its_rise():
    optimizer = sgd()
    schedule = build(optimizer, ONE_CYCLE, epochs=8, steps_per_epoch=STEPS)
    rates = [each for _ in range(8) for each in train(optimizer, schedule)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 0.25 * 8 * STEPS - 1
    assert rates[-1] == pytest.approx(0.01)
    assert sorted(rates[:10]) == rates[:10]
    assert sorted(rates[9:], reverse=True) == rates[9:]
    assert rate(optimizer) == pytest.approx(0.01)  # and no rise beyond the end


def test_one_cycles_momentum_falls_while_the_rate_rises():
    optimizer = sgd(momentum=0.9)
    schedule = build(optimizer, {**ONE_CYCLE, "cycle_momentum": True}, epochs=8, steps_per_epoch=STEPS)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.95)
    train(optimizer, schedule)
    for _ in range(STEPS - 1):
        optimizer.step()
        schedule.after_step()
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.85)


def test_impossible_settings_are_told():
    with pytest.raises(ConfigError, match=r"warmup_epochs < epochs.*warmup_epochs=4 for 4 epochs with schedule=cosine"):
        make("cosine", warmup_epochs=4)
    with pytest.raises(ConfigError, match="0 for schedule=one_cycle"):
        build(sgd(), {**ONE_CYCLE, "warmup_epochs": 1}, 4, STEPS)
    with pytest.raises(ConfigError, match=r"rise \* steps >= 2.*schedule\.rise=0\.25 for 4 steps"):
        build(sgd(), ONE_CYCLE, 4)
    with pytest.raises(ConfigError, match=r"0 < factor < 1.*factor=2"):
        build(sgd(), {**PLATEAU, "factor": 2}, 4)
    with pytest.raises(ConfigError, match=r"`schedule\.direction` must be one of maximize, minimize, but got 'down'"):
        build(sgd(), {**PLATEAU, "direction": "down"}, 4)
    adagrad = optim.Adagrad([nn.Parameter(torch.ones(1))], lr=1.0)
    with pytest.raises(ConfigError, match="needs an optimizer with a momentum, but Adagrad has none"):
        build(adagrad, {**ONE_CYCLE, "cycle_momentum": True}, 8, STEPS)


def test_rates_of_groups_keep_their_proportion():
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = optim.SGD([{"params": weights[:1]}, {"params": weights[1:], "lr": 0.1}], lr=1.0)
    schedule = build(optimizer, {"name": "cosine", "final_lr": 0.0, "warmup_epochs": 1}, 5, STEPS)
    for _ in range(4):
        train(optimizer, schedule)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert math.isclose(rates[0], 10 * rates[1])
