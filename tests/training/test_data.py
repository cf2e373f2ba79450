import pytest
import torch

from sweeper.training.data import Examples, assemble, holdout, split
from sweeper.training.goals import CLASSIFICATION, REGRESSION
from sweeper.words.errors import ConfigError

LABELS = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)


def pool(count: int = 100) -> Examples:
    """Inputs that tell their own number, so that a set's members can be read back."""
    return Examples(torch.arange(count, dtype=torch.float32).unsqueeze(1), LABELS[:count])


def test_holdout_is_disjoint_and_complete():
    parts = holdout(LABELS, (0.2, 0.1), seed=0, stratify=True)
    assert [len(part) for part in parts] == [20, 10, 70]
    assert sorted(torch.cat(parts).tolist()) == list(range(100))


def test_holdout_keeps_the_mix_of_classes():
    for part, counts in zip(holdout(LABELS, (0.2, 0.1), 0, True), ([14, 4, 2], [7, 2, 1], [49, 14, 7]), strict=True):
        assert torch.bincount(LABELS[part]).tolist() == counts


def test_holdout_follows_its_seed():
    first, again, other = (holdout(LABELS, (0.2,), seed, stratify=True)[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("shares", [(0.0,), (1.0,), (0.5, 0.5), (-0.1,)])
def test_holdout_refuses_impossible_shares(shares):
    with pytest.raises(ConfigError, match="val \\+ test < 1"):
        holdout(LABELS, shares, seed=0, stratify=False)


def test_scaling_comes_from_the_training_set_alone():
    raw = pool()
    far = Examples(torch.cat([raw.inputs[:50], raw.inputs[50:] + 1e6]), raw.targets)
    data = assemble(far, torch.arange(50), torch.arange(50, 100), lambda: far, CLASSIFICATION, per_feature=True)
    assert data.train.inputs.mean().abs() < 1e-5
    assert data.train.inputs.std(correction=0).item() == pytest.approx(1)
    assert data.val.inputs.min() > 1e4


def test_split_is_disjoint_also_from_the_test_set():
    data = split(pool(), 0.2, 0.2, 0, CLASSIFICATION, per_feature=True)
    sets = [{round(x, 5) for x in part.inputs.flatten().tolist()} for part in (data.train, data.val, data.open_test())]
    assert [len(part) for part in sets] == [60, 20, 20]
    assert len(set.union(*sets)) == 100


def test_the_test_set_is_opened_by_its_own_call_only():
    calls = []

    def open_test() -> Examples:
        calls.append(1)
        return pool()

    data = assemble(pool(), torch.arange(50), torch.arange(50, 60), open_test, CLASSIFICATION, per_feature=True)
    moved = data.to("cpu")
    assert not calls
    assert len(moved.open_test()) == 100
    assert calls == [1]


def test_the_targets_of_a_regression_are_scaled():
    raw = Examples(torch.randn(100, 3), torch.arange(100, dtype=torch.float32).unsqueeze(1) * 50)
    data = split(raw, 0.2, 0.2, 0, REGRESSION, per_feature=True)
    assert data.train.targets.std(correction=0).item() == pytest.approx(1, rel=1e-5)
    assert data.val.targets.abs().max() < 3
