import torch

from sweeper.training.data import Data, Examples
from sweeper.training.goals import CLASSIFICATION
from sweeper.training.whole import whole


def examples(first: int, count: int) -> Examples:
    numbers = torch.arange(first, first + count)
    return Examples(numbers.float().unsqueeze(1), numbers)


def test_the_validation_set_joins_the_training_set_and_the_test_set_stays_apart():
    data = Data(examples(0, 5), examples(5, 2), CLASSIFICATION, lambda: examples(7, 3))
    found = whole(data)
    assert found.train.targets.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert found.train.inputs.shape == (7, 1)
    assert found.val.targets.tolist() == [5, 6]
    assert found.open_test().targets.tolist() == [7, 8, 9]
