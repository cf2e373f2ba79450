"""What a process of a checkup leaves for the one that has asked: a result, there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "result.json"


def failure(text: str, where: str | None = None, *, memory: bool = False, **more: Any) -> dict[str, Any]:
    """Why a run failed: `where` in the script, and whether it wanted `memory`."""
    return {"text": text, "where": where, "memory": memory, **more}


def write(place: Path, result: Mapping[str, Any]) -> None:
    (place / "part.json").write_text(json.dumps(result), encoding="utf-8")
    os.replace(place / "part.json", place / NAME)


def read(place: Path) -> dict[str, Any] | None:
    """None: the process has not come to it."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((place / NAME).read_text(encoding="utf-8")))
    return None
