import pytest
import torch
from torch import nn, optim

from sweeper.training.regularisation import build
from sweeper.words.errors import ConfigError


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.PReLU(), nn.Linear(4, 2))


def step(model: nn.Module, optimizer, penalty=None) -> None:
    optimizer.zero_grad()
    loss = model(torch.eye(3)).square().sum()
    (loss if penalty is None else loss + penalty).backward()
    optimizer.step()


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_l2_is_the_optimizers_weight_decay(kind, biases):
    penalised, decayed = network(), network()
    regularisation = build({"l2": 0.3, "biases": biases})
    step(penalised, kind(penalised.parameters(), lr=0.01), regularisation.penalty(penalised))
    step(decayed, kind(regularisation.parameters(decayed), lr=0.01, weight_decay=0.3))
    pairs = zip(penalised.parameters(), decayed.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in pairs)


def test_the_penalties_by_hand():
    model = nn.Linear(2, 1)
    model.weight.data, model.bias.data = torch.tensor([[3.0, -4.0]]), torch.tensor([2.0])
    assert build({"l1": 0.1, "biases": False}).penalty(model).item() == pytest.approx(0.7)
    assert build({"l1": 0.1}).penalty(model).item() == pytest.approx(0.9)
    assert build({"l2": 0.1, "biases": False}).penalty(model).item() == pytest.approx(0.05 * 25)
    assert build({"l1": 0.1, "l2": 0.1}).penalty(model).item() == pytest.approx(0.9 + 0.05 * 29)


def test_l1_drives_a_weight_that_nobody_needs_to_0_and_l2_only_near():
    weights = {}
    for name in ("l1", "l2"):
        model = nn.Linear(1, 1, bias=False)
        model.weight.data.fill_(1.0)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        for _ in range(30):
            optimizer.zero_grad()
            build({name: 0.5}).penalty(model).backward()
            optimizer.step()
        weights[name] = abs(model.weight.item())
    assert weights["l1"] < 0.051  # it moves in steps of lr * l1
    assert 0.1 < weights["l2"] < 0.3


def test_max_norm_bounds_every_units_weights_after_a_step_and_no_bias():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 5))
    for parameter in model.parameters():
        parameter.data.mul_(20)
    model[2].weight.data[0] = 0.01
    biases = [model[0].bias.clone(), model[2].bias.clone()]
    build({"max_norm": 1.5}).bound(model)
    norms = torch.cat([layer.weight.flatten(1).norm(dim=1) for layer in (model[0], model[2])])
    assert norms.max().item() == pytest.approx(1.5, rel=1e-4)
    assert model[2].weight[0].tolist() == pytest.approx([0.01] * 3)
    assert model[0].bias.equal(biases[0])
    assert model[2].bias.equal(biases[1])


def test_without_biases_decay_concerns_matrices_and_kernels_alone():
    decayed, others = build({"biases": False}).parameters(network())
    assert [each.ndim for each in decayed["params"]] == [2, 2]
    assert len(others["params"]) == 5
    assert others["weight_decay"] == 0
    assert len(list(build({"biases": True}).parameters(network()))) == 7


def test_none_has_no_penalty_and_less_than_none_is_refused():
    assert not build({}).has_penalty
    with pytest.raises(ConfigError, match=r"`regularisation\.l1 >= 0` must hold, but got -0\.1"):
        build({"l1": -0.1})
    with pytest.raises(ConfigError, match=r"`regularisation\.max_norm > 0` must hold, but got 0"):
        build({"max_norm": 0})
