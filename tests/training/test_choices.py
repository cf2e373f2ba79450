import pytest

from sweeper.training.choices import make, pick
from sweeper.words.errors import ConfigError


def square(given, *, side):
    return ("square", given, side)


def test_pick_lists_what_is_known():
    with pytest.raises(ConfigError, match=r"`model` must be one of cnn, mlp, but got 'mpl'; .* model=cnn"):
        pick("model", {"mlp": 1, "cnn": 2}, "mpl")


def test_make_passes_the_settings_as_keywords():
    assert make("shape", {"square": square}, {"name": "square", "side": 3}, "x") == ("square", "x", 3)


def test_make_names_unknown_and_missing_keys():
    with pytest.raises(ConfigError, match="shape=square takes the keys side, but got unknown: sied; missing: side"):
        make("shape", {"square": square}, {"name": "square", "sied": 3}, "x")


def test_make_without_a_name_says_so():
    with pytest.raises(ConfigError, match="no name"):
        make("shape", {"square": square}, {"side": 3})
