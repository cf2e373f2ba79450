"""What the first layer looks for, as a picture: of a network that has learned, smooth shapes instead of noise.

Noisy or faint ones are a sign of a network that has not converged, of a learning rate that does not fit, or of too
little regularisation (CS231n, Neural Networks Part 3, "First-layer visualizations").

    save(model, trial.folder / "first_layer.png")                       # of a CNN
    save(model, trial.folder / "first_layer.png", shape=(1, 28, 28))    # of an MLP on flattened images
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sweeper.words.errors import ConfigError

LEAST_PIXELS = 32
"""Of a tile's edge in a file: a filter of 3x3 is made larger, each weight a square."""


@torch.no_grad()
def grid(model: nn.Module, shape: Sequence[int] | None = None) -> Tensor:
    """A tile a unit, (H, W, 3) in 0..255; each is scaled by its own largest weight, and grey is zero.

    Filters with three inputs are coloured; of others each unit shows the mean over its inputs. `shape`: (C, H, W) of
    the images that a linear first layer gets flattened. Raises ConfigError for a layer that is of no images.
    """
    kinds = (nn.Conv2d, nn.Linear)
    layer = next((each for each in model.modules() if isinstance(each, kinds)), None)
    if layer is None:
        raise ConfigError("A picture of the first layer needs an nn.Conv2d or an nn.Linear, but the network has none.")
    weight = layer.weight.detach().float().cpu()
    if weight.ndim == 2:
        weight = weight.reshape(len(weight), *_image(weight.shape[1], shape))
    coloured = weight if weight.shape[1] == 3 else weight.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    tiles = coloured / coloured.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    padded = nn.functional.pad(tiles * 0.5 + 0.5, (0, 1, 0, 1), value=1.0)  # (units, 3, h + 1, w + 1)
    columns = math.ceil(math.sqrt(len(padded)))
    rows = math.ceil(len(padded) / columns)
    blank = torch.ones(rows * columns - len(padded), *padded.shape[1:])
    whole = torch.cat([padded, blank]).unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    picture: Tensor = (whole[:-1, :-1] * 255).round().to(torch.uint8)
    return picture


def save(model: nn.Module, path: Path | str, shape: Sequence[int] | None = None) -> None:
    """The grid as a PNG file."""
    picture = grid(model, shape)
    edge = min(picture.shape[:2])
    times = max(1, -(-LEAST_PIXELS * 8 // max(1, edge)))
    Path(path).write_bytes(png(picture.repeat_interleave(times, 0).repeat_interleave(times, 1)))


def png(picture: Tensor) -> bytes:
    """A picture (H, W, 3) in 0..255 as a PNG file: 8 bits a channel, one part, nothing left out (RFC 2083)."""
    height, width, _ = picture.shape
    rows = torch.cat([torch.zeros(height, 1, dtype=torch.uint8), picture.reshape(height, -1)], dim=1)  # filter 0
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.contiguous().numpy().tobytes(), 9)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(data)) + kind + data + _checksum(kind + data) for kind, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _checksum(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _image(inputs: int, shape: Sequence[int] | None) -> tuple[int, ...]:
    """(C, H, W) of a linear layer's inputs; without a `shape` a square of grey, or of colours."""
    if shape is not None:
        if math.prod(shape) != inputs or len(shape) != 3:
            raise ConfigError(f"`shape` must be (C, H, W) with {inputs} entries in all, but got {tuple(shape)}.")
        return tuple(shape)
    for channels in (1, 3):
        edge = math.isqrt(inputs // channels)
        if channels * edge * edge == inputs:
            return channels, edge, edge
    raise ConfigError(f"{inputs} inputs are no square image: give its shape=(C, H, W).")
