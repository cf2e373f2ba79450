"""Monitors: the numbers are right, any network can be watched, nothing is left behind, nothing waits for a GPU."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from experiments import toys
from sweeper.training import models
from sweeper.training.learner import Learner
from sweeper.training.monitors import MOST_LAYERS, STEPS, Monitors
from sweeper.words.metrics import MONITORS, is_monitor


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def network(*hidden: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), *(hidden or (nn.ReLU(),)), nn.Linear(6, 3))


def step(model, optimizer, inputs=None, zero=True):
    inputs = torch.randn(8, 4) if inputs is None else inputs
    if zero:
        optimizer.zero_grad()
    model.train()
    loss = model(inputs).square().mean()
    loss.backward()
    optimizer.step()
    return loss


def watched(model, lr=0.1, **more):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return Monitors(model, optimizer, **more), optimizer


# ---- the numbers -----------------------------------------------------------------------------------------------------


def test_an_update_is_told_as_a_share_of_the_weights_it_has_led_to():
    model = network()
    monitors, optimizer = watched(model)
    before = model[0].weight.detach().clone()
    step(model, optimizer)
    told, now, gradient = monitors.epoch(), model[0].weight.detach(), model[0].weight.grad
    assert told["update_ratio/0"] == pytest.approx(float((now - before).norm() / now.norm()), rel=1e-3)
    assert told["weight_norm/0"] == pytest.approx(float(now.norm()), rel=1e-3)
    assert told["grad_norm/0"] == pytest.approx(float(gradient.norm()), rel=1e-3)
    assert told["update_ratio/0"] == pytest.approx(0.1 * told["grad_norm/0"] / told["weight_norm/0"], rel=1e-3)


def test_an_epoch_tells_rate_steps_speed_and_memory():
    model = network()
    monitors, optimizer = watched(model, lr=0.25)
    for _ in range(3):
        step(model, optimizer)
    told = monitors.epoch()
    assert (told["monitor/lr"], told["monitor/step"]) == (0.25, 3)
    assert told["monitor/samples_per_second"] > 0
    assert told.get("monitor/memory_bytes", 1) > 0
    step(model, optimizer)
    assert monitors.epoch()["monitor/step"] == 4


def test_the_rate_is_that_of_the_last_step_and_not_what_a_schedule_has_set_since():
    model = network()
    monitors, optimizer = watched(model, lr=0.25)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    step(model, optimizer)
    schedule.step()
    assert monitors.epoch()["monitor/lr"] == 0.25


def test_every_name_is_one_that_the_rules_know():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    monitors, optimizer = watched(model)
    step(model, optimizer)
    monitors.clipped(True)
    told = monitors.epoch()
    assert all(map(is_monitor, told))
    assert {name.partition("/")[0] for name in told} == set(MONITORS)


def test_activations_are_those_of_the_nonlinearities():
    model = network()
    monitors, optimizer = watched(model)
    inputs = torch.randn(8, 4)
    hidden = model[:2](inputs).detach()
    step(model, optimizer, inputs)
    told = monitors.epoch()
    assert told["activation_mean/1"] == pytest.approx(float(hidden.mean()), rel=1e-3)
    assert told["activation_std/1"] == pytest.approx(float(hidden.std(correction=0)), rel=1e-3)


def test_a_unit_is_dead_that_is_zero_for_every_example_of_training_and_evaluation():
    model = network()
    with torch.no_grad():
        model[0].bias[:3] = -100.0
        model[0].bias[3:] = 100.0
    monitors, optimizer = watched(model, lr=0.0)
    step(model, optimizer)
    assert monitors.epoch()["dead/1"] == 0.5
    step(model, optimizer)
    model.eval()
    with torch.inference_mode():
        model(torch.full((2, 4), 1000.0) * model[0].weight[0].sign())
    assert monitors.epoch()["dead/1"] < 0.5


@pytest.mark.parametrize("squasher", [nn.Tanh(), nn.Sigmoid()])
def test_saturated_is_the_share_of_outputs_at_the_ends(squasher):
    model = network(squasher)
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias[:] = torch.tensor([50.0, -50.0, 0.0, 0.0, 0.0, 0.0])
    monitors, optimizer = watched(model, lr=0.0)
    step(model, optimizer)
    assert monitors.epoch()["saturated/1"] == pytest.approx(1 / 3, rel=1e-3)


def test_gradients_that_nobody_sets_to_zero_are_seen():
    model = network()
    monitors, optimizer = watched(model)
    for zero, carried in ((True, 0.0), (True, 0.0), (False, 1.0)):
        step(model, optimizer, zero=zero)
        assert monitors.epoch()["monitor/carried"] == carried


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_that_are_added_up_over_several_passes_are_not_carried(set_to_none):
    model = network()
    monitors, optimizer = watched(model)
    for _ in range(2):
        optimizer.zero_grad(set_to_none=set_to_none)
        for _ in range(3):
            model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        assert monitors.epoch()["monitor/carried"] == 0


def test_clipping_is_told_by_who_clips():
    model = network()
    monitors, optimizer = watched(model)
    for bound in (1e-9, 1e9):
        step(model, optimizer)
        monitors.clipped(nn.utils.clip_grad_norm_(model.parameters(), bound) > bound)
    told = monitors.epoch()
    assert told["monitor/clipped"] == 0.5
    step(model, optimizer)
    assert "monitor/clipped" not in monitors.epoch()


# ---- every network ---------------------------------------------------------------------------------------------------


def test_a_cnn_has_channels_for_units():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    with torch.no_grad():
        model[0].bias[0] = -1000.0
    monitors, optimizer = watched(model, lr=0.0)
    step(model, optimizer, torch.randn(5, 1, 8, 8))
    assert monitors.epoch()["dead/1"] == 0.25


def test_a_frozen_layer_has_no_gradient_and_does_not_move():
    model = network()
    model[0].requires_grad_(False)
    monitors, optimizer = watched(model)
    step(model, optimizer)
    told = monitors.epoch()
    assert told["update_ratio/0"] == 0
    assert "grad_norm/0" not in told
    assert told["update_ratio/2"] > 0


def test_a_shared_nonlinearity_counts_each_of_its_calls():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.out, self.bend = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3), nn.ReLU()
            nn.init.constant_(self.two.bias, -100.0)

        def forward(self, inputs):
            return self.out(self.bend(self.two(self.bend(self.one(inputs)))))

    model = Twice()
    nn.init.constant_(model.one.bias, 100.0)
    monitors, optimizer = watched(model, lr=0.0)
    step(model, optimizer)
    assert monitors.epoch()["dead/bend"] == 0.5


def test_what_gives_out_the_answer_is_no_hidden_layer():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Sigmoid())
    monitors, optimizer = watched(model)
    step(model, optimizer)
    told = monitors.epoch()
    assert "activation_std/1" in told
    assert not [name for name in told if name.endswith("/3")]


def test_without_nonlinearities_that_are_modules_the_layers_themselves_are_watched():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, *, inputs):
            return self.two(self.one(inputs).relu())

    model = Functional()
    monitors, optimizer = watched(model)
    model(inputs=torch.randn(8, 4)).sum().backward()
    optimizer.step()
    told = monitors.epoch()
    assert {"activation_std/one", "update_ratio/two"} <= set(told)
    assert "monitor/samples_per_second" in told


def test_of_a_deep_network_the_first_the_last_and_some_between_are_told():
    model = nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(4, 4), nn.Tanh())))
    monitors, optimizer = watched(model)
    step(model, optimizer)
    norms = [name for name in monitors.epoch() if name.startswith("grad_norm/")]
    assert len(norms) == MOST_LAYERS
    assert (norms[0], norms[-1]) == ("grad_norm/0", "grad_norm/38")


def test_a_large_layer_is_told_by_some_of_its_entries():
    model = nn.Sequential(nn.Linear(600, 500))
    monitors, optimizer = watched(model)
    step(model, optimizer, torch.randn(4, 600))
    told = monitors.epoch()
    assert told["weight_norm/0"] == pytest.approx(float(model[0].weight.detach().norm()), rel=0.02)


def test_several_groups_tell_the_largest_rate():
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.4}]
    optimizer = torch.optim.AdamW(groups)
    monitors = Monitors(model, optimizer)
    step(model, optimizer)
    assert monitors.epoch()["monitor/lr"] == 0.4


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_of_mixed_precision_are_told_as_they_are(fused):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    monitors, scaler = Monitors(model, optimizer), torch.amp.GradScaler("cpu", init_scale=1024.0)
    inputs = torch.randn(8, 4)
    model(inputs).square().mean().backward()
    norm = float(model[0].weight.grad.norm())
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(inputs).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert monitors.epoch()["grad_norm/0"] == pytest.approx(norm, rel=0.05)


def test_a_sparse_gradient_and_several_matrices_in_one_layer():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.memory = nn.Embedding(10, 4, sparse=True), nn.LSTM(4, 5, batch_first=True)

        def forward(self, words):
            return self.memory(self.words(words))[0]

    model = Words()
    monitors, optimizer = watched(model)
    model(torch.randint(10, (3, 6))).sum().backward()
    optimizer.step()
    told = monitors.epoch()
    both = math.hypot(*(float(each.grad.norm()) for each in (model.memory.weight_ih_l0, model.memory.weight_hh_l0)))
    assert told["grad_norm/memory"] == pytest.approx(both, rel=1e-3)
    assert told["grad_norm/words"] > 0


def test_a_model_without_any_layer_is_watched_too():
    class Bias(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(3))

        def forward(self, inputs):
            return inputs[:, :3] + self.bias

    model = Bias()
    monitors, optimizer = watched(model)
    step(model, optimizer)
    assert monitors.epoch()["monitor/step"] == 1


def test_a_step_that_finds_its_minimum_by_a_closure():
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    monitors, inputs = Monitors(model, optimizer), torch.randn(8, 4)

    def closure():
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
        told = monitors.epoch()
    assert told["update_ratio/0"] > 0
    assert told["monitor/carried"] == 0


# ---- nothing is left behind ------------------------------------------------------------------------------------------


def hooks(model, optimizer):
    own = [getattr(module, name) for module in model.modules() for name in ("_forward_hooks", "_forward_pre_hooks")]
    steps = [optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks]
    return sum(map(len, own + steps)) + sum(len(p._backward_hooks or ()) for p in model.parameters())


def test_closing_takes_every_hook_away():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitors(model, optimizer) as monitors:
        step(model, optimizer)
        monitors.epoch()
        assert hooks(model, optimizer)
    assert hooks(model, optimizer) == 0


def test_a_pass_that_breaks_leaves_the_next_ones_sound():
    model = network()
    monitors, optimizer = watched(model)
    with pytest.raises(RuntimeError):
        model(torch.randn(8, 5))
    step(model, optimizer)
    assert monitors.epoch()["grad_norm/0"] > 0
    monitors.close()
    assert hooks(model, optimizer) == 0


def test_a_copy_of_the_network_is_not_watched():
    model = network()
    monitors, optimizer = watched(model)
    average = torch.optim.swa_utils.AveragedModel(model)
    step(model, optimizer)
    average.eval()
    average(torch.randn(100, 4))
    assert monitors._evaluations == 0
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded(torch.randn(2, 4)).shape == (2, 3)


def test_watching_changes_no_number():
    def train(watch):
        torch.manual_seed(1)
        model = network(nn.ReLU(), nn.Dropout(0.5))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        monitors = Monitors(model, optimizer) if watch else None
        losses = [step(model, optimizer).item() for _ in range(40)]
        if monitors:
            monitors.epoch()
        return losses

    assert train(watch=True) == train(watch=False)


def test_a_training_that_is_taken_up_again_reports_what_it_would_have():
    def start():
        torch.manual_seed(2)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return model, optimizer, Monitors(model, optimizer)

    def epoch(model, optimizer, monitors, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(70):
            step(model, optimizer, torch.randn(8, 4, generator=generator))
        told = monitors.epoch()
        return {name: told[name] for name in told if name not in ("monitor/samples_per_second", "monitor/memory_bytes")}

    whole = start()
    expected = [epoch(*whole, seed) for seed in range(3)][1:]
    model, optimizer, monitors = start()
    epoch(model, optimizer, monitors, 0)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    assert saved[1]["param_groups"][0][STEPS] == 70
    again = start()
    again[0].load_state_dict(saved[0])
    again[1].load_state_dict(saved[1])
    got = [epoch(*again, seed) for seed in (1, 2)]
    for one in (*expected, *got):
        one.pop("monitor/carried")  # after a resume the first step has nothing before it
    assert got == expected
    assert got[-1]["monitor/step"] == 210


class Waits(TorchDispatchMode):
    """Counts what a GPU would have to be waited for: numbers that Python asks of a tensor."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        asks = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select")
        self.count += any(name in str(function) for name in asks)
        return function(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device():
    model = network()
    monitors, optimizer = watched(model, every=1)
    with Waits() as waits:
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            monitors.clipped(nn.utils.clip_grad_norm_(model.parameters(), 1.0) > 1.0)
            optimizer.step()
    assert waits.count == 0
    assert len(monitors.epoch()) > 10


def test_every_must_be_a_number_of_steps():
    with pytest.raises(ValueError, match="every >= 1"):
        watched(network(), every=0)


# ---- in the learner --------------------------------------------------------------------------------------------------


def test_the_learner_watches_where_the_config_says_so():
    config = {
        "epochs": 2,
        "data": {"batch_size": 64, "split": {"val": 0.2, "test": 0.2, "seed": 0}},
        "model": {"name": "mlp", "inputs": [64], "outputs": 10, "depth": 1, "width": 16, "activation": "relu"}
        | {"dropout": 0.2},
        "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999},
        "schedule": {"name": "cosine", "final_lr": 0.0},
    }

    def told(**more):
        parts = (lambda c: models.build(c["model"]), lambda c: toys.digits(**c["data"]["split"]))
        return Learner({**config, **more}, *parts, 0).epoch()

    watched = told(monitor=True)
    assert watched["monitor/lr"] == 0.01
    assert {name: watched[name] for name in watched if not is_monitor(name)} == told()
