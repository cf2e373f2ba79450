"""The winner trained again for keeps, on all data or for longer, in a folder to hand over.

    sweeper train-best --to FOLDER

Weights, config, metrics, curve, and a model card with the study's story. The script runs alone, as it does for
`sweeper rerun`; its last checkpoint is what is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.machine import devices
from sweeper.retraining import looks, rerun
from sweeper.retraining import parts as scripts
from sweeper.retraining import trained as retraining
from sweeper.retraining.trained import Trained
from sweeper.store.connection import Store
from sweeper.trial import checkpoint
from sweeper.trial.command import train_command
from sweeper.words.errors import CheckpointError, ConfigError
from sweeper.words.records import StudyRecord

if TYPE_CHECKING:
    from torch import nn

FULL = "full_data"
"""The key that asks a script's `data(cfg)` for training and validation set together (`sweeper.training.whole`)."""
ASKED = f"++{FULL}=true"
TEXT = f"""\
from sweeper.training.whole import whole

def data(cfg):
    found = …      # as it is now
    return whole(found) if cfg.get("{FULL}") else found"""


@dataclass(frozen=True)
class Asked:
    """What a person wants of the training: `None` where it is to be as the trial was.

    `full`: on training and validation set together; None: if the script knows how. `overrides`: further ones.
    """

    epochs: int | None = None
    seed: int | None = None
    full: bool | None = None
    overrides: tuple[str, ...] = ()
    test: bool | None = None


@dataclass(frozen=True)
class Kept:
    """A model that was trained for keeps.

    Attributes:
        metrics: at the last epoch. With `full` those of the validation set are of examples that it has trained on.
        test: on the test set; None: it was not looked at.
        sizes: examples in the training, validation and test set, as far as they are known.
    """

    study: str
    trial: int
    folder: str
    weights: str
    seed: int
    epochs: int
    full: bool
    metrics: dict[str, float | None]
    test: dict[str, float] | None
    sizes: dict[str, int]
    warning: str | None
    missing: str | None
    """What the script lacks for `full`."""
    command: str
    environment: dict[str, Any]
    changes: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "changes": list(self.changes)}


Write = Callable[[Kept, Sequence[Mapping[str, Any]], Any], None]
"""Told the model, its epochs and the config that it was trained with."""


def full_asked(script: Path, full: bool | None) -> bool:
    """Whether to train on all data. Raises ConfigError where that is wanted and the script does not know how."""
    knows = scripts.knows(script, FULL)
    if full and not knows:
        raise ConfigError(f"{missing(script)}, or train on the training set alone with --no-full.")
    return knows if full is None else full


def missing(script: Path) -> str:
    return (
        f"To train on training and validation set together the script's data(cfg) must look at the key {FULL}, but "
        f"{script} does not: write there\n\n{TEXT}\n\n"
    ).strip()


def epochs_override(study: StudyRecord, epochs: int, overrides: Sequence[str]) -> list[str]:
    """How the script is told its number of epochs. Raises ConfigError where no key of that name is in its config."""
    from omegaconf import OmegaConf

    if any("epochs=" in text for text in overrides):
        return []
    config = OmegaConf.create(study.config["variants"][0]["yaml"])
    if "epochs" in config:
        return [f"epochs={epochs}"]
    raise ConfigError(
        "For another number of epochs the config's key for it must be known, but it has no `epochs` at its top level: "
        f"say which it is as well, as in --epochs {epochs} --set trainer.max_epochs={epochs}"
    )


def train(
    store: Store,
    before: rerun.Before,
    script: Path,
    overrides: Sequence[str],
    slot: devices.Slot,
    folder: Path,
    asked: Asked,
    write: Write,
) -> Kept:
    """Train the trial's setting again, evaluate it on the test set, and leave its weights in `folder`, new or empty.

    `write` puts beside them what people read (`report.card`). `script` comes from `trust.own_script`, `overrides`
    through `trust.overrides_of_trust`. Where something fails after the training, that stays in `folder/training`.
    Raises SweeperError.
    """
    study, place = before.study, folder.absolute()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f"A model to hand over gets a folder of its own, but {folder} is there already: --to FOLDER.")
    full = full_asked(script, asked.full)
    looking = asked.test is not False and (asked.test or not looks.before(store, study))
    if looking:
        scripts.check(script)
    more = [*([ASKED] if full else []), *asked.overrides]
    if asked.epochs is not None:
        more += epochs_override(study, asked.epochs, more)
    seed = before.row["seed"] if asked.seed is None else asked.seed
    words, before = [*overrides, *more], replace(before, otherwise=tuple(more))
    trained = retraining.train(before, script, words, slot, place / "training", seed=seed, epochs=asked.epochs)
    kept = Kept(
        study=study.name,
        trial=before.row["number"],
        folder=str(place),
        weights="",
        seed=seed,
        epochs=len(trained.epochs),
        full=full,
        metrics={name: value for name, value in trained.epochs[-1].items() if name != "epoch"},
        test=None,
        sizes={},
        warning=None,
        missing=None if full or asked.full is False else missing(script),
        command=_command(before, seed, script, more),
        environment=trained.environment,
        changes=trained.changes,
        seconds=trained.seconds,
    )
    return _collect(store, study, kept, trained, script, asked, looking, write)


def _command(before: rerun.Before, seed: int, script: Path, more: Sequence[str]) -> str:
    import shlex

    line = train_command(before.study, before.row["params"], seed, before.threads, script=script, elsewhere=True)
    return " ".join([str(line), *map(shlex.quote, more)])


def _collect(
    store: Store,
    study: StudyRecord,
    kept: Kept,
    trained: Trained,
    script: Path,
    asked: Asked,
    looking: bool,
    write: Write,
) -> Kept:
    """From what the training has left to what is handed over."""
    from sweeper.training import averaging, weights

    place, config = Path(kept.folder), trained.config(set(study.config.get("shorthands", {}).values()))
    entries = checkpoint.read(trained.checkpoints()[-1].path)["state"]
    earlier = looks.before(store, study)
    if looking:
        found = scripts.parts(script)
        model = found.build(config)
        state = next(iter(weights.fitting(entries, model).values()), None)
        if state is None:
            raise CheckpointError(f"No entry of the last checkpoint fits the model that build(cfg) of {script} gives.")
        kept = _tested(store, study, kept, found, weights.fill(model, state, "the last checkpoint"), config)
    elif weights.MODEL in entries:
        state = averaging.weights(entries)
    else:
        raise CheckpointError(
            f"A model to keep is the entry {weights.MODEL!r} of the checkpoint, but it holds {', '.join(entries)}: "
            'give trial.epochs() the state={"model": model, …}.'
        )
    warning = looks.warning(earlier, looked=looking) if asked.test is not False else None
    kept = replace(kept, warning=warning, weights=weights.save(state, place / "weights").name)
    write(kept, trained.epochs, config)
    shutil.rmtree(trained.folder, ignore_errors=True)
    return kept


def _tested(store: Store, study: StudyRecord, kept: Kept, found: scripts.Parts, model: nn.Module, config: Any) -> Kept:
    from sweeper.training.loop import evaluate

    sets = found.sets(config)
    examples = sets.open_test()
    scores = evaluate(model, examples, sets.goal, "test")
    looks.note(store, study, f"trial {kept.trial} trained for keeps", scores, kept.trial)
    parts = {"train": getattr(sets, "train", None), "val": sets.val, "test": examples}
    return replace(
        kept, test=scores, sizes={name: len(part.targets) for name, part in parts.items() if part is not None}
    )
