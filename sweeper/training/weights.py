"""A model's weights alone, in a file that runs no code when it is read, and weights found in what a checkpoint holds.

safetensors (https://github.com/huggingface/safetensors) where it is installed, as other tools read it too; else
torch's own format, read with `weights_only=True`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.words.errors import CheckpointError

MODEL, AVERAGE = "model", "average"
"""The entries of a checkpoint that hold the weights, and a running average of them."""

State = Mapping[str, Any]


def save(state: State, stem: Path) -> Path:
    """Write a `state_dict` to `stem.safetensors`, or `stem.pt`; returns the path."""
    plain = {name: value.detach().cpu().clone().contiguous() for name, value in state.items() if torch.is_tensor(value)}
    if len(plain) == len(state) and importlib.util.find_spec("safetensors"):
        from safetensors.torch import save as as_bytes

        path = stem.with_name(f"{stem.name}.safetensors")
        path.write_bytes(as_bytes(plain))  # save_file makes a file that nobody else may read
    else:
        path = stem.with_name(f"{stem.name}.pt")
        torch.save({**state, **plain}, path)
    return path


def load(path: Path) -> dict[str, Any]:
    """What `save` has written. Raises CheckpointError."""
    try:
        if path.suffix != ".safetensors":
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        from safetensors.torch import load_file

        return load_file(path)
    except ImportError as error:
        raise CheckpointError(f"{path} needs safetensors, which is not installed: pip install safetensors.") from error
    except Exception as error:
        raise CheckpointError(f"Weights must be readable without running code, but {path} is not: {error}.") from error


def fill(model: nn.Module, state: State, where: str) -> nn.Module:
    """The model with these weights. Raises CheckpointError where they are another model's."""
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as error:
        raise CheckpointError(
            f"`build(cfg)` must give the model that was trained, but {where} does not fit it: {error} "
            "Undo what has changed in the script since."
        ) from error
    return model


def fitting(entries: Mapping[str, Any], model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Of a checkpoint's entries those that are weights of this model, by name; first those that were validated.

    That is `average` once it has averaged something (see averaging.py), else `model`. An average, torch's AveragedModel
    or a mapping of names to tensors, may leave out the buffers, which are then those of `model`.
    """
    own = model.state_dict()
    needed = {name: value.shape for name, value in model.named_parameters()}
    order = dict.fromkeys(name for name in (MODEL, AVERAGE, *entries) if name in entries)
    buffers: Mapping[str, Tensor] = own
    found: dict[str, dict[str, Tensor]] = {}
    for name in order:
        bare = _names_of_model(entries[name])
        if needed and all(torch.is_tensor(bare.get(key)) and bare[key].shape == needed[key] for key in needed):
            found[name] = {key: bare.get(key, buffers[key]) for key in own}
            buffers = found.get(MODEL, buffers)
    return {AVERAGE: found[AVERAGE], **found} if AVERAGE in found else found


def _names_of_model(entry: Any) -> dict[str, Any]:
    """A mapping under the names that the model itself has; nothing where an average has not begun."""
    if not isinstance(entry, Mapping) or ("n_averaged" in entry and int(entry["n_averaged"]) == 0):
        return {}
    return {str(key).removeprefix("module."): value for key, value in entry.items()}


def mean(states: Sequence[State]) -> dict[str, Any]:
    """The average of several weights of one model; of whole numbers, such as a count of batches, the last.

    The running statistics of a batch normalisation are averaged too, which is near to what they would be.
    """
    last = states[-1]
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0)
        if torch.is_tensor(value) and value.is_floating_point()
        else value
        for name, value in last.items()
    }
