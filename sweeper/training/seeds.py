"""One seed for every random generator that a training script draws from."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch (CPU and every GPU), so that weights, dropout and augmentation are repeatable."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # NumPy's old generator takes 32 bits
    torch.manual_seed(seed)
