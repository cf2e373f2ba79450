import random

import numpy as np
import torch

from sweeper.training.seeds import seed_everything


def draws() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_every_generator_follows_the_seed():
    seed_everything(3)
    first = draws()
    seed_everything(3)
    assert draws() == first
    seed_everything(4)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_a_seed_beyond_32_bits():
    seed_everything(2**40 + 1)
