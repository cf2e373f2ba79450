"""PyTorch's own optimizers, by name.

The keys are those of a `conf/optimizer/*.yaml`. `lr` is the learning rate, `weight_decay` the L2 penalty that PyTorch
adds to the gradient. Adam's betas are two keys, so that a sweep can search each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, optim

from sweeper.errors import ConfigError
from sweeper.training.choices import make

Parameters = Iterable[Tensor]


def sgd(parameters: Parameters, *, lr: float, weight_decay: float, momentum: float, nesterov: bool) -> optim.Optimizer:
    """Stochastic gradient descent, with Nesterov's look-ahead if asked for (Sutskever et al. 2013)."""
    if nesterov and momentum <= 0:
        raise ConfigError(f"`momentum > 0` must hold with optimizer.nesterov=true, but got momentum={momentum}.")
    return optim.SGD(parameters, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov)


def adam(parameters: Parameters, *, lr: float, weight_decay: float, beta1: float, beta2: float) -> optim.Optimizer:
    """Adam (Kingma and Ba 2015)."""
    return optim.Adam(parameters, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2))


def nadam(parameters: Parameters, *, lr: float, weight_decay: float, beta1: float, beta2: float) -> optim.Optimizer:
    """Adam with Nesterov's momentum (Dozat 2016)."""
    return optim.NAdam(parameters, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2))


def rmsprop(
    parameters: Parameters, *, lr: float, weight_decay: float, alpha: float, momentum: float
) -> optim.Optimizer:
    """RMSprop (Hinton, lecture 6e); `alpha` is the decay of the running mean of squared gradients."""
    return optim.RMSprop(parameters, lr=lr, weight_decay=weight_decay, alpha=alpha, momentum=momentum)


OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {"sgd": sgd, "adam": adam, "nadam": nadam, "rmsprop": rmsprop}


def build(parameters: Parameters, settings: Mapping[str, Any]) -> optim.Optimizer:
    """The optimizer of an `optimizer` config: its `name` and its own keys."""
    return make("optimizer", OPTIMIZERS, settings, parameters)
