"""The networks: an MLP for inputs of any shape, a small CNN for images.

Both take, beside their sizes:
    activation, initialisation: the nonlinearity, and the first weights ("auto": what fits it).
    batch_norm: normalise each hidden layer's sums over the batch, before the activation as in Ioffe and Szegedy (2015);
        the layer's own bias is left out, for the normalisation has one.
    dropout, input_dropout: shares of hidden units and inputs that are dropped (Srivastava et al. 2014: 0.5 and 0.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from sweeper.training.activations import activation as new_activation
from sweeper.training.activations import dropout as new_dropout
from sweeper.training.choices import make, pick
from sweeper.training.initialisation import AUTO, initialise
from sweeper.words.errors import ConfigError


class MLP(nn.Module):
    """`depth` hidden layers of `width` units: (N, *inputs) -> (N, outputs), without a final softmax.

    `inputs` is the shape of one example, flattened here; `shape` says how the width goes on: see `widths`.
    """

    def __init__(
        self,
        *,
        inputs: Iterable[int],
        outputs: int,
        depth: int,
        width: int,
        activation: str,
        dropout: float,
        shape: str = "same",
        initialisation: str = AUTO,
        batch_norm: bool = False,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten(), *_input_dropout(input_dropout)]
        size = math.prod(inputs)
        for units in widths(shape, depth, width, outputs):
            layers += [nn.Linear(size, units, bias=not batch_norm), *_norm(nn.BatchNorm1d, units, batch_norm)]
            layers += [new_activation(activation), *new_dropout(dropout, activation)]
            size = units
        self.layers = nn.Sequential(*layers, nn.Linear(size, outputs))
        initialise(self, initialisation, activation)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs


def widths(shape: str, depth: int, width: int, outputs: int) -> list[int]:
    """The units of each hidden layer.

    same: `width` each. funnel: from `width` on each narrower by the same ratio, the outputs being the next step;
    never narrower than the outputs.

    >>> widths("funnel", 3, 80, 10)
    [80, 40, 20]
    """
    ratio = pick("model.shape", {"same": 1.0, "funnel": min(1.0, outputs / width) ** (1 / max(1, depth))}, shape)
    return [round(width * ratio**layer) for layer in range(depth)]


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
        initialisation: str = AUTO,
        batch_norm: bool = False,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, width_pixels = _image_shape(inputs, depth)
        blocks: list[nn.Module] = _input_dropout(input_dropout)
        for block in range(depth):
            wider = width * 2**block
            blocks += [nn.Conv2d(channels, wider, 3, padding=1, bias=not batch_norm)]
            blocks += [*_norm(nn.BatchNorm2d, wider, batch_norm), new_activation(activation), nn.MaxPool2d(2)]
            channels = wider
        features = channels * (height // 2**depth) * (width_pixels // 2**depth)
        self.features = nn.Sequential(*blocks, nn.Flatten(), *new_dropout(dropout, activation))
        self.hidden = nn.Sequential(
            nn.Linear(features, hidden, bias=not batch_norm),
            *_norm(nn.BatchNorm1d, hidden, batch_norm),
            new_activation(activation),
            *new_dropout(dropout, activation),
        )
        self.outputs = nn.Linear(hidden, outputs)
        initialise(self, initialisation, activation)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.outputs(self.hidden(self.features(inputs)))
        return outputs


MODELS: dict[str, type[nn.Module]] = {"mlp": MLP, "cnn": CNN}


def build(settings: Mapping[str, Any]) -> nn.Module:
    """The network of a `model` config: its `name` and the keywords of its class."""
    return make("model", MODELS, settings)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether it normalises over the batch, which must then hold two examples at least."""
    return any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in model.modules())


def _norm(kind: type[nn.Module], units: int, wanted: bool) -> list[nn.Module]:
    return [kind(units)] if wanted else []


def _input_dropout(share: float) -> list[nn.Module]:
    """Plain dropout: the inputs are no outputs of an activation."""
    return new_dropout(share, "identity", "model.input_dropout")


def _image_shape(inputs: Iterable[int], depth: int) -> tuple[int, int, int]:
    shape = tuple(inputs)
    if len(shape) != 3:
        raise ConfigError(f"model=cnn needs images of the shape (C, H, W), but the data's examples are {shape}.")
    if min(shape[1:]) < 2**depth:
        raise ConfigError(
            f"`2**depth <= height, width` must hold for model=cnn, but got model.depth={depth} for images {shape}."
        )
    return shape[0], shape[1], shape[2]
