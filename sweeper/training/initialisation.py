"""First weights whose spread keeps the size of the signal from layer to layer.

he: normal, variance 2 / fan_in (He et al. 2015).
lecun: normal, variance 1 / fan_in (LeCun et al. 1998; Klambauer et al. 2017 for SELU).
glorot: normal, variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010).
Biases begin at 0.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sweeper.training.choices import pick

# Small first outputs: the loss begins at chance, log(classes), as CS231n's sanity check asks for.
OUTPUT_GAIN = 0.1

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "he": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "lecun": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"),
    "glorot": nn.init.xavier_normal_,
}


def initialise(model: nn.Module, name: str) -> None:
    """Draw the weights of every linear and convolutional layer of `model` anew; the last one is the output layer."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in layers:
        pick("initialisation", WEIGHTS, name)(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    nn.init.kaiming_normal_(layers[-1].weight, nonlinearity="linear")
    layers[-1].weight.data.mul_(OUTPUT_GAIN)
