"""Which script may run again: the study's own, by path and hash, or one that a person trusts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sweeper.words import source
from sweeper.words.errors import ConfigError
from sweeper.words.records import StudyRecord

VALUE_KEY = re.compile(r"\+{0,2}\w+(\.\w+)+")
"""A key with a dot in it: a value's, and never a config group's."""


def own_script(study: StudyRecord, named: Path | None = None) -> Path:
    """The script to run: `named` by the person, else the study's own where it lies in the current folder."""
    if "variants" not in study.config:
        raise ConfigError(
            f"The study {study.name} was begun by sweeper.run in Python, with a function that no command can call: in "
            f"Python, sweeper.load_study({study.name!r}).rerun(NUMBER, train) trains a trial again."
        )
    stored = source.kept(study.config).get("path")
    script = Path(named or stored or "").resolve()
    if not script.is_file():
        raise ConfigError(
            f"The training script must be there to be run again, but {named or stored or 'its path'} is not: put it "
            "back, or name it with --script FILE."
        )
    if named is None and not script.is_relative_to(Path.cwd()):
        raise ConfigError(
            "A store may come from somebody else, so of the scripts that it names only those in the current folder "
            f"are run, but the study's is {script}: go to the folder where the sweep was started, or name it with "
            f"--script {script}"
        )
    return script


def overrides_of_trust(overrides: Sequence[str]) -> Sequence[str]:
    """The overrides, unless one reaches beyond the values of a config: what is built comes from the person's own alone.

    Refused are flags, Hydra's own node, `_target_`, interpolations (a resolver is code) and paths that lead upward (a
    config group's choice is a file). Raises ConfigError.
    """
    for text in overrides:
        bare = text.replace("\\", "")  # Hydra takes escapes away: $\{ is ${
        key = bare.partition("=")[0]
        upward = ".." in re.split(r"[^\w.-]+", bare) and not VALUE_KEY.fullmatch(key)
        if text.startswith("-") or "hydra" in re.split(r"\W+", key) or "_target_" in bare or "${" in bare or upward:
            raise ConfigError(
                "A store may come from somebody else, so an override of it may only set values, but this one names a "
                f"class, an interpolation, a flag, a folder above or Hydra's own settings: {text!r}. If it is yours, "
                "type the command of `sweeper show` yourself."
            )
    return overrides
