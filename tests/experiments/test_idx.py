import gzip
import struct

import numpy as np
import pytest

from experiments.idx import mnist, read_idx
from sweeper.words.errors import ConfigError

SPLIT = {"val": 0.25, "test": 0.25, "seed": 0}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_part(folder, part: str, count: int, compress: bool) -> None:
    random = np.random.default_rng(count)
    arrays = {
        f"{part}-images-idx3-ubyte": random.integers(0, 256, (count, 28, 28), dtype=np.uint8),
        f"{part}-labels-idx1-ubyte": (np.arange(count) % 10).astype(np.uint8),
    }
    for name, array in arrays.items():
        content = idx(array)
        (folder / (name + ".gz" * compress)).write_bytes(gzip.compress(content) if compress else content)


@pytest.mark.parametrize("compress", [False, True])
def test_read_idx_round_trip(tmp_path, compress):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / ("x.gz" if compress else "x")
    path.write_bytes(gzip.compress(idx(array)) if compress else idx(array))
    assert np.array_equal(read_idx(path), array)


def test_read_idx_refuses_other_and_torn_files(tmp_path):
    (tmp_path / "other").write_bytes(b"\x89PNG0000")
    (tmp_path / "torn").write_bytes(idx(np.zeros((3, 4), np.uint8))[:-1])
    with pytest.raises(ConfigError, match="must begin with"):
        read_idx(tmp_path / "other")
    with pytest.raises(ConfigError, match="must hold 12 bytes after its header, but holds 11"):
        read_idx(tmp_path / "torn")


@pytest.mark.parametrize("compress", [False, True])
def test_the_t10k_files_alone_are_cut_in_three(tmp_path, compress):
    write_part(tmp_path, "t10k", 80, compress)
    data = mnist(tmp_path, **SPLIT)
    assert [len(part) for part in (data.train, data.val, data.open_test())] == [40, 20, 20]
    assert data.train.inputs.shape == (40, 1, 28, 28)
    assert abs(data.train.inputs.mean()) < 1e-5


def test_with_training_files_t10k_is_the_test_set(tmp_path):
    write_part(tmp_path, "train", 120, compress=True)
    write_part(tmp_path, "t10k", 80, compress=False)
    data = mnist(str(tmp_path), **SPLIT)
    assert [len(part) for part in (data.train, data.val, data.open_test())] == [90, 30, 80]


def test_training_needs_no_test_files(tmp_path):
    write_part(tmp_path, "train", 120, compress=False)
    data = mnist(tmp_path, **SPLIT)
    with pytest.raises(ConfigError, match="must hold t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"):
        data.open_test()


def test_missing_files_are_named_with_their_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere must hold t10k-images-.*train-labels-.*data\.root=FOLDER"):
        mnist(tmp_path / "nowhere", **SPLIT)


def test_images_and_labels_must_match(tmp_path):
    write_part(tmp_path, "t10k", 80, compress=False)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(79, np.uint8)))
    with pytest.raises(ConfigError, match="must match, but hold 80 and 79"):
        mnist(tmp_path, **SPLIT)
