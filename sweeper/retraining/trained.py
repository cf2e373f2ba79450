"""A trial's setting trained once more, for its weights: with another seed, for longer, with a config that differs.

The machinery is that of `sweeper rerun`; here the folder stays, and nothing is compared.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.machine import devices
from sweeper.retraining import rerun
from sweeper.trial import checkpoint
from sweeper.trial.checkpoint import Checkpoint
from sweeper.words.errors import CheckpointError, SweeperError

RECORD = "rerun.jsonl"


@dataclass(frozen=True)
class Trained:
    """A training that has ended well: its folder, its curve, and where it ran."""

    folder: Path
    seed: int
    epochs: tuple[dict[str, Any], ...]
    """`{"epoch": 0, "val_loss": 0.3, …}` for each."""
    environment: dict[str, Any]
    composed: str | None
    """The config that Hydra has composed, as YAML."""
    changes: tuple[str, ...]
    """What has changed in script and config since the study began, one readable text each."""
    seconds: float

    def config(self, without: Collection[str] = ()) -> Any:
        """The config without some top-level keys: those that steer a sweep, of which one may hold a password."""
        from omegaconf import OmegaConf

        config: Any = OmegaConf.create(self.composed or "")
        for key in without:
            config.pop(key, None)
        return config

    def checkpoints(self) -> list[Checkpoint]:
        """The oldest first. Raises CheckpointError where there is none."""
        paths = sorted((self.folder / "checkpoints").glob("epoch=*.pt"))
        if not paths:
            raise CheckpointError(
                "A model to keep needs a checkpoint, but the training wrote none: give trial.epochs() the "
                'state={"model": model, …} to save.'
            )
        return sorted(map(checkpoint.found, paths), key=lambda found: found.epoch)


def train(
    before: rerun.Before,
    script: Path,
    overrides: Sequence[str],
    slot: devices.Slot,
    folder: Path,
    *,
    seed: int,
    epochs: int | None = None,
) -> Trained:
    """Train in `folder`, which must be new or empty; for as many epochs as the trial had, or for `epochs`.

    Raises SweeperError where the training fails; what it has written stays in the folder.
    """
    count = epochs or max(before.epochs) + 1
    asked = replace(
        before, row={**before.row, "seed": seed, "failure": None}, epochs={epoch: {} for epoch in range(count)}
    )
    outcome = rerun.of_script(asked, script, overrides, slot, folder=folder)
    if outcome.ending is not None:
        raise SweeperError(f"The training ended with {outcome.ending} after {outcome.trained} epochs; see above.")
    return _trained(folder, seed, tuple(outcome.changes), outcome.seconds)


def _trained(folder: Path, seed: int, changes: tuple[str, ...], seconds: float) -> Trained:
    lines = [json.loads(line) for line in (folder / RECORD).read_text(encoding="utf-8").splitlines()]
    reports = {line["epoch"]: line["metrics"] for line in lines if "epoch" in line}
    environment: dict[str, Any] = next((line["environment"] for line in reversed(lines) if "environment" in line), {})
    epochs = tuple({"epoch": epoch, **reports[epoch]} for epoch in sorted(reports))
    composed = next((line["config"] for line in lines if "config" in line), None)
    return Trained(folder, seed, epochs, environment, composed, changes, seconds)
