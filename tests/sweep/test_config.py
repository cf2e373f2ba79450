"""The frozen config: composed once a choice, one config per trial, values that survive Hydra's own grammar."""

from __future__ import annotations

import json
import logging
import math
import threading
from pathlib import Path

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, RunMode
from hypothesis import HealthCheck, example, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict

from sweeper.search.grammar import parse
from sweeper.sweep.config import FrozenConfig, HydraTask, mind_full_logs
from sweeper.trial.handle import current_trial
from sweeper.trial.output import output_folder
from sweeper.trial.overrides import as_override, difference, shorthands
from sweeper.words.errors import ConfigError

FILES = {
    "config.yaml": """
        defaults:
          - _self_
          - optimizer: sgd
          - model: mlp
        epochs: 5
        lr: 0.1
        warm_lr: ${lr}
        half: ${optimizer.scale}
        study: mine
        data: {root: '???', size: 10}
        """,
    "optimizer/sgd.yaml": "{name: sgd, momentum: 0.9, scale: 1.0}",
    "optimizer/adam.yaml": "{name: adam, beta: 0.99, scale: 2.0}",
    "model/mlp.yaml": "{kind: mlp, width: 16}",
    "model/cnn.yaml": "{kind: cnn, channels: 8}",
    "extra/on.yaml": "{value: 1}",
    "extra/off.yaml": "{value: 0}",
}


@pytest.fixture
def conf(tmp_path):
    from textwrap import dedent

    for name, text in FILES.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return tmp_path / "conf"


@pytest.fixture
def loader(conf):
    GlobalHydra.instance().clear()
    return ConfigLoaderImpl(create_config_search_path(str(conf)))


@pytest.fixture
def master(loader):
    return loader.load_configuration("config", ["hydra.mode=MULTIRUN"], RunMode.MULTIRUN)


@pytest.fixture
def freeze(loader, master):
    """`freeze(params, overrides)`: the frozen config and its space, as a multirun makes them."""

    def make(params, overrides=(), loader=loader):
        from hydra.core.object_type import ObjectType

        parsed = parse(params, overrides, lambda g: loader.get_group_options(g, ObjectType.CONFIG) or None)
        frozen = FrozenConfig.compose(loader, master, parsed.space, parsed.overrides, parsed.added)
        return frozen, parsed.space

    return make


def task(config):
    plain = OmegaConf.to_container(config, resolve=False)
    return {key: value for key, value in plain.items() if key != "hydra"}


class Counting:
    """A config loader that counts its compositions."""

    def __init__(self, loader):
        self.loader, self.composed = loader, []

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def load_sweep_config(self, master, overrides):
        self.composed.append(list(overrides))
        return self.loader.load_sweep_config(master, overrides)


# ---- composing -------------------------------------------------------------------------------------------------------


def test_without_a_swept_group_it_composes_once(loader, freeze):
    counting = Counting(loader)
    frozen, space = freeze({"lr": "interval(0, 1)"}, ["epochs=7"], loader=counting)
    assert counting.composed == [["epochs=7"]]
    assert frozen.fixed == ("epochs=7",)
    assert [variant.choices for variant in frozen.variants] == [{}]
    for number in range(3):
        frozen.for_trial(space, {"lr": 0.5}, number, loader_folder(number))
    assert len(counting.composed) == 1


def loader_folder(number):
    from pathlib import Path

    return Path("/nowhere/demo") / f"{number:04d}"


def test_a_swept_group_composes_once_for_each_choice(loader, freeze):
    counting = Counting(loader)
    frozen, _ = freeze({"optimizer": "choice(sgd,adam)", "model": "choice(mlp,cnn)"}, loader=counting)
    assert len(counting.composed) == 4
    assert [tuple(variant.choices.values()) for variant in frozen.variants] == [
        ("sgd", "mlp"),
        ("sgd", "cnn"),
        ("adam", "mlp"),
        ("adam", "cnn"),
    ]


def test_too_many_combinations_are_refused_before_composing(loader, freeze, monkeypatch):
    monkeypatch.setattr("sweeper.sweep.config.MAX_VARIANTS", 3)
    counting = Counting(loader)
    with pytest.raises(ConfigError, match=r"at most 3 compositions, but optimizer, model combine to 4"):
        freeze({"optimizer": "choice(sgd,adam)", "model": "choice(mlp,cnn)"}, loader=counting)
    assert counting.composed == []


def test_an_edited_file_does_not_change_a_study_that_has_begun(conf, freeze, tmp_path):
    frozen, space = freeze({"lr": "interval(0, 1)"})
    (conf / "config.yaml").write_text("epochs: 99\n")
    assert frozen.for_trial(space, {"lr": 0.5}, 0, tmp_path).epochs == 5


# ---- a trial's config ------------------------------------------------------------------------------------------------


def test_a_trial_has_its_parameters_and_everything_else_of_the_config(freeze, tmp_path):
    frozen, space = freeze({"lr": "interval(0, 1)", "model.width": "choice(8,16)"})
    config = frozen.for_trial(space, {"lr": 0.25, "model.width": 8}, 3, tmp_path / "demo" / "0003")
    assert task(config) == {
        "epochs": 5,
        "lr": 0.25,
        "warm_lr": "${lr}",
        "half": "${optimizer.scale}",
        "study": "mine",
        "data": {"root": "???", "size": 10},
        "optimizer": {"name": "sgd", "momentum": 0.9, "scale": 1.0},
        "model": {"kind": "mlp", "width": 8},
    }


def test_interpolations_follow_the_swept_parameter_and_the_swept_group(freeze, tmp_path):
    frozen, space = freeze({"lr": "interval(0, 1)", "optimizer": "choice(sgd,adam)"})
    config = frozen.for_trial(space, {"lr": 0.25, "optimizer": "adam"}, 0, tmp_path)
    assert config.warm_lr == 0.25
    assert config.half == 2.0
    assert config.optimizer.name == "adam"


def test_trials_do_not_share_their_configs(freeze, tmp_path):
    frozen, space = freeze({"lr": "interval(0, 1)"})
    one = frozen.for_trial(space, {"lr": 0.25}, 0, tmp_path)
    one.model.width = 99
    other = frozen.for_trial(space, {"lr": 0.75}, 1, tmp_path)
    assert (one.lr, other.lr, other.model.width) == (0.25, 0.75, 16)


def test_the_config_of_a_trial_stays_strict(freeze, tmp_path):
    frozen, space = freeze({"lr": "interval(0, 1)"})
    config = frozen.for_trial(space, {"lr": 0.25}, 0, tmp_path)
    with pytest.raises(Exception, match="learning_rate"):
        config.learning_rate = 1


def test_hydra_knows_the_trial(freeze, tmp_path):
    frozen, space = freeze({"lr": "interval(0, 1)", "optimizer": "choice(sgd,adam)"}, ["epochs=7"])
    config = frozen.for_trial(space, {"lr": 0.25, "optimizer": "adam"}, 3, tmp_path / "demo" / "0003")
    hydra = config.hydra
    assert (hydra.job.num, hydra.job.id) == (3, "3")
    assert (hydra.sweep.dir, hydra.sweep.subdir) == (str(tmp_path / "demo"), "0003")
    assert list(hydra.overrides.task) == ["epochs=7", "optimizer=adam", "lr=0.25"]
    logging_now = OmegaConf.to_container(hydra.job_logging, resolve=False)
    assert logging_now["handlers"]["file"]["filename"] == "${hydra.runtime.output_dir}/train.log"


def test_a_conditional_key_is_there_only_where_its_choice_is(freeze, tmp_path):
    frozen, space = freeze(
        {
            "optimizer": "choice(sgd,adam)",
            "optimizer.momentum": {"interval": [0, 1], "when": "optimizer=sgd"},
            "optimizer.beta": {"interval": [0, 1], "when": "optimizer=adam"},
        }
    )
    sgd = frozen.for_trial(space, {"optimizer": "sgd", "optimizer.momentum": 0.5}, 0, tmp_path)
    adam = frozen.for_trial(space, {"optimizer": "adam", "optimizer.beta": 0.5}, 0, tmp_path)
    assert (sgd.optimizer.momentum, "beta" in sgd.optimizer) == (0.5, False)
    assert (adam.optimizer.beta, "momentum" in adam.optimizer) == (0.5, False)


@pytest.mark.parametrize("value", [0.5, 7, True, None, "a b", [1, 2], {"a": 1, "b": [None]}, [], {}])
def test_a_value_of_any_plain_type_is_set_as_it_is(freeze, tmp_path, value):
    frozen, space = freeze({"lr": {"choices": [0.1, value]}})
    assert OmegaConf.to_container(frozen.for_trial(space, {"lr": value}, 0, tmp_path))["lr"] == value


def test_a_mapping_is_merged_as_on_hydras_command_line(loader, freeze, tmp_path):
    frozen, space = freeze({"data": {"choices": [{"root": "a"}, {"root": "b"}]}})
    config = frozen.for_trial(space, {"data": {"root": "a"}}, 0, tmp_path)
    assert task(config) == task(loader.load_configuration("config", ["data={root:a}"], RunMode.RUN))


def test_a_text_that_looks_like_an_interpolation_is_what_hydra_makes_of_it(freeze, tmp_path):
    """Hydra's command line gives the interpolation too: `lr='${epochs}'`."""
    frozen, space = freeze({"lr": {"choices": ["${epochs}", "x"]}})
    assert frozen.for_trial(space, {"lr": "${epochs}"}, 0, tmp_path).lr == 5


def test_a_missing_key_may_be_a_parameter(freeze, tmp_path):
    frozen, space = freeze({"data.root": "choice(a,b)"})
    assert frozen.for_trial(space, {"data.root": "b"}, 0, tmp_path).data.root == "b"


def test_an_added_key_needs_its_plus_and_gets_it(freeze, tmp_path):
    frozen, space = freeze({}, ["+model.depth=range(1,4)"])
    config = frozen.for_trial(space, {"model.depth": 2}, 0, tmp_path)
    assert config.model.depth == 2
    assert frozen.overrides(space, {"model.depth": 2}) == ["++model.depth=2"]


def test_an_added_group(freeze, tmp_path):
    frozen, space = freeze({}, ["+extra=on,off"])
    assert frozen.for_trial(space, {"extra": "on"}, 0, tmp_path).extra.value == 1
    assert frozen.overrides(space, {"extra": "off"}) == ["+extra=off"]


def test_the_overrides_of_a_trial_compose_its_config_again(loader, freeze, tmp_path):
    params = {"lr": 1e-05, "optimizer": "adam", "model.width": 8, "data.root": "/a b/it's", "new": "x,y"}
    frozen, space = freeze(
        {
            "lr": "interval(0, 1)",
            "optimizer": "choice(sgd,adam)",
            "model.width": "choice(8,16)",
            "data.root": {"choices": ["/a b/it's", "c"]},
            "+new": {"choices": ["x,y", "z"]},
        },
        ["epochs=7"],
    )
    here = frozen.for_trial(space, params, 0, tmp_path)
    alone = loader.load_configuration("config", frozen.overrides(space, params), RunMode.RUN)
    assert task(alone) == task(here)


# ---- keys that are not there -----------------------------------------------------------------------------------------


def refusal(freeze, *args):
    with pytest.raises(ConfigError) as caught:
        freeze(*args)
    return str(caught.value)


def test_an_unknown_key_is_told_with_those_like_it(freeze):
    line = refusal(freeze, {"model.widht": "range(1,4)"})
    assert "`model.widht` is not in it: did you mean model.width" in line
    assert "+model.widht" in line
    assert "\n" not in line


def test_a_key_like_no_other_is_told_without_a_guess(freeze):
    assert "did you mean" not in refusal(freeze, {"zzzzzzzzzz": "range(1,4)"})


def test_a_key_of_one_choice_alone_needs_a_condition(freeze):
    line = refusal(freeze, {"optimizer": "choice(sgd,adam)", "optimizer.momentum": "interval(0,1)"})
    assert "`optimizer.momentum`" in line
    assert "when: " in line
    assert "(with optimizer=adam)" in line


def test_a_condition_on_the_wrong_choice_is_told(freeze):
    line = refusal(
        freeze,
        {
            "optimizer": "choice(sgd,adam)",
            "optimizer.momentum": {"interval": [0, 1], "when": "optimizer=adam"},
        },
    )
    assert "(with optimizer=adam)" in line


def test_a_key_under_a_value_is_told(freeze):
    assert "`lr.high`" in refusal(freeze, {"lr.high": "range(1,4)"})


def test_an_unknown_choice_of_a_group_is_told_by_name(freeze):
    with pytest.raises(Exception, match="nadam"):
        freeze({"optimizer": "choice(sgd,nadam)"})


# ---- frozen in the store ---------------------------------------------------------------------------------------------


def test_what_the_store_keeps_is_plain_and_holds_neither_hydra_nor_what_only_steers(freeze):
    frozen, _ = freeze({"optimizer": "choice(sgd,adam)"}, ["epochs=7"])
    kept = frozen.to_json(frozenset({"study", "not_there"}))
    assert json.loads(json.dumps(kept)) == kept
    assert kept["fixed"] == ["epochs=7"]
    for row in kept["variants"]:
        config = OmegaConf.create(row["yaml"])
        assert "hydra" not in config
        assert "study" not in config
        assert OmegaConf.to_container(config, resolve=False)["warm_lr"] == "${lr}"
    assert frozen.variants[0].config.study == "mine", "the frozen config itself was changed"


def test_the_same_config_is_kept_as_the_same_text(freeze):
    one, _ = freeze({"optimizer": "choice(sgd,adam)"})
    other, _ = freeze({"optimizer": "choice(sgd,adam)"})
    assert one.to_json() == other.to_json()


def test_keep_trains_with_the_config_of_the_beginning(conf, freeze, tmp_path):
    volatile = frozenset({"study"})
    begun, space = freeze({"optimizer": "choice(sgd,adam)"})
    kept = json.loads(json.dumps(begun.to_json(volatile)))
    (conf / "config.yaml").write_text(
        "defaults: [_self_, {optimizer: sgd}]\nepochs: 99\nstudy: other\nhalf: 0\nnew: 1\n"
    )
    now, _ = freeze({"optimizer": "choice(sgd,adam)"})
    config = now.with_frozen(kept, volatile).for_trial(space, {"optimizer": "adam"}, 3, tmp_path / "0003")
    assert (config.epochs, config.half, config.warm_lr) == (5, 2.0, 0.1)
    assert config.study == "other", "what only steers is that of today"
    assert "new" not in config
    assert config.hydra.job.num == 3
    with pytest.raises(Exception, match="nothing"):
        config.nothing = 1


def test_keep_of_an_unchanged_config_changes_nothing(freeze, tmp_path):
    frozen, space = freeze({"optimizer": "choice(sgd,adam)"})
    again = frozen.with_frozen(frozen.to_json(), frozenset())
    params = {"optimizer": "adam"}
    one, other = (each.for_trial(space, params, 0, tmp_path) for each in (frozen, again))
    assert task(one) == task(other)
    assert one.hydra.runtime.choices == other.hydra.runtime.choices


# ---- values in Hydra's grammar ---------------------------------------------------------------------------------------

NASTY = (
    "'|\"|\\|\\\\|a\\|a\\'|'\\'|\\'|,|a,b|a=b|=|{a:1}|[1]|${x}|$|~a|+a|@|a b| a|a |\t|\n|a\nb|#|:|(|)|choice(a)"
    "|true|FALSE|null|Null|nan|NaN|inf|-inf|+inf|1|-1|+1|1.5|.5|-.5|1e5|1_000|0x10|5.|-|--|.|..|é|²|中|😀|a-b|a/b"
    "|/a b/it's|%|a%20b|?|???|*|_|x_1|1a|e5|Infinity|-nan|a.b"
).split("|")
BACKSLASHES = ["a\\,b", "\\n", "C:\\new folder\\"]


def read(text):
    """What Hydra makes of `key=text`."""
    value = OverridesParser.create().parse_override(f"key={text}").value()
    return value.text if hasattr(value, "text") else value


def same(one, other):
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("text", ["", *NASTY, *BACKSLASHES])
def test_a_nasty_text_survives_hydras_grammar(text):
    assert read(as_override(text)) == text


@pytest.mark.parametrize("text", ["", *NASTY, *BACKSLASHES])
def test_a_nasty_text_survives_within_lists_and_mappings(text):
    value = [text, {"key": text}]
    assert same(read(as_override(value)), value)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
@effort(max_examples=150, deadline=None)
@example("a\\")
def test_any_text_survives(text):
    assert read(as_override(text)) == text


@given(st.text("ab'\"\\ ,=[]{}$:", max_size=8))
@effort(max_examples=150, deadline=None)
def test_any_text_of_quotes_and_backslashes_survives(text):
    assert read(as_override(text)) == text


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "b c", "1", "true", "it's"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b_1", "c"]), inner, max_size=3),
    max_leaves=6,
)


@given(PLAIN)
@effort(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example([1e-05, 1e300, 5e-324, -0.0, 2**70])
def test_any_plain_value_survives(value):
    assert same(read(as_override(value)), value)


@pytest.mark.parametrize("key", ["a b", "it's", "a:b", "1", "true", "", "a,b", "é"])
def test_a_key_that_hydra_cannot_write_is_refused_or_survives(key):
    try:
        text = as_override({key: 1})
    except ConfigError:
        return
    assert {str(name): value for name, value in read(text).items()} == {key: 1}


# ---- shorthands, diffs -----------------------------------------------------------------------------------------------


def test_a_shorthand_is_a_top_level_key_that_the_sweeper_reads_under_its_own_name():
    config = OmegaConf.create(
        {
            "study": "a",
            "budget": 5,
            "epochs": 3,
            "nested": {"seed": 1},
            "dataset": "digits",
            "hydra": {
                "sweeper": {
                    "study": "${study}",
                    "budget": "${budget}",
                    "epochs": "${epochs}",
                    "seed": "${nested.seed}",
                    "metric": "${dataset}",
                    "store": "sqlite:///${study}.db",
                    "keep": 2,
                    "workers": None,
                    "folder": "???",
                }
            },
        }
    )
    names = frozenset({"study", "budget", "store", "keep", "workers", "folder", "seed", "metric", "not_there"})
    assert shorthands(config.hydra.sweeper, names) == {"study": "study", "budget": "budget"}


def test_a_difference_reads_like_a_diff():
    text = difference("a: 1\nb: 2\n", "a: 1\nb: 3\n", "config")
    lines = ["--- config (when the study began)", "+++ config (now)", "-b: 2", "+b: 3"]
    assert [line for line in lines if line not in text.splitlines()] == []
    assert difference("a: 1\n", "a: 1\n", "config") == ""


# ---- inside a trial --------------------------------------------------------------------------------------------------


class ATrial:
    def __init__(self, number, params, folder):
        self.number, self.params, self.folder = number, params, folder


@pytest.fixture
def worker_log(loader, master, tmp_path):
    """A worker's own Hydra job, which writes to worker.log."""
    config = loader.load_sweep_config(master, [])
    with open_dict(config.hydra):
        config.hydra.job_logging.handlers.file.filename = str(tmp_path / "worker.log")
        config.hydra.runtime.output_dir = str(tmp_path)
    HydraConfig.instance().set_config(config)
    return tmp_path / "worker.log"


@pytest.fixture
def train(loader, freeze, tmp_path):
    """`train(function, number, params)`: one trial in Hydra's own world; its folder and what came back."""
    root, level, handlers = logging.getLogger(), logging.getLogger().level, list(logging.getLogger().handlers)
    frozen, space = freeze({"lr": "interval(0, 1)"})

    def run(function, number, params):
        folder = tmp_path / "demo" / f"{number:04d}"
        folder.mkdir(parents=True)
        made = HydraTask(function, HydraContext(config_loader=loader, callbacks=Callbacks()), frozen, space)
        return folder, made(ATrial(number, params, folder))

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    HydraConfig.instance().cfg = None
    GlobalHydra.instance().clear()


def test_a_trial_trains_in_hydras_world(train):
    seen = []

    def function(cfg):
        logging.getLogger("mine").info("it trains")
        job = HydraConfig.get()
        seen.append((cfg.lr, "hydra" in cfg, job.job.num, job.runtime.output_dir, output_folder()))
        return cfg.lr

    folder, returned = train(function, 3, {"lr": 0.25})
    assert returned == 0.25
    assert seen == [(0.25, False, 3, str(folder), folder)]
    assert "it trains" in (folder / "train.log").read_text()
    assert OmegaConf.load(folder / ".hydra" / "config.yaml").lr == 0.25
    assert OmegaConf.load(folder / ".hydra" / "overrides.yaml") == ["lr=0.25"]
    assert (folder / ".hydra" / "hydra.yaml").exists()


def test_a_trials_log_ends_with_it(worker_log, train):
    def function(cfg):
        logging.getLogger("mine").info("of trial %s", cfg.lr)

    first, _ = train(function, 0, {"lr": 0.25})
    second, _ = train(function, 1, {"lr": 0.75})
    logging.getLogger("mine").warning("after both")
    assert "0.75" not in (first / "train.log").read_text()
    assert "0.25" not in (second / "train.log").read_text()
    for folder in (first, second):
        assert "after both" not in (folder / "train.log").read_text()
    assert "after both" in worker_log.read_text()
    assert "of trial" not in worker_log.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_log_that_finds_the_disk_full_ends_its_trial(worker_log, train, capsys):
    def function(cfg):
        logging.getLogger().addHandler(logging.FileHandler("/dev/full"))
        mind_full_logs(training=True)
        other = threading.Thread(target=lambda: logging.getLogger("mine").warning("from another thread"))
        other.start()
        other.join()
        seen.append(True)
        logging.getLogger("mine").warning("no room for this")

    seen = []
    with pytest.raises(OSError, match="No space left on device"):
        train(function, 0, {"lr": 0.25})
    assert seen, "the line of a thread that does not train is lost, and no more"
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_of_the_function_comes_out_as_it_is(train):
    def function(cfg):
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError, match="no"):
        train(function, 0, {"lr": 0.25})


def test_without_hydra_the_output_folder_is_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    assert output_folder() == tmp_path
    assert current_trial().folder == tmp_path
