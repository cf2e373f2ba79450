"""MNIST, or any data set in its IDX format (Fashion-MNIST, KMNIST): http://yann.lecun.com/exdb/mnist.

A folder holds up to four files, plain or gzipped. With the training files the validation set is cut from them and the
t10k files are the test set; with the t10k files alone those are cut into train, validation and test.
"""

from __future__ import annotations

import functools
import gzip
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sweeper.training.data import Data, Examples, assemble, holdout, split
from sweeper.training.goals import CLASSIFICATION
from sweeper.words.errors import ConfigError

MAGIC = b"\0\0\x08"  # of an IDX file of unsigned bytes; the number of dimensions follows

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "t10k": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def mnist(root: str | Path, val: float, test: float, seed: int, scaling: Mapping[str, Any] | None = None) -> Data:
    """Inputs (N, 1, 28, 28), 10 classes; `test` counts only where the training files are missing.

    `scaling`: a `scaling` config, None: the standard one, over all pixels.
    """
    folder = Path(root)
    how: dict[str, Any] = {"goal": CLASSIFICATION, "per_feature": False, "scaling": scaling}
    if not _find(folder, "train"):
        return split(_read_part(folder, "t10k"), val, test, seed, **how)
    pool = _read_part(folder, "train")
    for_val, for_train = holdout(pool.targets, (val,), seed, stratify=True)
    return assemble(pool, for_train, for_val, lambda: _read_part(folder, "t10k"), **how)


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file of unsigned bytes: its shape stands as big-endian integers after the magic number."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if content[:3] != MAGIC:
        raise ConfigError(f"An IDX file of bytes must begin with {MAGIC!r}, but {path} begins with {content[:3]!r}.")
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    wanted, found = math.prod(shape), len(content) - start
    if wanted != found:
        raise ConfigError(f"{path} must hold {wanted} bytes after its header, but holds {found}; fetch it again.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _find(folder: Path, part: str) -> list[Path]:
    """Images and labels of "train" or "t10k", or nothing if one of the two is missing."""
    found = [path for name in FILES[part] for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    images, labels = ([p for p in found if p.name.startswith(name)] for name in FILES[part])
    return [images[0], labels[0]] if images and labels else []


def _read_part(folder: Path, part: str) -> Examples:
    paths = _find(folder, part)
    if not paths:
        raise ConfigError(_missing(folder, part))
    return _read_pair(*paths)


@functools.lru_cache(maxsize=2)  # a worker trains many trials on the same data; bytes, so that 60,000 images are 47 MB
def _read_pair(images_path: Path, labels_path: Path) -> Examples:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if len(images) != len(labels):
        raise ConfigError(f"{images_path} and {labels_path} must match, but hold {len(images)} and {len(labels)}.")
    return Examples(torch.from_numpy(images.copy()).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def _missing(folder: Path, part: str) -> str:
    names = " and ".join(FILES[part])
    also = f" (or the whole data set: also {' and '.join(FILES['train'])})" if not _find(folder, "train") else ""
    return (
        f"The folder {folder.absolute()} must hold {names}, plain or as .gz{also}, but does not; "
        "name the folder that does with data.root=FOLDER."
    )
