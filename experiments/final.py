"""The last word on a trial: its best checkpoint on the test set, which nothing before has seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from sweeper.training.averaging import weights
from sweeper.training.data import Data
from sweeper.training.loop import evaluate
from sweeper.trial import checkpoint
from sweeper.words.errors import CheckpointError, ConfigError


def test(folder: str | Path, build: Callable[[Any], nn.Module], data: Callable[[Any], Data]) -> dict[str, float]:
    """Test loss and score of the trial in `folder`; prints them with the checkpoint that they belong to.

    `build` and `data` are the script's. Of a checkpoint's state it takes "model", or the "average" beside it if that is
    what was validated (averaging.py).
    """
    config: Any = OmegaConf.load(_config_path(Path(folder)))
    path = best_checkpoint(Path(folder), str(config.get("direction", "minimize")))
    model = build(config)
    model.load_state_dict(weights(checkpoint.read(path)["state"]))
    sets = data(config)
    scores = evaluate(model, sets.open_test(), sets.goal, "test")
    print(f"checkpoint: {path}", *(f"{name}: {value:.4f}" for name, value in scores.items()), sep="\n")
    return scores


def best_checkpoint(folder: Path, direction: str) -> Path:
    """The checkpoint of the best metric in its file name, or the newest where the names hold none."""
    names = ((path, checkpoint.FILE_NAME.fullmatch(path.name)) for path in folder.glob("checkpoints/*.pt"))
    paths = {path: match for path, match in names if match}
    if not paths:
        raise CheckpointError(
            f"A trial to test needs a checkpoint, but {folder / 'checkpoints'} holds none; train it first, "
            "or name another trial's folder with evaluate=FOLDER."
        )
    sign = -1 if direction == "maximize" else 1

    def rank(path: Path) -> tuple[float, int]:
        value = paths[path]["value"]
        return (sign * float(value) if value else float("inf")), -int(paths[path]["epoch"])

    return min(paths, key=rank)


def _config_path(folder: Path) -> Path:
    path = folder / ".hydra" / "config.yaml"
    if not path.is_file():
        raise ConfigError(
            f"evaluate=FOLDER needs the folder of a trial with .hydra/config.yaml in it, but {folder.absolute()} "
            "has none; give one such as evaluate=runs/digits/0007."
        )
    return path
