"""A file that another program may read while it is written: it sees the old one or the new one, never a half."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sweeper.words.errors import ConfigError


@contextlib.contextmanager
def whole(file: Path, what: str, cure: str = "") -> Iterator[Path]:
    """A place beside `file` to write to, which takes its name at the end. Raises ConfigError where that fails."""
    building = file.absolute().with_name(f".{file.name}.{os.getpid()}")
    try:
        yield building
        os.replace(building, file)
    except OSError as error:
        raise ConfigError(f"The {what} {file} cannot be written: {error}.{cure}") from error
    finally:
        with contextlib.suppress(OSError):
            building.unlink(missing_ok=True)
