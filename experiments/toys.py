"""The data sets that scikit-learn brings along; nothing is downloaded.

Each function takes the shares of the validation and the test set, the split's seed and a `scaling` config (None: the
standard one), and gives scaled `Data`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike

from sweeper.training.data import Data, Examples, split
from sweeper.training.goals import CLASSIFICATION, REGRESSION

Settings = Mapping[str, Any] | None


def digits(val: float, test: float, seed: int, scaling: Settings = None) -> Data:
    """1,797 handwritten digits of 8x8 pixels: inputs (N, 64), 10 classes."""
    return split(_raw("load_digits"), val, test, seed, CLASSIFICATION, per_feature=False, scaling=scaling)


def breast_cancer(val: float, test: float, seed: int, scaling: Settings = None) -> Data:
    """569 tumours, malignant (0) or benign (1): inputs (N, 30), 2 classes."""
    return split(_raw("load_breast_cancer"), val, test, seed, CLASSIFICATION, per_feature=True, scaling=scaling)


def diabetes(val: float, test: float, seed: int, scaling: Settings = None) -> Data:
    """442 patients and their disease's progress after a year: inputs (N, 10), targets (N, 1), a regression."""
    raw = _raw("load_diabetes")
    pool = Examples(raw.inputs, raw.targets.float().unsqueeze(1))
    return split(pool, val, test, seed, REGRESSION, per_feature=True, scaling=scaling)


@functools.cache  # a worker trains many trials on the same data
def _raw(loader: str) -> Examples:
    import sklearn.datasets  # late: it costs a second, and MNIST needs none of it

    inputs, targets = getattr(sklearn.datasets, loader)(return_X_y=True)
    return Examples(_float(inputs), torch.as_tensor(targets))


def _float(values: ArrayLike) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
