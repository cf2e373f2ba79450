"""PyTorch's own optimizers, by name.

The keys are those of a `conf/optimizer/*.yaml`. `lr` is the learning rate, `weight_decay` the L2 penalty that PyTorch
adds to the gradient. Adam's betas are two keys, so that a sweep can search each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, optim

from sweeper.training.choices import make
from sweeper.words.errors import ConfigError

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]
"""A model's parameters, or groups of them with settings of their own (see regularisation.py)."""


def sgd(parameters: Parameters, *, lr: float, weight_decay: float, momentum: float, nesterov: bool) -> optim.Optimizer:
    """Stochastic gradient descent, with Nesterov's look-ahead if asked for (Sutskever et al. 2013)."""
    if nesterov and momentum <= 0:
        raise ConfigError(f"`momentum > 0` must hold with optimizer.nesterov=true, but got momentum={momentum}.")
    return optim.SGD(parameters, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov)


def plain_sgd(parameters: Parameters, *, lr: float, weight_decay: float) -> optim.Optimizer:
    """Stochastic gradient descent and nothing else: w -= lr * gradient."""
    return sgd(parameters, lr=lr, weight_decay=weight_decay, momentum=0.0, nesterov=False)


def momentum(parameters: Parameters, *, lr: float, weight_decay: float, momentum: float) -> optim.Optimizer:
    """Stochastic gradient descent with momentum (Polyak 1964)."""
    return sgd(parameters, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=False)


def nesterov(parameters: Parameters, *, lr: float, weight_decay: float, momentum: float) -> optim.Optimizer:
    """Stochastic gradient descent with Nesterov's momentum (Sutskever et al. 2013)."""
    return sgd(parameters, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=True)


def adagrad(parameters: Parameters, *, lr: float, weight_decay: float) -> optim.Optimizer:
    """Each weight's rate falls with the sum of its squared gradients (Duchi et al. 2011)."""
    return optim.Adagrad(parameters, lr=lr, weight_decay=weight_decay)


def rmsprop(
    parameters: Parameters, *, lr: float, weight_decay: float, alpha: float, momentum: float
) -> optim.Optimizer:
    """RMSprop (Hinton, lecture 6e); `alpha` is the decay of the running mean of squared gradients."""
    return optim.RMSprop(parameters, lr=lr, weight_decay=weight_decay, alpha=alpha, momentum=momentum)


def adam(parameters: Parameters, *, lr: float, weight_decay: float, beta1: float, beta2: float) -> optim.Optimizer:
    """Adam (Kingma and Ba 2015)."""
    return optim.Adam(parameters, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2))


def adamw(parameters: Parameters, *, lr: float, weight_decay: float, beta1: float, beta2: float) -> optim.Optimizer:
    """Adam whose weight decay is no part of the gradient: w -= lr * weight_decay * w (Loshchilov and Hutter 2019)."""
    return optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2))


def nadam(parameters: Parameters, *, lr: float, weight_decay: float, beta1: float, beta2: float) -> optim.Optimizer:
    """Adam with Nesterov's momentum (Dozat 2016)."""
    return optim.NAdam(parameters, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2))


def adamax(parameters: Parameters, *, lr: float, weight_decay: float, beta1: float, beta2: float) -> optim.Optimizer:
    """Adam with the largest gradient of late in the place of their mean square (Kingma and Ba 2015, section 7.1)."""
    return optim.Adamax(parameters, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2))


def lbfgs(parameters: Parameters, *, lr: float, iterations: int, history: int, line_search: bool) -> optim.Optimizer:
    """L-BFGS (Liu and Nocedal 1989): `iterations` on all the training examples per epoch, where others take steps.

    `line_search`: along each direction to a point that meets the strong Wolfe conditions; else by `lr` of it. It has no
    weight decay of its own (regularisation.l2 has one), and no groups.
    """
    flat = [one for each in parameters for one in (each["params"] if isinstance(each, dict) else [each])]
    search = "strong_wolfe" if line_search else None
    return optim.LBFGS(flat, lr=lr, max_iter=iterations, history_size=history, line_search_fn=search)


OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": sgd,
    "plain_sgd": plain_sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "nadam": nadam,
    "adamax": adamax,
    "lbfgs": lbfgs,
}


def build(parameters: Parameters, settings: Mapping[str, Any]) -> optim.Optimizer:
    """The optimizer of an `optimizer` config: its `name` and its own keys."""
    return make("optimizer", OPTIMIZERS, settings, parameters)


def takes_all_examples(optimizer: optim.Optimizer) -> bool:
    """Whether a step needs the loss of every training example, at several points: L-BFGS alone."""
    return isinstance(optimizer, optim.LBFGS)
