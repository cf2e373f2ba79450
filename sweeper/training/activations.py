"""The nonlinearities by name, each with the initialisation that fits it (see initialisation.py)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sweeper.training.choices import pick

ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "relu": (nn.ReLU, "he"),
    "leaky_relu": (nn.LeakyReLU, "he"),
    "gelu": (nn.GELU, "he"),
    "silu": (nn.SiLU, "he"),
    "elu": (nn.ELU, "lecun"),
    "selu": (nn.SELU, "lecun"),
    "tanh": (nn.Tanh, "glorot"),
    "sigmoid": (nn.Sigmoid, "glorot"),
}


def activation(name: str) -> nn.Module:
    """A new module for the activation of this name."""
    return pick("model.activation", ACTIVATIONS, name)[0]()


def fitting_initialisation(name: str) -> str:
    """ "he", "lecun" or "glorot": the initialisation that keeps the signal's size through layers of this activation."""
    return pick("model.activation", ACTIVATIONS, name)[1]
