"""An ensemble as a folder: a manifest in JSON, and the weights and the config of each member.

Nothing in it is unpickled. How a model is built from a config is the script's to say (`build(cfg)`), and the manifest
names the script; its code is run only where it lies in the current folder, or a person names it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from sweeper.machine import environment
from sweeper.retraining.ensemble.candidates import Candidate
from sweeper.retraining.parts import Parts, parts
from sweeper.training import weights
from sweeper.training.ensembles import Ensemble
from sweeper.words.errors import CheckpointError, ConfigError

MANIFEST = "ensemble.json"
FORMAT = 1


def check_place(place: Path) -> None:
    """Only an older ensemble is replaced."""
    if place.exists() and (not place.is_dir() or (any(place.iterdir()) and not (place / MANIFEST).is_file())):
        raise ConfigError(
            f"An ensemble is written to a new folder, or over an older one, but {place} holds other files: --to FOLDER."
        )


def write(place: Path, facts: Mapping[str, Any], chosen: Sequence[Candidate], made: Ensemble, script: Parts) -> None:
    """Everything beside it first: a reader meets the old ensemble, or none, or the new one.

    `facts`: the manifest's, with `members` in the order of `chosen`.
    """
    building = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        for name in ("weights", "configs"):
            (building / name).mkdir(parents=True)
        rows = [
            {**row, **_write_member(building, one, model)}
            for row, one, model in zip(facts["members"], chosen, made.members, strict=True)
        ]
        source = Path(script.where).resolve()
        manifest = {
            "format": FORMAT,
            "script": os.path.relpath(source, place.resolve()) if source.is_file() else None,
            **facts,
            "members": rows,
            "environment": environment.now(str(next(made.parameters()).device)),
        }
        (building / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        os.replace(building, place)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write_member(folder: Path, one: Candidate, model: nn.Module) -> dict[str, Any]:
    from omegaconf import OmegaConf

    path = weights.save(model.state_dict(), folder / "weights" / one.name)
    config = folder / "configs" / f"{one.name}.yaml"
    config.write_text(OmegaConf.to_yaml(OmegaConf.create(one.config)), encoding="utf-8")
    return {
        "weights": path.relative_to(folder).as_posix(),
        "sha256": _sha256(path),
        "config": config.relative_to(folder).as_posix(),
        "plain": isinstance(one.config, dict),
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_ensemble(
    path: str | Path,
    *,
    build: Callable[[Any], nn.Module] | None = None,
    script: str | Path | None = None,
    device: str = "cpu",
) -> Ensemble:
    """An ensemble that `sweeper ensemble` has written: `load_ensemble(path)(x)` is its averaged answer (N, K).

    Probabilities for a classification, else outputs. It is a `torch.nn.Module` in evaluation mode. The models are built
    by `build(cfg)`: yours, or that of `script`, or of the script that the ensemble names, where that lies in the
    current folder. Raises SweeperError.
    """
    folder = Path(path)
    manifest = _manifest(folder)
    make_model = build or parts(_script_of(folder, manifest, script), ("build",)).build
    members = [_member(folder, row, make_model) for row in manifest["members"]]
    shares = [float(row["weight"]) for row in manifest["members"]]
    return Ensemble(members, shares, manifest["averages"]).to(device).eval()


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"An ensemble is a folder with an {MANIFEST}, but {folder} is none: {error}.") from error
    if manifest.get("format") != FORMAT:
        raise CheckpointError(
            f"An ensemble must be of format {FORMAT}, but {folder} is of format {manifest.get('format')}: another "
            "version of sweeper wrote it, install that one."
        )
    return manifest


def _script_of(folder: Path, manifest: Mapping[str, Any], named: str | Path | None) -> Path:
    """The script whose `build` makes the models. An ensemble may come from somebody else, and so may what it names."""
    stored = manifest.get("script")
    if named is None and stored is None:
        raise ConfigError(
            "The models were built by a function of Python's that no folder can hold: give it, as in "
            f"sweeper.load_ensemble({str(folder)!r}, build=build)."
        )
    script = Path(named) if named is not None else (folder.resolve() / str(stored)).resolve()
    if not script.is_file():
        raise ConfigError(f"The script that builds the models must be there, but {script} is not: give script=FILE.")
    own = script.is_relative_to(Path.cwd()) and not script.is_relative_to(folder.resolve())
    if named is None and not own:
        raise ConfigError(
            "An ensemble may come from somebody else, so a script that it names is run only where it lies in the "
            f"current folder, but this is {script}: if it is yours, give script={str(script)!r}, or your own build=…"
        )
    return script


def _member(folder: Path, row: Mapping[str, Any], build: Callable[[Any], nn.Module]) -> nn.Module:
    from omegaconf import OmegaConf

    path, text = (_inside(folder, str(row[name])) for name in ("weights", "config"))
    if _sha256(path) != row["sha256"]:
        raise CheckpointError(f"The weights {path} have changed on the disk: their sha256 must be {row['sha256']}.")
    config = OmegaConf.load(text)
    return weights.fill(
        build(OmegaConf.to_container(config) if row["plain"] else config), weights.load(path), str(path)
    )


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise CheckpointError(f"An ensemble's files lie in its folder, but {folder} has no {name}.")
    return path
