"""Seeds that follow from a seed and a path of names: the same on every platform, in every version, in any order.

A trial's seed must not depend on how many workers there are or which of them is first, so none is drawn from a stream.
Python's `hash` changes from process to process, and NumPy's generators may between versions; sha256 does not.
"""

from __future__ import annotations

import hashlib
import json


def derive(study_seed: int, *path: int | str) -> int:
    """A number in [0, 2**31), fit for every library's seed. `1` and `"1"` in a path differ."""
    digest = hashlib.sha256(json.dumps([study_seed, *path]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def trial_seed(study_seed: int, number: int) -> int:
    """What a trial trains with."""
    return derive(study_seed, "trial", number)
