"""What a checkpoint holds of one entry: its state, every random generator, and NumPy's types in words torch accepts.

`torch.load(weights_only=True)` refuses NumPy's arrays and scalars and some containers, so `encode` turns them into
tagged tensors and `decode` back.
"""

from __future__ import annotations

import logging
import random
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

from sweeper.words.errors import CheckpointError

log = logging.getLogger(__name__)


def get_state(name: str, entry: Any) -> Any:
    """The state of one entry. torch's generators give and take theirs as bytes on the CPU, also those of a GPU."""
    import numpy
    import torch

    if _has_state_dict(entry):
        return entry.state_dict()
    if isinstance(entry, torch.Generator):
        return entry.get_state()
    if isinstance(entry, numpy.random.Generator):
        return entry.bit_generator.state
    if isinstance(entry, dict):
        return dict(entry)
    raise CheckpointError(
        f"An entry of `state` must have state_dict() and load_state_dict(), or be a torch.Generator, a "
        f"numpy.random.Generator or a dict of plain values, but {name!r} is a {type(entry).__qualname__}."
    )


def set_state(entry: Any, value: Any) -> None:
    import torch

    if _has_state_dict(entry):
        entry.load_state_dict(value)
    elif isinstance(entry, torch.Generator):
        entry.set_state(value.cpu())
    elif isinstance(entry, dict):
        entry.clear()
        entry.update(value)
    else:
        entry.bit_generator.state = value


def _has_state_dict(entry: Any) -> bool:
    return callable(getattr(entry, "state_dict", None)) and callable(getattr(entry, "load_state_dict", None))


def random_states() -> dict[str, Any]:
    """Every global generator. CUDA's only once CUDA is in use: asking earlier would create its context, for nothing."""
    import numpy
    import torch

    return {
        "python": random.getstate(),
        "numpy": numpy.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    import numpy
    import torch

    random.setstate(states["python"])
    numpy.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"].cpu())
    devices = torch.cuda.device_count() if states["cuda"] else 0
    if devices != len(states["cuda"]):
        log.warning("Saved with %d GPUs, resumed with %d: random draws may differ.", len(states["cuda"]), devices)
    for device, cuda_state in enumerate(states["cuda"][:devices]):
        torch.cuda.set_rng_state(cuda_state.cpu(), device)


# ------------------------------------------------------------------------- NumPy's types as what weights_only accepts

_TAG = "__sweeper__"
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
_FACTORIES = {kind.__name__: kind for kind in (dict, list, set, int, float)}


def encode(value: Any, where: str) -> Any:
    """`value` in types that `torch.load(weights_only=True)` accepts; `CheckpointError` names `where` there is none.

    Exact types: a subclass of one of them would be pickled by its name, and refused when it is needed.
    """
    kind = type(value)
    if kind in _PLAIN or (kind is set and all(type(item) in _PLAIN for item in value)):
        return value
    if kind in (list, tuple):
        return kind(encode(item, f"{where}[{index}]") for index, item in enumerate(value))
    if isinstance(value, dict):
        return _encode_mapping(value, where)
    return _encode_array(value, where)


def _encode_mapping(value: dict[Any, Any], where: str) -> Any:
    for key in value:
        if key == _TAG or not all(type(part) in _PLAIN for part in (key if type(key) is tuple else (key,))):
            raise _refused(key, f"the keys of {where}")
    items = {key: encode(item, f"{where}[{key!r}]") for key, item in value.items()}
    if type(value) is dict:
        return items
    if type(value) is OrderedDict:
        ordered = OrderedDict(items)
        vars(ordered).update(encode(vars(value), where))  # a module's `_metadata`: the versions of its layers
        return ordered
    if type(value) is Counter:
        return Counter(items)
    factory = getattr(value, "default_factory", None)
    names = [name for name, kind in _FACTORIES.items() if kind is factory]
    if type(value) is defaultdict and names:
        return {_TAG: "defaultdict", "factory": names[0], "items": items}
    raise _refused(value, where)


def _encode_array(value: Any, where: str) -> Any:
    import numpy
    import torch

    if type(value) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer, torch.Size, torch.dtype, torch.device):
        return value
    array = numpy.asarray(value) if isinstance(value, (numpy.ndarray, numpy.generic)) else None
    if array is None or array.dtype.hasobject or array.dtype.names:
        raise _refused(value, where)
    data = torch.from_numpy(array.flatten().view(numpy.uint8))
    shape = list(array.shape)
    return {_TAG: type(value).__name__, "dtype": array.dtype.str, "shape": shape, "data": data}


def decode(value: Any) -> Any:
    """The inverse of `encode`; fills dicts in place, so that an OrderedDict keeps its attributes."""
    if type(value) in (list, tuple):
        return type(value)(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    for key, item in value.items():
        value[key] = decode(item)
    if type(value) is OrderedDict:
        decode(vars(value))
    if _TAG not in value:
        return value
    if value[_TAG] == "defaultdict":
        return defaultdict(_FACTORIES[value["factory"]], value["items"])
    array = value["data"].cpu().numpy().view(value["dtype"]).reshape(value["shape"])
    return array.copy() if value[_TAG] == "ndarray" else array[()]


def _refused(value: Any, where: str) -> CheckpointError:
    return CheckpointError(
        f"A checkpoint holds tensors, NumPy arrays, None, bool, int, float, complex, str, bytes, and lists, tuples, "
        f"dicts and sets of them, but {where} holds a {type(value).__module__}.{type(value).__qualname__}. "
        "Save it as one of these."
    )
