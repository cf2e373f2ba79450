import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from sweeper.training import ensembles
from sweeper.training.ensembles import OUTPUTS, PROBABILITIES, Ensemble, Votes, choose
from sweeper.training.goals import CLASSIFICATION, REGRESSION


def guesses(models: int, examples: int, noise: float = 1.5, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers (M, N, K) of models whose mistakes are independent, and the targets (N,)."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(classes, (examples,), generator=generator)
    outputs = 2 * functional.one_hot(targets) + noise * torch.randn(models, examples, classes, generator=generator)
    return outputs.double().softmax(dim=2), targets


def test_an_ensemble_averages_probabilities():
    members = [nn.Linear(4, 3), nn.Linear(4, 3)]
    inputs = torch.randn(5, 4)
    wanted = 0.25 * members[0](inputs).softmax(dim=1) + 0.75 * members[1](inputs).softmax(dim=1)
    found = Ensemble(members, [0.25, 0.75], PROBABILITIES)(inputs)
    torch.testing.assert_close(found, wanted.detach())
    assert not found.requires_grad
    assert found.dtype == torch.float32


def test_an_ensemble_of_a_regression_averages_outputs():
    members = [nn.Linear(4, 1), nn.Linear(4, 1)]
    inputs = torch.randn(5, 4)
    wanted = (members[0](inputs) + members[1](inputs)) / 2
    torch.testing.assert_close(Ensemble(members, [0.5, 0.5], OUTPUTS)(inputs), wanted.detach())
    assert ensembles.averaged(REGRESSION) == OUTPUTS


def test_dropout_is_off():
    ensemble = Ensemble([nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9))], [1.0], OUTPUTS).train()
    inputs = torch.randn(5, 4)
    assert torch.equal(ensemble(inputs), ensemble(inputs))


@pytest.mark.parametrize("goal", [CLASSIFICATION, REGRESSION])
def test_the_losses_are_the_goals(goal):
    each, targets = guesses(3, 20)
    wanted = targets if goal is CLASSIFICATION else each[0] + torch.randn(20, 3)
    votes, weights = Votes.of(each, wanted, goal), torch.tensor([0.2, 0.3, 0.5], dtype=torch.double)
    mean = torch.tensordot(weights, each, dims=1)
    outputs = ensembles.as_outputs(mean, ensembles.averaged(goal))
    assert float(votes.average(weights).mean()) == pytest.approx(float(goal.loss(outputs, wanted)))
    assert votes.losses(votes.values).shape == (3, 20)


def test_a_sure_mistake_is_a_loss_and_no_infinity():
    each = torch.tensor([[[1.0, 0.0]]], dtype=torch.double)
    votes = Votes.of(each, torch.tensor([1]), CLASSIFICATION)
    assert 100 < float(votes.losses(votes.values)) < math.inf
    assert torch.isfinite(ensembles.as_outputs(each[0], PROBABILITIES)).all()


def test_models_that_make_other_mistakes_are_averaged():
    choice = choose(Votes.of(*guesses(6, 300), CLASSIFICATION))
    assert sum(choice.weights) == pytest.approx(1)
    assert sum(weight > 0 for weight in choice.weights) > 3
    assert choice.gain > 3 * choice.error > 0
    assert choice.gain_elsewhere is not None
    assert choice.gain_elsewhere > 0


def test_of_equal_models_one_is_taken():
    each, targets = guesses(1, 50)
    choice = choose(Votes.of(each.expand(4, -1, -1), targets, CLASSIFICATION))
    assert choice.weights == (1.0, 0.0, 0.0, 0.0)
    assert (choice.gain, choice.error, choice.gain_elsewhere) == (0.0, 0.0, 0.0)


def test_a_bad_model_gets_no_weight():
    each, targets = guesses(3, 200)
    each = torch.cat([each, each.roll(1, dims=2)[:1]])
    assert choose(Votes.of(each, targets, CLASSIFICATION)).weights[3] == 0


def test_the_ensemble_is_never_worse_than_the_best_alone_where_both_were_chosen():
    for count in (2, 5, 30):
        assert choose(Votes.of(*guesses(4, count), CLASSIFICATION), elections=3).gain >= 0


def test_the_error_is_that_of_a_mean():
    votes = Votes.of(*guesses(3, 400), CLASSIFICATION)
    choice = choose(votes)
    gains = votes.losses(votes.values)[choice.single] - votes.average(torch.tensor(choice.weights, dtype=torch.double))
    assert choice.error == pytest.approx(float(gains.std()) / 20, rel=0.15)


def test_luck_on_the_validation_set_is_no_gain_elsewhere():
    """Two answers without any knowledge: whatever the choice gains on its examples is luck."""
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(8, 60, 1, generator=generator).double()
    targets = torch.zeros(60, 1)
    targets[:] = torch.randn(60, 1, generator=generator)
    choice = choose(Votes.of(0.01 * outputs, targets, REGRESSION))
    assert choice.gain_elsewhere is not None
    assert choice.gain_elsewhere < choice.gain


def test_the_choice_is_the_same_again():
    votes = Votes.of(*guesses(5, 40), CLASSIFICATION)
    assert choose(votes, elections=5) == choose(votes, elections=5)
