"""Shuffled batches out of memory.

The data sets here fit on the device, where a batch is one indexing call; a `DataLoader` costs more than a small
network's whole step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sweeper.errors import ConfigError
from sweeper.training.data import Examples


class Batches:
    """Each iteration is one epoch: every example once, in a new order.

    The order comes from `generator`, which lives on the CPU so that it is the same on every device; give it to
    `trial.epochs(state={"loader": batches.generator, ...})` and a resumed trial sees the order that it would have seen.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise ConfigError(f"`batch_size >= 1` must hold, but got data.batch_size={batch_size}.")
        self.examples = examples
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return -(-len(self.examples) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of inputs (B, ...) and targets (B,) or (B, K) with B <= batch_size."""
        order = torch.randperm(len(self.examples), generator=self.generator)
        for index in order.to(self.examples.targets.device).split(self.batch_size):
            batch = self.examples[index]
            yield batch.inputs, batch.targets
