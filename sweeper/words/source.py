"""The code that trains, as a study keeps it: the path and the text of a script, or of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def of_script(main: Callable[..., Any]) -> dict[str, str]:
    """The whole file that a function stands in; nothing of what stands in none, as typed at a prompt."""
    try:
        path = Path(inspect.getsourcefile(main) or "")
        return {"path": str(path), "text": path.read_text(encoding="utf-8")}
    except (OSError, TypeError):
        return {}


def of_function(train: Callable[..., Any]) -> dict[str, str]:
    """The function's own text alone, so that a resume can tell whether it is another one."""
    try:
        return {"path": str(inspect.getsourcefile(train)), "text": inspect.getsource(train)}
    except (OSError, TypeError):
        return {}


def kept(config: Mapping[str, Any]) -> Mapping[str, str]:
    """What the config of a study has of it, `path` and `text`; it may lack either."""
    return config.get("script") or {}
