"""Text that every store can hold, whatever others wrote."""

from __future__ import annotations

import pytest

from sweeper.trial.failure import describe
from sweeper.words.text import said, storable


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize("text", ["café", "caf\udce9", "a\x00b", "\ud800\x00", ""])
def test_any_text_can_be_stored(text):
    stored = storable(text)
    assert stored.encode("utf-8").count(b"\x00") == 0
    assert storable(stored) == stored
    assert stored == text or "\\" in stored


def test_an_exception_that_cannot_speak_is_described():
    assert said(Mute()) == "(its __str__ raised RuntimeError)"
    line, trace = describe(Mute())
    assert line == "Mute: (its __str__ raised RuntimeError)"
    assert "Mute" in trace


def test_an_exception_whose_text_is_no_utf8_is_described():
    line, trace = describe(ValueError("cannot open caf\udce9\x00"))
    assert line == "ValueError: cannot open caf\\udce9\\x00"
    (line + trace).encode("utf-8")
