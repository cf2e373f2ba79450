"""The laws of the search space, and its reading of Hydra's grammar compared with what Hydra itself yields."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sweeper.search.grammar import parse
from sweeper.search.space import Categorical, Float, Int, SearchSpace, When
from sweeper.words.errors import SpaceError

OPTIONS = {"optimizer": ["adam", "nadam", "rmsprop", "sgd"], "db/engine": ["mysql", "sqlite"]}
SGD = (When("optimizer", ("sgd",)),)
OPTIMIZER = Categorical("optimizer", ("sgd", "adam"))


def one(value, **kwargs):
    """The parameter that `x: value` makes."""
    return parse({"x": value}, **kwargs).space["x"]


def hydras(text):
    return list(OverridesParser.create().parse_override(f"x={text}").sweep_iterator())


def grid(parameter):
    return [parameter.from_unit((i + 0.5) / parameter._count) for i in range(parameter._count)]


# --- Laws of one parameter


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Float("", 0, 1), ["name", "empty"]),
        (lambda: Categorical(" ", (1,)), ["name", "empty"]),
        (lambda: Float("optimizer.lr", 0.1, 0.01), ["`low < high`", "low=0.1", "high=0.01", "optimizer.lr"]),
        (lambda: Float("x", 1, 1), ["low=1.0", "fixed value belongs in the config"]),
        (lambda: Int("x", 3, 3), ["low=3", "fixed value belongs in the config"]),
        (lambda: Float("x", 0, math.inf), ["finite", "inf"]),
        (lambda: Float("x", math.nan, 1), ["finite", "nan"]),
        (lambda: Float("x", -1.7e308, 1.7e308), ["finite"]),
        (lambda: Float("x", "low", 1), ["numbers", "'low'"]),
        (lambda: Float("x", True, 2), ["numbers", "True"]),
        (lambda: Int("x", 0.5, 2), ["whole numbers", "0.5"]),
        (lambda: Float("x", 0, 1, log=True), ["low > 0", "low=0.0"]),
        (lambda: Int("x", -2, 8, log=True), ["low > 0", "low=-2"]),
        (lambda: Float("x", 0.1, 1, log=True, limits=(0, 1)), ["limits[0] > 0", "(0.0, 1.0)"]),
        (lambda: Float("x", 0, 1, step=0), ["0 < step", "step=0"]),
        (lambda: Float("x", 0, 1, step=-0.1), ["0 < step", "-0.1"]),
        (lambda: Float("x", 0, 1, step=2), ["step <= high - low"]),
        (lambda: Int("x", 0, 9, step=0), ["0 < step"]),
        (lambda: Int("x", 1, 9, log=True, step=2), ["no step on a log scale", "step=2"]),
        (lambda: Float("x", 1, 9, log=True, step=0.5), ["no step on a log scale", "step=0.5"]),
        (lambda: Float("x", 0, 1, limits=(0.1, 2)), ["limits[0] <= low", "(0.1, 2.0)"]),
        (lambda: Int("x", 0, 9, limits=(0, 8)), ["high <= limits[1]", "(0, 8)"]),
        (lambda: Float("x", 0, 1, limits=3), ["limits", "two numbers", "3"]),
        (lambda: Categorical("x", ()), ["`choices` must not be empty", "x"]),
        (lambda: Categorical("x", (1, 2, 1)), ["must differ", "1 comes twice"]),
        (lambda: Categorical("x", (object(),)), ["plain"]),
        (lambda: Categorical("x", (math.nan, 1)), ["finite"]),
    ],
)
def test_a_broken_law_names_the_law_the_values_and_the_parameter(make, words):
    with pytest.raises(SpaceError) as error:
        make()
    assert all(word in str(error.value) for word in words), str(error.value)


def test_choices_differ_by_type():
    x = Categorical("x", (1, 1.0, True, "1", None))
    assert [x.to_unit(choice) for choice in x.choices] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert not Categorical("x", (1, 2)).contains(True)


def test_high_becomes_the_last_step():
    assert Int("x", 1, 10, step=4).high == 9
    assert [Float("x", 0, high, step=0.3).high for high in (0.8, 0.9, 1.0, 1.1)] == [0.6, 0.9, 0.9, 0.9]
    rounded = Float("x", 1.1262755393981934, 549755813890, step=549755813890 - 1.1262755393981934)
    assert Float(**vars(rounded)) == rounded


def test_bounds_become_numbers_of_their_kind():
    x = Float("x", "1e-5", 1, limits=["1e-7", 10])
    assert (x.low, x.high, x.limits) == (1e-5, 1.0, (1e-7, 10.0))
    assert isinstance(x.high, float)
    assert isinstance(Int("x", 1.0, "8").low, int)


# --- Laws of the space


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ((Int("x", 0, 1), Float("x", 0, 1)), ["must differ", "x comes twice"]),
        ((Float("m", 0, 1, when=SGD), Int("depth", 1, 5)), ["optimizer", "known: m, depth"]),
        ((OPTIMIZER, Float("m", 0, 1, when=(When("optimizer", ("sgdd",)),))), ["sgdd", "one of sgd, adam", " m "]),
        ((OPTIMIZER, Float("m", 0, 1, when=(When("optimizer", ()),))), ["must name values of optimizer"]),
        ((Float("lr", 0, 1), Float("m", 0, 1, when=(When("lr", (0.5,)),))), ["Float", "lr"]),
        ((Int("depth", 1, 5), Float("m", 0, 1, when=(When("depth", ("2",)),))), ["depth", "whole number"]),
        (
            tuple(Categorical(a, (1, 2), when=(When(b, (1,)),)) for a, b in ("ab", "bc", "ca")),
            ["circle", "a → b → c → a"],
        ),
        ((Categorical("a", (1, 2), when=(When("a", (1,)),)),), ["circle", "a → a"]),
    ],
)
def test_a_space_refuses(parameters, words):
    with pytest.raises(SpaceError) as error:
        SearchSpace(parameters)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_lookups():
    space = SearchSpace((Float("m", 0, 1, when=SGD), OPTIMIZER, Categorical("db", ("a",), group=True)))
    assert (len(space), "m" in space, "n" in space, space.names) == (3, True, False, ("m", "optimizer", "db"))
    assert [p.name for p in space] == ["m", "optimizer", "db"]
    assert [p.name for p in space.in_order()] == ["optimizer", "m", "db"]
    assert [p.name for p in space.groups] == ["db"]
    with pytest.raises(SpaceError, match="known: m, optimizer, db"):
        space["n"]
    assert len(SearchSpace()) == 0
    assert SearchSpace().from_unit([]) == {}


NESTED = SearchSpace(
    (
        Float("c", 0, 1, when=(When("b", (2,)),)),
        Int("b", 1, 3, when=(When("a", ("x", "y")),)),
        Categorical("a", ("x", "y", "z")),
    )
)


@pytest.mark.parametrize(
    ("params", "active"),
    [
        ({"a": "x", "b": 2, "c": 0.5}, "cba"),
        ({"a": "y", "b": 1}, "ba"),
        ({"a": "z"}, "a"),
        ({"a": "z", "b": 2}, "a"),  # b does not count: it is not active itself
        ({}, "a"),
    ],
)
def test_a_child_of_a_child_is_active_only_below_active_parents(params, active):
    assert "".join(p.name for p in NESTED.active(params)) == active


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"a": "x", "b": 1, "q": 1}, "known: c, b, a"),
        ({"a": "z", "b": 1}, "b must be left out unless a=x,y"),
        ({"a": "x"}, "b has none; given: a"),
        ({"a": "x", "b": 4}, r"b must be a whole number in \[1, 3\], but got 4"),
        ({"a": "x", "b": True}, "b must be a whole number"),
        ({"a": "x", "b": 2, "c": 1.5}, r"c must be a number in \[0.0, 1.0\]"),
        ({"a": "w"}, "a must be one of x, y, z"),
    ],
)
def test_validate_says_what_is_wrong(params, words):
    with pytest.raises(SpaceError, match=words):
        NESTED.validate(params)


def test_validate_accepts_exactly_the_active_parameters():
    NESTED.validate({"a": "x", "b": 2, "c": 1})
    NESTED.validate({"a": "z"})
    SearchSpace((Float("s", 0, 1, step=0.1),)).validate({"s": 0.1 * 3})
    with pytest.raises(SpaceError, match=r"steps of 0\.1"):
        SearchSpace((Float("s", 0, 1, step=0.1),)).validate({"s": 0.35})


def test_unit_positions():
    space = SearchSpace((Float("lr", 1e-4, 1e-2, log=True), Int("depth", 1, 5), Categorical("act", ("a", "b"))))
    unit = space.to_unit({"lr": 1e-3, "depth": 1, "act": "b"})
    assert unit == pytest.approx({"lr": 0.5, "depth": 0.1, "act": 0.75})
    assert space.from_unit([0.5, 0.39, 1.0]) == {"lr": pytest.approx(1e-3), "depth": 2, "act": "b"}
    assert space.from_unit([-1, 2, 0]) == {"lr": pytest.approx(1e-4), "depth": 5, "act": "a"}
    assert space.to_unit({"lr": 1.0, "depth": 7, "act": "a"})["lr"] == pytest.approx(2)
    with pytest.raises(SpaceError, match="needs one position"):
        space.from_unit([0.5])
    with pytest.raises(SpaceError, match="nan"):
        space.from_unit([math.nan, 0, 0])
    with pytest.raises(SpaceError, match="depth has none"):
        space.from_unit({"lr": 0.5, "act": 0.5})


@pytest.mark.parametrize("x", [Int("x", 1, 5), Int("x", 0, 12, step=3), Float("x", 0, 0.9, step=0.3)])
def test_steps_have_equal_cells(x):
    hits = [x.from_unit((i + 0.5) / 1000) for i in range(1000)]
    counts = [hits.count(value) for value in grid(x)]
    assert max(counts) - min(counts) <= 1


# --- Hydra's grammar


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(-5.5, 5.5)", Float("x", -5.5, 5.5)),
        ("interval(1, 8)", Float("x", 1, 8)),
        ("tag(log, interval(1e-5, 1e-1))", Float("x", 1e-5, 1e-1, log=True)),
        ("int(interval(16,512))", Int("x", 16, 512)),
        ("tag(log, int(interval(16,512)))", Int("x", 16, 512, log=True)),
        ("int(tag(log, interval(16,512)))", Int("x", 16, 512, log=True)),
        ("float(int(interval(1,8)))", Float("x", 1, 8)),
        ("range(1,6)", Int("x", 1, 5)),
        ("range(5)", Int("x", 0, 4)),
        ("range(1,10,4)", Int("x", 1, 9, step=4)),
        ("range(10,1,-3)", Int("x", 4, 10, step=3)),
        ("sort(range(1,5),reverse=true)", Int("x", 1, 4)),
        ("tag(log, range(1,9))", Int("x", 1, 8, log=True)),
        ("range(0,1,0.25)", Float("x", 0, 0.75, step=0.25)),
        ("range(0,0.9,0.3)", Float("x", 0, 0.6, step=0.3)),  # Hydra's binary sum passes its own stop here
        ("float(range(1,4))", Float("x", 1, 3, step=1)),
        ("choice(a,b)", Categorical("x", ("a", "b"))),
        ("choice(a)", Categorical("x", ("a",))),
        ("b,a", Categorical("x", ("b", "a"))),
        ("'a',\"1\"", Categorical("x", ("a", "1"))),
        ("choice(64,32)", Categorical("x", (64, 32))),
        ("choice(32,64)", Categorical("x", (32, 64), ordered=True)),
        ("sort(choice(3,1,2))", Categorical("x", (1, 2, 3), ordered=True)),
        ("choice(true,false)", Categorical("x", (True, False))),
        ("a,null", Categorical("x", ("a", None))),
        ("choice([1,'2'],{a:'b'})", Categorical("x", ([1, "2"], {"a": "b"}))),
        ("int(choice(1.5,3))", Categorical("x", (1, 3), ordered=True)),
        ("str(choice(1,2))", Categorical("x", ("1", "2"))),
    ],
)
def test_grammar(text, expected):
    assert one(text) == expected
    assert parse({}, [f"x={text}"]).space["x"] == expected


@pytest.mark.parametrize(
    "text",
    [
        "range(1,6)",
        "range(7)",
        "range(1,10,4)",
        "range(10,1,-3)",
        "range(0,1,0.1)",
        "range(1,2,0.25)",
        "range(3,0,-0.5)",
    ],
)
def test_a_range_holds_what_hydra_yields(text):
    assert grid(one(text)) == pytest.approx(sorted(hydras(text)))


@pytest.mark.parametrize("text", ["choice(a,b)", "1,2.0,x", "choice(true,1e-3)", "int(choice(1.5,3))", "[1,2],[3]"])
def test_choices_are_what_hydra_yields(text):
    assert list(one(text).choices) == hydras(text)
    assert list(map(type, one(text).choices)) == list(map(type, hydras(text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shuffle(range(1,6))", "shuffle"),
        ("shuffle(a,b)", "shuffle"),
        ("tag(speed, interval(0,1))", "speed.*known: log"),
        ("tag(log, choice(1,2))", "log.*choices have no scale"),
    ],
)
def test_what_is_ignored_is_told(text, words):
    with pytest.warns(UserWarning, match=words):
        assert one(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("interval(5,1)", "low=5.0, high=1.0"),
        ("interval(1,1)", "fixed value"),
        ("tag(log, interval(0,1))", "low > 0"),
        ("range(1,2)", "two values or more.*write x=1"),
        ("range(5,1)", r"range\(5, 1, 1\) for x.*swap"),
        ("range(1,5,0)", "step not 0"),
        ("choice()", "empty choice"),
        ("choice(1,1)", "1 comes twice"),
        ("glob(*)", "config group, but x is none"),
        ("interval(a,b)", "grammar"),
        ("choice(a", "grammar"),
    ],
)
def test_grammar_errors(text, words):
    with pytest.raises(SpaceError, match=words):
        one(text)


def test_a_block_of_hydra_optuna_sweeper():
    block = {
        "x": "interval(-5.5, 5.5)",
        "y": "choice(-5, 0, 5)",
        "z": "range(1, 4)",
        "lr": "tag(log, interval(1e-5, 1e-1))",
        "k": "int(interval(1, 8))",
        "s": "choice('a','b')",
    }
    assert parse(OmegaConf.create(block)).space.parameters == (
        Float("x", -5.5, 5.5),
        Categorical("y", (-5, 0, 5), ordered=True),
        Int("z", 1, 3),
        Float("lr", 1e-5, 1e-1, log=True),
        Int("k", 1, 8),
        Categorical("s", ("a", "b")),
    )


# --- Mappings, lists, fixed values, objects


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"interval": [0.0, 0.7], "limits": [0, 0.9]}, Float("x", 0, 0.7, limits=(0, 0.9))),
        (
            {"interval": ["1e-5", "1e-1"], "log": True, "limits": ["1e-7", 10]},
            Float("x", 1e-5, 0.1, True, None, (1e-7, 10)),
        ),
        ({"interval": [16, 512], "int": True, "log": True}, Int("x", 16, 512, log=True)),
        ({"interval": [16, 512]}, Float("x", 16, 512)),
        ({"interval": [0, 1], "step": 0.25}, Float("x", 0, 1, step=0.25)),
        ({"interval": [0, 12], "int": True, "step": 4}, Int("x", 0, 12, step=4)),
        ({"range": [1, 6], "limits": [1, 20]}, Int("x", 1, 5, limits=(1, 20))),
        ({"range": [0, 1, 0.5]}, Float("x", 0, 0.5, step=0.5)),
        ({"choices": ["b", 1, None]}, Categorical("x", ("b", 1, None))),
        ({"choices": ["s", "m"], "ordered": True}, Categorical("x", ("s", "m"), ordered=True)),
        ({"choices": [1, 2], "ordered": False}, Categorical("x", (1, 2))),
        ({"space": "tag(log, int(interval(16, 512)))", "limits": [8, 1024]}, Int("x", 16, 512, True, 1, (8, 1024))),
        ({"space": "a,b", "ordered": True}, Categorical("x", ("a", "b"), ordered=True)),
        (["a", "b"], Categorical("x", ("a", "b"))),
        (Float("other", 0, 1), Float("x", 0, 1)),
    ],
)
def test_mappings_lists_and_objects(spec, expected):
    assert one(spec) == expected
    if isinstance(spec, dict):
        assert parse(OmegaConf.create({"x": spec})).space["x"] == expected


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"intervall": [0, 1]}, "Unknown key intervall for x; known: interval, .*when; .*x.intervall"),
        ({"interval": [0, 1], "choices": [1]}, "Exactly one of .* interval, choices for x"),
        ({"log": True}, "Exactly one of .*none for x"),
        ({"interval": [0, 1], "log": "yes"}, "`log` must be true or false"),
        ({"interval": 3}, "must be a list"),
        ({"interval": ["low", 1]}, "grammar"),
        ({"interval": [1]}, "grammar"),
        ({"interval": [0, 1], "limits": ["a", 2]}, "finite numbers, but got 'a' for x"),
        ({"interval": [0, 1], "limits": [0.5, 2]}, "limits"),
        ({"choices": "a,b"}, "must be a list"),
        ({"choices": []}, "must not be empty"),
        ({"choices": [1, 2], "limits": [0, 3]}, "`limits` has no meaning for x"),
        ({"choices": [1, 2], "log": True}, "`log` has no meaning for x"),
        ({"interval": [0, 1], "ordered": True}, "`ordered` has no meaning for x"),
        ({"space": "0.1", "when": "a=1"}, "must be a sweep"),
        ({"space": [0, 1]}, "Hydra's grammar"),
    ],
)
def test_mapping_errors(spec, words):
    with pytest.raises(SpaceError, match=words):
        one(spec)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01, "0.01"), ("relu", "relu"), (True, "true"), (None, "null"), ("'1'", "'1'"), ("[1,2]", "[1,2]"), ("", "")],
)
def test_what_is_no_sweep_is_fixed(value, text):
    parsed = parse({"x": value, "y": "1,2"})
    assert (parsed.fixed, parsed.space.names, parsed.overrides) == ({"x": text}, ("y",), [f"x={text}"])


# --- Conditions


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("optimizer=sgd", (When("optimizer", ("sgd",)),)),
        ("optimizer=sgd,nadam", (When("optimizer", ("sgd", "nadam")),)),
        (["optimizer=sgd", "depth=3"], (When("optimizer", ("sgd",)), When("depth", (3,)))),
        ({"optimizer": ["sgd", "nadam"], "depth": 3}, (When("optimizer", ("sgd", "nadam")), When("depth", (3,)))),
        ("depth=range(1,3)", (When("depth", (1, 2)),)),
        ("size=2", (When("size", ("2",)),)),
        ("flag=true", (When("flag", (True,)),)),
        (None, ()),
    ],
)
def test_conditions(when, expected):
    rest = {"optimizer": "sgd,adam,nadam", "depth": "range(1,6)", "size": ["1", "2"], "flag": "true,false"}
    assert parse({"m": {"interval": [0, 1], "when": when}, **rest}).space["m"].when == expected


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("optimiser=sgd", "optimiser.* of m .*known: m, optimizer"),
        ("optimizer=sgdd", "sgdd; it is one of sgd, adam"),
        ("optimizer", "grammar"),
        ({"optimizer": []}, "must name a value"),
        ("m=1", "Float"),
    ],
)
def test_condition_errors(when, words):
    params = {"m": {"interval": [0, 1], "when": when}, "optimizer": "sgd,adam"}
    with pytest.raises(SpaceError, match=words):
        parse(params)
    if when != "m=1":
        with pytest.raises(SpaceError):  # also when the command line would hide it
            parse(params, ["m=0.9"])


def test_a_fixed_parent_in_the_config_decides_its_children():
    children = {
        "a": {"choices": [1, 2], "when": "optimizer=sgd"},
        "b": {"choices": [1, 2], "when": "optimizer=adam"},
        "c": {"choices": [1, 2], "when": "b=1"},
    }
    space = parse({"optimizer": "sgd", **children}).space
    assert space.parameters == (Categorical("a", (1, 2), ordered=True),)


def test_conditions_of_objects_are_kept():
    space = parse({"optimizer": ["sgd", "adam"], "m": Float("m", 0, 1, when=SGD)}).space
    assert space["m"].when == SGD


# --- Config groups


def groups(name):
    return OPTIONS.get(name)


@pytest.mark.parametrize(
    ("key", "value", "choices"),
    [
        ("optimizer", "choice(sgd, adam)", ("sgd", "adam")),
        ("optimizer@model.opt", "sgd,adam", ("sgd", "adam")),
        ("optimizer", ["sgd", None], ("sgd", None)),
        ("optimizer", "[sgd,adam],[sgd]", (["sgd", "adam"], ["sgd"])),
        ("optimizer", "glob(*)", ("adam", "nadam", "rmsprop", "sgd")),
        ("optimizer", "glob([a*,s*,n*], exclude=nadam)", ("adam", "sgd")),
        ("db/engine", "glob(*)", ("mysql", "sqlite")),
    ],
)
def test_config_groups(key, value, choices):
    space = parse({key: value}, groups=groups).space
    assert space.parameters == (Categorical(key, choices, group=True),) == space.groups


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("sgd,lion", "among adam, nadam, rmsprop, sgd, but got lion"),
        ("interval(0,1)", "config group and must be among"),
        ("glob(z*)", "matches none of adam"),
    ],
)
def test_config_group_errors(value, words):
    with pytest.raises(SpaceError, match=words):
        parse({"optimizer": value}, groups=groups)


# --- The command line

CONFIG = {
    "optimizer": "choice(sgd, adam, nadam)",
    "optimizer.lr": {"interval": [1e-5, 1e-1], "log": True, "limits": [1e-7, 10]},
    "optimizer.momentum": {"interval": [0.5, 0.99], "when": "optimizer=sgd"},
    "nesterov": {"choices": [True, False], "when": "optimizer.momentum.kind=heavy"},
    "optimizer.momentum.kind": {"choices": ["heavy", "light"], "when": "optimizer=sgd,nadam"},
    "depth": "range(1, 6)",
}


def test_without_overrides_nothing_changes():
    parsed = parse(CONFIG, ["hydra/launcher=local", "hydra.sweeper.study=a,b"])
    assert parsed.space.names == tuple(CONFIG)
    assert (parsed.fixed, parsed.added) == ({}, frozenset())


def test_a_sweep_takes_the_place_with_its_conditions_and_limits():
    space = parse(CONFIG, ["optimizer.lr=interval(1e-4,1)", "optimizer.momentum=0.5,0.9", "batch=16,32"]).space
    assert space.names == (*CONFIG, "batch")
    assert space["optimizer.lr"] == Float("optimizer.lr", 1e-4, 1, limits=(1e-7, 10))
    assert space["optimizer.momentum"].when == SGD
    assert space["batch"] == Categorical("batch", (16, 32), ordered=True)


def test_limits_that_do_not_fit_any_more_are_dropped_with_a_word():
    with pytest.warns(UserWarning, match="limits .* of optimizer.lr are dropped"):
        assert parse(CONFIG, ["optimizer.lr=interval(1,100)"]).space["optimizer.lr"].limits is None


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("sgd", ("optimizer.lr", "optimizer.momentum", "nesterov", "optimizer.momentum.kind", "depth")),
        ("nadam", ("optimizer.lr", "nesterov", "optimizer.momentum.kind", "depth")),
        ("adam", ("optimizer.lr", "depth")),
    ],
)
def test_a_fixed_value_decides_the_conditions_on_it(value, names):
    parsed = parse(CONFIG, [f"optimizer={value}"])
    assert (parsed.space.names, parsed.fixed) == (names, {"optimizer": value})
    assert all(when.parameter != "optimizer" for parameter in parsed.space for when in parameter.when)


def test_a_child_of_a_fixed_child_hangs_on_the_grandparent():
    space = parse(CONFIG, ["optimizer.momentum.kind=heavy"]).space
    assert space["nesterov"].when == (When("optimizer", ("sgd", "nadam")),)
    assert "nesterov" not in parse(CONFIG, ["optimizer.momentum.kind=light"]).space


def test_narrower_choices_narrow_the_conditions():
    space = parse(CONFIG, ["optimizer=adam,nadam"]).space
    assert "optimizer.momentum" not in space
    assert space["optimizer.momentum.kind"].when == (When("optimizer", ("nadam",)),)
    assert parse(CONFIG, ["optimizer=sgd,lion"]).space["optimizer.momentum"].when == SGD


def test_a_sweep_that_can_never_be_active_is_ignored_with_a_word():
    with pytest.warns(UserWarning, match="sweep over optimizer.momentum is ignored"):
        parsed = parse(CONFIG, ["optimizer=adam", "optimizer.momentum=0.5,0.9"])
    assert "optimizer.momentum" not in parsed.space
    assert parsed.fixed == {"optimizer": "adam"}


def test_a_parent_may_come_from_the_command_line():
    params = {"m": {"choices": [1, 2], "when": "kind=a"}, "n": {"choices": [1, 2], "when": "kind=b"}}
    assert parse(params, ["+kind=a,c"]).space.names == ("m", "kind")
    assert parse(params, ["kind=b"]).space.names == ("n",)
    with pytest.raises(SpaceError, match="kind=a"):
        parse(params)


def test_prefixes_packages_and_deletions():
    parsed = parse(
        {
            "+foo": "1,2",
            "++bar": "3,4",
            "+gone": "1,2",
            "+plain": 7,
            "optimizer@opt": "sgd,adam",
            "depth": "range(1,6)",
        },
        ["+new=1,2", "~depth", "~key=3", "gone=5", "++x.y=2", "optimizer@opt=sgd"],
        groups,
    )
    assert parsed.space.names == ("foo", "bar", "new")
    assert parsed.added == {"foo", "bar", "new"}
    assert parsed.overrides == ["+plain=7", "~depth", "~key=3", "+gone=5", "++x.y=2", "optimizer@opt=sgd"]


def test_the_last_word_on_a_name_counts():
    assert parse({}, ["x=1,2", "x=3"]).fixed == {"x": "3"}
    parsed = parse({"x": 3}, ["x=4", "x=1,2"])
    assert (parsed.fixed, parsed.space.names) == ({}, ("x",))
    assert parse({"x": 3, "z": {"choices": [1, 2], "when": "x=5"}}, ["x=5"]).space["z"].when == ()


# --- Properties


@st.composite
def floats(draw, name="x"):
    log = draw(st.booleans())
    low = draw(st.floats(1e-9, 1e9) if log else st.floats(-1e9, 1e9))
    high = draw(st.floats(low, 1e12).filter(lambda high: high > low))
    step = None if log else draw(st.none() | st.integers(1, 1000).map(lambda n: (high - low) / n))
    return Float(name, low, high, log, step if step and 0 < step <= high - low else None)


@st.composite
def ints(draw, name="x", log=None):
    log = draw(st.booleans()) if log is None else log
    low = draw(st.integers(1 if log else -(10**6), 10**6))
    span = draw(st.integers(1, 10**6))
    return Int(name, low, low + span, log, 1 if log else draw(st.integers(1, span)))


CHOICES = st.lists(st.none() | st.booleans() | st.integers() | st.text("ab1 ", max_size=3), min_size=1, max_size=5)


@st.composite
def categoricals(draw, name="x"):
    choices = draw(CHOICES)
    return Categorical(name, tuple({(type(c), c): c for c in choices}.values()), draw(st.booleans()))


@st.composite
def spaces(draw):
    """Up to five parameters; each may hang on one before it, and the order is then mixed."""
    parameters = []
    for name in ("a", "b.c", "d", "e", "f")[: draw(st.integers(1, 5))]:
        parameter = draw(floats(name) | ints(name) | categoricals(name))
        parents = [p for p in parameters if not isinstance(p, Float)]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            values = parent.choices if isinstance(parent, Categorical) else (parent.low, parent.high)
            when = When(parent.name, tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))))
            parameter = type(parameter)(**{**vars(parameter), "when": (when,)})
        parameters.append(parameter)
    return SearchSpace(draw(st.permutations(parameters)))


UNITS = st.lists(st.floats(0, 1), min_size=5, max_size=5)


@settings(deadline=None)
@given(spaces(), UNITS)
def test_every_position_is_valid_and_comes_back(space, unit):
    params = space.from_unit(unit[: len(space)])
    space.validate(params)
    positions = space.to_unit(params)
    assert positions.keys() == params.keys()
    assert all(-1e-9 <= position <= 1 + 1e-9 for position in positions.values())
    again = space.from_unit(positions)
    for name, value in params.items():
        close = isinstance(space[name], Float) and space[name].step is None
        scale = max(abs(space[name].low), abs(space[name].high)) if close else 0
        assert again[name] == (pytest.approx(value, rel=1e-6, abs=1e-12 * scale) if close else value)
        assert type(again[name]) is type(value)


@settings(deadline=None)
@given(spaces())
def test_json_round_trip(space):
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json(), allow_nan=False))) == space


@settings(deadline=None)
@given(spaces())
def test_parents_come_before_children(space):
    order = [p.name for p in space.in_order()]
    assert sorted(order) == sorted(space.names)
    assert all(order.index(w.parameter) < order.index(p.name) for p in space for w in p.when)


@settings(deadline=None)
@given(ints(log=True), st.floats(0, 1))
def test_log_integers_are_integers_within_bounds(x, unit):
    value = x.from_unit(unit)
    assert type(value) is int
    assert x.low <= value <= x.high
    assert (x.from_unit(0.0), x.from_unit(1.0)) == (x.low, x.high)


@settings(deadline=None)
@given(st.integers(-50, 50), st.integers(2, 50), st.sampled_from([1, 2, 3, -1, -4, 0.1, 0.25]))
def test_any_range_holds_what_hydra_yields(start, length, step):
    stop = start + length if step > 0 else start - length
    yielded = sorted(hydras(f"range({start},{stop},{step})"))
    if len(yielded) > 1:
        assert grid(one(f"range({start},{stop},{step})")) == pytest.approx(yielded)


def test_json_refuses_what_it_does_not_know():
    with pytest.raises(SpaceError, match="float, int, categorical"):
        SearchSpace.from_json([{"type": "complex", "name": "x"}])
    with pytest.raises(SpaceError, match="colour"):
        SearchSpace.from_json([{"type": "float", "name": "x", "low": 0, "high": 1, "colour": 1}])


def test_importing_the_space_loads_nothing_heavy():
    heavy = "hydra", "omegaconf", "torch", "optuna", "numpy", "pandas"
    code = f"import sys, sweeper.search.space; print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_reading_a_plain_space_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse(CONFIG, ["optimizer=sgd,adam"])
