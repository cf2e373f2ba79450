"""First weights whose spread keeps the size of the signal from layer to layer.

he: variance 2 / fan_in (He et al. 2015), for ReLU and its kin.
lecun: variance 1 / fan_in (LeCun et al. 1998; Klambauer et al. 2017 for SELU), for SELU and ELU.
glorot: variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010), for tanh, sigmoid and softmax.
Each from a normal or a uniform distribution of that variance. orthogonal: rows or columns of length 1 at right angles
(Saxe et al. 2014). Biases begin at 0.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sweeper.training.activations import fitting_initialisation
from sweeper.training.choices import pick

# Small first outputs: the loss begins at chance, log(classes), as CS231n's sanity check asks for.
OUTPUT_GAIN = 0.1

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "he_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "he_uniform": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
    "lecun_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"),
    "lecun_uniform": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="linear"),
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
}

AUTO = "auto"


def initialise(model: nn.Module, name: str, activation: str = "relu") -> None:
    """Draw the weights of every linear and convolutional layer of `model` anew; the last one is the output layer.

    `name`: one of WEIGHTS, or "auto" for what fits `activation`. The output layer is LeCun's, times OUTPUT_GAIN.
    """
    fitting = fitting_initialisation(activation)
    draw = pick("model.initialisation", {AUTO: WEIGHTS[fitting], **WEIGHTS}, name)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in layers:
        draw(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    nn.init.kaiming_normal_(layers[-1].weight, nonlinearity="linear")
    layers[-1].weight.data.mul_(OUTPUT_GAIN)
