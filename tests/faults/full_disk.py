"""A study whose checkpoints weigh about 600 KB and whose reports are long, run where a disk is too small for it."""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path

import numpy
import torch

import sweeper

TRIALS, EPOCHS, STUDY = 2, 4, "disk"


def train(trial: sweeper.Trial) -> None:
    torch.set_num_threads(1)
    for seed in (random.seed, numpy.random.seed, torch.manual_seed):
        seed(trial.seed)
    model = torch.nn.Linear(50_000, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.params["lr"])
    for _ in trial.epochs(EPOCHS, state={"model": model, "optimizer": optimizer}):
        optimizer.zero_grad()
        loss = model(torch.randn(4, 50_000)).square().mean()
        loss.backward()
        optimizer.step()
        # a long report, so that the store's journal grows while nothing else does
        trial.report(val_loss=loss, **{f"layer_{index:03d}_gradient_norm": float(loss) + index for index in range(300)})


def run(store: Path, folder: Path) -> None:
    """Ends with 0, or with 1 and the one line that a person gets."""
    logging.disable(logging.CRITICAL)
    try:
        sweeper.run(
            train,
            study=STUDY,
            space={"lr": "tag(log, interval(1e-5, 1e-3))"},
            search="random",
            epochs=EPOCHS,
            budget=TRIALS,
            metric="val_loss",
            store=f"sqlite:///{store}/sweeper.db",
            folder=folder,
        )
    except sweeper.SweeperError as error:
        print(f"error: {error}")
        sys.exit(1)
