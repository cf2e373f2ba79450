from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from experiments.first_layer import grid, png, save
from sweeper.words.errors import ConfigError


def test_each_filter_is_a_tile_scaled_by_its_own_largest_weight():
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].weight[0, 0, 0, 0], model[0].weight[1, 0, 2, 2] = 4.0, -0.5
    picture = grid(model)
    assert picture.shape == (7, 11, 3), "three columns and two rows of 3x3, a line between"
    assert picture[0, 0].tolist() == [255] * 3
    assert picture[2, 6].tolist() == [0] * 3
    assert picture[1, 1].tolist() == [128] * 3
    assert picture[4:, 8:].unique().tolist() == [255], "no filter there"


def test_colours_are_kept_and_other_inputs_averaged():
    coloured = nn.Conv2d(3, 1, 2)
    with torch.no_grad():
        coloured.weight.zero_()
        coloured.weight[0, 0] = 1.0
    assert grid(coloured)[0, 0].tolist() == [255, 128, 128]
    assert grid(nn.Conv2d(4, 2, 2)).shape == (2, 5, 3)


@pytest.mark.parametrize(("inputs", "shape", "edge"), [(64, None, 8), (48, None, 4), (32, (2, 4, 4), 4)])
def test_a_linear_layer_is_seen_as_images(inputs, shape, edge):
    assert grid(nn.Linear(inputs, 4), shape).shape == (2 * edge + 1, 2 * edge + 1, 3)


def test_what_is_no_image_is_refused():
    with pytest.raises(ConfigError, match="30 inputs are no square image"):
        grid(nn.Linear(30, 4))
    with pytest.raises(ConfigError, match="with 64 entries in all"):
        grid(nn.Linear(64, 4), (1, 7, 7))
    with pytest.raises(ConfigError, match="the network has none"):
        grid(nn.ReLU())


def test_the_file_is_a_picture_that_others_can_read(tmp_path):
    save(nn.Linear(64, 9), tmp_path / "first_layer.png")
    found = (tmp_path / "first_layer.png").read_bytes()
    assert found.startswith(b"\x89PNG")
    image = pytest.importorskip("PIL.Image")
    with image.open(io.BytesIO(found)) as opened:
        opened.load()
        assert opened.mode == "RGB"
        assert min(opened.size) >= 256
    picture = torch.arange(24, dtype=torch.uint8).reshape(2, 4, 3)
    with image.open(io.BytesIO(png(picture))) as opened:
        assert list(opened.tobytes()) == list(range(24))
