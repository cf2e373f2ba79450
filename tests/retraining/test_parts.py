"""The parts of a training script that others use, and what is said of one that lacks them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.retraining import parts as scripts
from sweeper.words.errors import ConfigError

GOOD = """
import hydra
from neighbour import width

def build(cfg):
    return (cfg, width)

data = lambda cfg: cfg

@hydra.main(version_base="1.3", config_path=None)
def train(cfg):
    raise AssertionError("nothing trains here")

if __name__ == "__main__":
    train()
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, name: str = "train.py") -> Path:
        (tmp_path / "neighbour.py").write_text("width = 3\n")
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_script_is_imported_and_not_run(write):
    found = scripts.parts(write(GOOD))
    assert found.build(1) == (1, 3)
    assert found.data is not None
    assert found.where.endswith("train.py")


def test_what_a_script_lacks_is_told_as_text_to_copy(write):
    path = write("def build(cfg):\n    return 1\n\nraise AssertionError('never imported')\n")
    with pytest.raises(ConfigError, match=r"has no `data`: move what .*\n\ndef data\(cfg\):") as told:
        scripts.parts(path)
    assert "def build(cfg)" not in str(told.value)
    with pytest.raises(ConfigError, match=r"def build\(cfg\):[\s\S]*def data\(cfg\):"):
        scripts.check(write("x = 1\n", "empty.py"))
    scripts.check(path, ("build",))


def test_a_script_that_would_train_when_it_is_imported_is_refused(write):
    with pytest.raises(ConfigError, match=r'would start `train\(\)`[\s\S]*if __name__ == "__main__":\n    train\(\)'):
        scripts.parts(write(GOOD.replace('if __name__ == "__main__":\n    train()', "train()")))


def test_names_that_are_imported_or_assigned_count(write):
    scripts.check(write("from models import make as build\ndata: object = None\n"))


def test_what_is_no_script_is_told(write, tmp_path):
    with pytest.raises(ConfigError, match="must be readable as Python"):
        scripts.check(write("def build(:\n"))
    with pytest.raises(ConfigError, match="must be readable as Python"):
        scripts.check(tmp_path / "none.py")


def test_data_of_another_kind_is_told():
    parts = scripts.Parts(lambda cfg: None, lambda cfg: [1, 2], "train.py")
    with pytest.raises(ConfigError, match=r"has its val, goal, open_test too, but gave a list"):
        parts.sets({})


def test_a_word_is_looked_for_in_the_text(write):
    assert scripts.knows(write("found = whole(found) if cfg.get('full_data') else found\n"), "full_data")
    assert not scripts.knows(write(GOOD), "full_data")
