"""The nonlinearities by name, each with the initialisation that fits it (see initialisation.py).

He for what is 0 on one side (He et al. 2015), LeCun for what is near the identity around 0 (Klambauer et al. 2017 for
SELU), Glorot for what saturates on both sides (Glorot and Bengio 2010).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sweeper.training.choices import pick
from sweeper.words.errors import ConfigError

ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "relu": (nn.ReLU, "he_normal"),
    "leaky_relu": (nn.LeakyReLU, "he_normal"),
    "prelu": (nn.PReLU, "he_normal"),
    "gelu": (nn.GELU, "he_normal"),
    "silu": (nn.SiLU, "he_normal"),
    "mish": (nn.Mish, "he_normal"),
    "hardswish": (nn.Hardswish, "he_normal"),
    "softplus": (nn.Softplus, "he_normal"),
    "elu": (nn.ELU, "lecun_normal"),
    "celu": (nn.CELU, "lecun_normal"),
    "selu": (nn.SELU, "lecun_normal"),
    "identity": (nn.Identity, "lecun_normal"),
    "tanh": (nn.Tanh, "glorot_normal"),
    "hardtanh": (nn.Hardtanh, "glorot_normal"),
    "softsign": (nn.Softsign, "glorot_normal"),
    "sigmoid": (nn.Sigmoid, "glorot_normal"),
}


def activation(name: str) -> nn.Module:
    """A new module for the activation of this name."""
    return pick("model.activation", ACTIVATIONS, name)[0]()


def fitting_initialisation(name: str) -> str:
    """The initialisation that keeps the signal's size through layers of this activation, such as "he_normal"."""
    return pick("model.activation", ACTIVATIONS, name)[1]


def dropout(share: float, activation: str, key: str = "model.dropout") -> list[nn.Module]:
    """Dropout after an activation, as alpha dropout after SELU: it keeps mean and variance (Klambauer et al. 2017).

    No module at all for a share of 0: it would cost a call per step. Raises ConfigError.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"`0 <= {key} < 1` must hold, but got {key}={share}: it is the share that is dropped.")
    kind = nn.AlphaDropout if activation == "selu" else nn.Dropout
    return [kind(share)] if share > 0 else []
