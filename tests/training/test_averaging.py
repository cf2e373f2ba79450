import pytest
import torch
from torch import nn, optim

from sweeper.training import schedules
from sweeper.training.averaging import build, weights
from sweeper.words.errors import ConfigError

INPUTS = torch.arange(30.0).reshape(10, 3)
SWA = {"name": "swa", "start": 0.5, "lr_factor": 0.1, "anneal_epochs": 2}


def training(settings, model=None, epochs=8):
    """A network, its optimizer (SGD at the rate 1), schedule and averaging."""
    model = model or nn.Linear(3, 1, bias=False)
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    schedule = schedules.build(optimizer, {"name": "exponential", "factor": 0.9}, epochs)
    return model, optimizer, schedule, build(settings, model, optimizer, schedule, epochs)


def epoch(model, optimizer, schedule, averaging, value: float) -> float:
    """One epoch of one step, after which all weights are `value`; the rate that it was trained at."""
    rate = optimizer.param_groups[0]["lr"]
    optimizer.step()
    for parameter in model.parameters():
        parameter.data.fill_(value)
    averaging.after_step()
    schedule.after_step()
    averaging.after_epoch(INPUTS, schedule.epochs + 1)
    schedule.after_epoch({})
    return rate


def made_of(training) -> list:
    """Whatever of it has a state."""
    *parts, averaging = training
    return [*parts, *averaging.state.values()]


def test_none_evaluates_the_network_itself():
    model, *_, averaging = training({"name": "none"})
    assert averaging.network is model
    assert averaging.state == {}


def test_ema_by_hand():
    made = training({"name": "ema", "decay": 0.25})
    averaging = made[-1]
    assert averaging.network is made[0]
    expected = None
    for step, value in enumerate([4.0, 8.0, 2.0, 2.0]):
        epoch(*made, value)
        decay = min(0.25, (1 + step) / (10 + step))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert averaging.network.weight.flatten().tolist() == pytest.approx([expected] * 3)
    assert made[0].weight[0, 0] == 2


def test_ema_averages_batch_normalisations_statistics():
    model = nn.Sequential(nn.BatchNorm1d(3))
    *_, averaging = training({"name": "ema", "decay": 0.05}, model)
    for mean in (1.0, 2.0):
        model[0].running_mean.fill_(mean)
        averaging.after_step()
    assert averaging.network[0].running_mean.tolist() == pytest.approx([0.05 * 1 + 0.95 * 2] * 3)


def test_swa_is_the_mean_of_the_last_epochs_at_its_own_rate():
    made = training(SWA)
    averaging, rates, means = made[-1], [], []
    for value in range(8):
        rates.append(epoch(*made, float(value)))
        means.append(averaging.network.weight[0, 0].item())
    assert means == pytest.approx([0, 1, 2, 3, 4, 4.5, 5, 5.5])
    assert rates[:4] == pytest.approx([1, 0.9, 0.81, 0.729])
    assert rates[5:] == pytest.approx([0.1] * 3)
    assert 0.1 < rates[4] < 0.729


def test_swa_takes_batch_normalisations_statistics_anew():
    made = training(SWA, nn.Sequential(nn.BatchNorm1d(3)))
    for _ in range(5):
        epoch(*made, 1.0)
    norm = made[-1].network[0]
    assert norm.running_mean.tolist() == pytest.approx(INPUTS.mean(dim=0).tolist())
    assert norm.running_var.tolist() == pytest.approx(INPUTS.var(dim=0).tolist())


@pytest.mark.parametrize("settings", [SWA, {"name": "ema", "decay": 0.5}])
def test_the_state_goes_on_where_it_was(settings):
    made, resumed = training(settings), training(settings)
    for value in range(6):
        epoch(*made, float(value))
    for entry, old in zip(made_of(resumed), made_of(made), strict=True):
        entry.load_state_dict(old.state_dict())
    for value in (6.0, 7.0):
        assert epoch(*made, value) == epoch(*resumed, value)
        assert made[-1].network.weight.equal(resumed[-1].network.weight)


def test_weights_of_a_checkpoint_are_those_that_were_evaluated():
    model, optimizer, schedule, averaging = training({"name": "ema", "decay": 0.05})
    state = {"model": model.state_dict(), **{name: entry.state_dict() for name, entry in averaging.state.items()}}
    assert weights({"model": model.state_dict()})["weight"].equal(model.weight)
    assert weights(state)["weight"].equal(model.weight)
    for value in (1.0, 3.0):
        epoch(model, optimizer, schedule, averaging, value)
    state = {"model": model.state_dict(), **{name: entry.state_dict() for name, entry in averaging.state.items()}}
    assert list(weights(state)) == ["weight"]
    assert weights(state)["weight"].flatten().tolist() == pytest.approx([0.05 * 1 + 0.95 * 3] * 3)


def test_impossible_settings_are_told():
    with pytest.raises(ConfigError, match=r"0 <= averaging\.decay < 1.*got 1"):
        training({"name": "ema", "decay": 1})
    with pytest.raises(ConfigError, match=r"averaging\.lr_factor > 0.*start=1\.5"):
        training({**SWA, "start": 1.5})
