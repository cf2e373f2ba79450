import importlib.util

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sweeper.training import weights
from sweeper.words.errors import CheckpointError


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("installed", [True, False])
def test_what_is_saved_is_loaded(model, tmp_path, monkeypatch, installed):
    if not installed:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = weights.save(model.state_dict(), tmp_path / "epoch-0.1")
    assert path.name == ("epoch-0.1.safetensors" if installed else "epoch-0.1.pt")
    assert same(weights.load(path), model.state_dict())


def test_tied_weights_are_saved(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert same(weights.load(weights.save(model.state_dict(), tmp_path / "tied")), model.state_dict())


def test_what_is_no_weights_is_told(tmp_path):
    for name in ("a.safetensors", "a.pt"):
        (tmp_path / name).write_bytes(b"nothing of that kind")
        with pytest.raises(CheckpointError, match="readable without running code"):
            weights.load(tmp_path / name)


def test_weights_of_another_model_are_told(model):
    with pytest.raises(CheckpointError, match=r"`build\(cfg\)` must give the model that was trained, but there"):
        weights.fill(nn.Linear(3, 2), model.state_dict(), "there")


def test_the_entries_that_fit_a_model_are_found(model):
    average = AveragedModel(model, use_buffers=True)
    entries = {"optimizer": {"state": {}, "param_groups": []}, "average": average.state_dict(), "epoch": 3}
    entries |= {"model": model.state_dict(), "other": nn.Linear(3, 2).state_dict()}
    assert list(weights.fitting(entries, model)) == ["model"]
    average.update_parameters(model)
    entries["average"] = average.state_dict()
    found = weights.fitting(entries, model)
    assert list(found) == ["average", "model"]
    assert all(found["average"].keys() == each.keys() for each in (found["model"], model.state_dict()))


def test_an_average_without_buffers_takes_those_of_the_model(model):
    model(torch.randn(8, 3))
    average = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    found = weights.fitting({"mine": average, "model": model.state_dict()}, model)
    assert list(found) == ["model", "mine"]
    assert torch.equal(found["mine"]["1.running_mean"], model[1].running_mean)
    assert not found["mine"]["0.weight"].any()


def test_a_mean_of_weights(model):
    states = [
        {"a": torch.tensor([1.0, 3.0]), "n": torch.tensor(5)},
        {"a": torch.tensor([3.0, 5.0]), "n": torch.tensor(6)},
    ]
    assert same(weights.mean(states), {"a": torch.tensor([2.0, 4.0]), "n": torch.tensor(6)})
