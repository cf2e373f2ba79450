"""The settings: each stands once in the record, and both doors, the config and the workers have it from there."""

from __future__ import annotations

import inspect
import pickle
import re
import types
from dataclasses import MISSING, replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

import sweeper
from hydra_plugins.sweeper_hydra.sweeper import SweeperConf
from sweeper.engine.crew import worker_settings
from sweeper.words.errors import ConfigError
from sweeper.words.settings import Door, Settings, reference

CONF = Path(__file__).parents[2] / "conf" / "config.yaml"

NOT_SHOWN = {"params"}
"""Keys of `hydra.sweeper` that conf/config.yaml leaves to another file: conf/space/ has the params."""

PYTHON, HYDRA = list(reference(Door.PYTHON)), list(reference(Door.HYDRA))


# ---- the doors -------------------------------------------------------------------------------------------------------


def test_the_keywords_of_run_are_the_record():
    train, *keywords = inspect.signature(sweeper.run).parameters.values()
    assert train.name == "train"
    assert {each.kind for each in keywords} == {inspect.Parameter.KEYWORD_ONLY}
    told = [(each.name, each.annotation, MISSING if each.default is each.empty else each.default) for each in keywords]
    types = {each.name: each.type for each in PYTHON}
    types["loggers"] = "LoggerSpec | Iterable[LoggerSpec] | None"  # the record's floor knows no logger
    assert told == [(each.name, types[each.name], each.default) for each in PYTHON]


def test_what_run_is_given_reaches_the_record(monkeypatch):
    from sweeper.sweep import run

    given = {"study": "a", "space": {"x": "interval(0, 1)"}, "keep": 7, "timeout": 3.0, "loggers": ["mlflow"]}
    monkeypatch.setattr(run, "_run", lambda train, asked: asked)
    assert sweeper.run(lambda trial: 0.0, **given) == Settings(**given)


def test_help_tells_each_setting():
    told = inspect.getdoc(sweeper.run)
    assert [each.name for each in PYTHON if f"\n    {each.name}: {each.meaning}." not in told] == []


def test_the_config_of_hydra_is_the_record():
    config = OmegaConf.to_container(OmegaConf.structured(SweeperConf))
    assert config.pop("_target_") == "hydra_plugins.sweeper_hydra.sweeper.StudySweeper"
    assert config.pop("_recursive_") is False
    assert config == {each.name: each.default for each in HYDRA}


@pytest.mark.parametrize(
    ("name", "value"), [("budget", "many"), ("seed", None), ("keep", 0.5), ("params", 3), ("tensorboard", "perhaps")]
)
def test_hydra_refuses_what_is_of_another_type(name, value):
    with pytest.raises(ValidationError):
        OmegaConf.merge(OmegaConf.structured(SweeperConf), {name: value})


@pytest.mark.parametrize("name", [each.name for each in HYDRA if " | Mapping" in each.type or each.type == "Any"])
def test_hydra_leaves_to_us_what_has_several_types(name):
    for value in ("word", {"top": 3}, None):
        merged = OmegaConf.merge(OmegaConf.structured(SweeperConf), {name: value})
        assert merged[name] == value


def test_the_doors_differ_where_the_record_says_so():
    python, hydra = {each.field: each for each in PYTHON}, {each.field: each for each in HYDRA}
    assert set(hydra) - set(python) == {"check", "tensorboard"}
    assert {each for each in python if python[each] != hydra[each]} == {"study", "space", "workers"}
    assert hydra["space"].name == "params"


def test_what_hydra_says_is_read_and_the_rest_has_its_default():
    given = {"study": "a", "params": {"x": "interval(0, 1)"}, "budget": 3.0, "_target_": "of another", "n_jobs": 2}
    expected = Settings(study="a", space=given["params"], budget=3.0, workers=None)
    assert Settings.of_hydra(given) == expected


def test_what_steers_is_no_part_of_what_makes_a_study_the_same():
    """The stored definition of a study rests on it: a study that was begun would be another one."""
    assert {each.name for each in HYDRA if not each.steers} == {"params", "epochs", "seed"}


# ---- where people read -----------------------------------------------------------------------------------------------


def test_every_setting_has_one_line_of_meaning():
    assert [each.name for each in HYDRA if not each.meaning or "\n" in each.meaning or each.meaning[-1] == "."] == []


def test_the_config_shows_each_setting_with_a_comment():
    text = CONF.read_text(encoding="utf-8")
    missing = {each.name for each in HYDRA if not re.search(rf"^ *(- )?{each.name}: .*# \w", text, re.MULTILINE)}
    assert missing == NOT_SHOWN
    assert {each.name for each in HYDRA} - NOT_SHOWN == set(OmegaConf.load(CONF).hydra.sweeper)


# ---- on the way ------------------------------------------------------------------------------------------------------


def test_they_travel_to_the_workers_as_they_are(store, settings):
    asked = settings(keep=3, timeout=9.0, epoch_timeout=1.0, max_failures=None)
    space = types.MappingProxyType({"x": "interval(0, 1)"})  # which cannot travel, and need not
    told = worker_settings(store, replace(asked, asked=replace(asked.asked, space=space)), engine="test")
    arrived = pickle.loads(pickle.dumps(told))
    assert arrived == told
    assert replace(arrived.asked, space=space) == replace(asked.asked, space=space)
    assert arrived.store == store.url.render_as_string(hide_password=False)


# ---- what a value must be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"study": "a/b"}, r"^A study's name has 1 to 128 of the characters A-Z a-z 0-9 \. _ -, and does not begin"),
        ({"budget": 0}, "^`budget` is a number of full trainings above 0, but got 0.$"),
        ({"budget": "many"}, "^`budget` is a number of full trainings above 0, but got 'many'.$"),
        ({"direction": "up"}, "^`direction` is minimize or maximize, but got 'up'.$"),
        ({"keep": 0}, "^`keep >= 1` must hold, but got keep=0: a resume needs at least the newest checkpoint.$"),
        ({"max_failures": 0}, "^`max_failures` must be above 0, or null for no limit, but got 0.$"),
        ({"timeout": -1.0}, "^`timeout` must be above 0, or null for no limit, but got -1.0.$"),
        ({"epoch_timeout": "1h"}, "^`epoch_timeout` must be above 0, or null for no limit, but got '1h'.$"),
        ({"on_change": "go"}, "^`on_change` is stop or keep, but got 'go'.$"),
    ],
    ids=str,
)
def test_a_value_that_none_could_be_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        Settings(**{"study": "a", "space": {}, **wrong})
