"""Shuffled batches out of memory.

The data sets here fit on the device, where a batch is one indexing call; a `DataLoader` costs more than a small
network's whole step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sweeper.training.augmentation import Augment
from sweeper.training.data import Examples
from sweeper.words.errors import ConfigError


class Batches:
    """Each iteration is one epoch: every example once, in a new order, its inputs changed by `augment` if there is one.

    The order, and what augmentation draws, comes from `generator`, which lives on the CPU so that it is the same on
    every device; give it to `trial.epochs(state={"loader": batches.generator, ...})` and a resumed trial sees the order
    that it would have seen.
    """

    def __init__(
        self, examples: Examples, batch_size: int, seed: int, *, augment: Augment | None = None, least: int = 1
    ) -> None:
        """`least`: a last batch of fewer examples joins the one before; batch normalisation needs 2."""
        if batch_size < least:
            why = "" if least == 1 else " with batch normalisation"
            raise ConfigError(f"`batch_size >= {least}` must hold{why}, but got data.batch_size={batch_size}.")
        self.examples = examples
        self.batch_size = batch_size
        self._augment = augment
        whole, rest = divmod(len(examples), batch_size)
        self._sizes = [batch_size] * whole + [rest] * (rest > 0)
        if 0 < rest < least and whole:
            self._sizes[-2:] = [batch_size + rest]
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return len(self._sizes)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of inputs (B, ...) and targets (B,) or (B, K), B being batch_size but for the last."""
        order = torch.randperm(len(self.examples), generator=self.generator)
        for index in order.to(self.examples.targets.device).split(self._sizes):
            yield self._pair(self.examples[index])

    def whole(self) -> tuple[Tensor, Tensor]:
        """One epoch as one batch: all inputs (N, ...) and targets, in their own order."""
        return self._pair(self.examples)

    def _pair(self, batch: Examples) -> tuple[Tensor, Tensor]:
        inputs = self._augment(batch.inputs, self.generator) if self._augment else batch.inputs
        return inputs, batch.targets
