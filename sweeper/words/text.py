"""Text as every store, file and terminal can hold it."""

from __future__ import annotations


def storable(text: str) -> str:
    """What UTF-8 cannot write, and the character 0, which PostgreSQL refuses, as escapes.

    >>> storable("café"), storable("caf\\udce9"), storable("a\\x00b")
    ('café', 'caf\\\\udce9', 'a\\\\x00b')
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")


def said(error: BaseException) -> str:
    """What an exception says of itself, whatever its own code does when it is asked."""
    try:
        return storable(str(error))
    except Exception as broken:
        return f"(its __str__ raised {type(broken).__name__})"
