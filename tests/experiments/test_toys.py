import pytest

from experiments import toys
from sweeper.training.goals import CLASSIFICATION, REGRESSION

SPLIT = {"val": 0.2, "test": 0.2, "seed": 0}


@pytest.mark.parametrize(
    ("load", "sizes", "inputs", "targets", "goal"),
    [
        (toys.digits, (1076, 361, 360), (64,), (), CLASSIFICATION),
        (toys.breast_cancer, (342, 113, 114), (30,), (), CLASSIFICATION),
        (toys.diabetes, (266, 88, 88), (10,), (1,), REGRESSION),
    ],
)
def test_sizes_and_shapes(load, sizes, inputs, targets, goal):
    data = load(**SPLIT)
    parts = (data.train, data.val, data.open_test())
    assert tuple(len(part) for part in parts) == pytest.approx(sizes, abs=4)
    assert sum(len(part) for part in parts) == sum(sizes)
    assert all(part.inputs.shape[1:] == inputs and part.targets.shape[1:] == targets for part in parts)
    assert data.goal is goal


def test_the_same_split_every_time():
    first, again = toys.digits(**SPLIT), toys.digits(**SPLIT)
    assert first.val.inputs.equal(again.val.inputs)
    assert first.val.targets.equal(again.val.targets)


def test_digits_have_ten_classes_in_each_set():
    data = toys.digits(**SPLIT)
    assert all(set(part.targets.tolist()) == set(range(10)) for part in (data.train, data.val, data.open_test()))
