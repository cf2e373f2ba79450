"""The networks: an MLP for inputs of any shape, a small CNN for images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from sweeper.errors import ConfigError
from sweeper.training.activations import activation as new_activation
from sweeper.training.activations import fitting_initialisation
from sweeper.training.choices import make
from sweeper.training.initialisation import initialise


class MLP(nn.Module):
    """`depth` hidden layers of `width` units: (N, *inputs) -> (N, outputs), without a final softmax.

    `inputs` is the shape of one example, flattened here; `dropout` is the share of hidden units that is dropped.
    """

    def __init__(
        self, *, inputs: Iterable[int], outputs: int, depth: int, width: int, activation: str, dropout: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        size = math.prod(inputs)
        for _ in range(depth):
            layers += [nn.Linear(size, width), new_activation(activation), *_dropout(dropout)]
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, outputs))
        initialise(self, fitting_initialisation(activation))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


class CNN(nn.Module):
    """`depth` blocks of convolution 3x3, activation and max-pooling 2x2: (N, C, H, W) -> (N, outputs).

    The first block has `width` channels and each further one twice as many; each halves height and width. One hidden
    layer of `hidden` units follows; `dropout` is the share of its inputs and of its units that is dropped.
    """

    def __init__(
        self,
        *,
        inputs: Iterable[int],
        outputs: int,
        depth: int,
        width: int,
        hidden: int,
        activation: str,
        dropout: float,
    ) -> None:
        super().__init__()
        channels, height, width_pixels = _image_shape(inputs, depth)
        blocks: list[nn.Module] = []
        for block in range(depth):
            wider = width * 2**block
            blocks += [nn.Conv2d(channels, wider, 3, padding=1), new_activation(activation), nn.MaxPool2d(2)]
            channels = wider
        features = channels * (height // 2**depth) * (width_pixels // 2**depth)
        self.features = nn.Sequential(*blocks, nn.Flatten(), *_dropout(dropout))
        self.hidden = nn.Sequential(nn.Linear(features, hidden), new_activation(activation), *_dropout(dropout))
        self.outputs = nn.Linear(hidden, outputs)
        initialise(self, fitting_initialisation(activation))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.outputs(self.hidden(self.features(inputs)))


MODELS: dict[str, type[nn.Module]] = {"mlp": MLP, "cnn": CNN}


def build(settings: Mapping[str, Any]) -> nn.Module:
    """The network of a `model` config: its `name` and the keywords of its class."""
    return make("model", MODELS, settings)


def _dropout(share: float) -> list[nn.Module]:
    """No module at all for 0: it would cost a call per step."""
    return [nn.Dropout(share)] if share > 0 else []


def _image_shape(inputs: Iterable[int], depth: int) -> tuple[int, int, int]:
    shape = tuple(inputs)
    if len(shape) != 3:
        raise ConfigError(f"model=cnn needs images of the shape (C, H, W), but the data's examples are {shape}.")
    if min(shape[1:]) < 2**depth:
        raise ConfigError(
            f"`2**depth <= height, width` must hold for model=cnn, but got model.depth={depth} for images {shape}."
        )
    return shape[0], shape[1], shape[2]
