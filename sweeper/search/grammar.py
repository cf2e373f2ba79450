"""How people write a search space: Hydra's own override grammar, or a mapping where that says more.

A parameter in `hydra.sweeper.params` is one of

    lr:    tag(log, interval(1e-5, 1e-1))                               # Hydra's grammar, exactly as Hydra means it
    depth: [1, 2, 4]                                                    # a list: choices
    decay: {interval: [1e-6, 1e-2], log: true, limits: [1e-8, 1]}       # also int: true, step
    layer: {range: [1, 6], when: {optimizer: [sgd, nadam]}}             # Hydra's range: 6 excluded
    batch: {choices: [16, 32, 64], ordered: true, when: optimizer=sgd}
    width: {space: "int(interval(16, 512))", limits: [8, 2048]}         # grammar with any of these beside it
    act:   relu                                                         # no sweep: a fixed value
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeper.search.space import (
    Categorical,
    Float,
    Int,
    Parameter,
    SearchSpace,
    When,
    alike,
    as_text,
    as_texts,
    exact,
    is_a,
    plain,
)
from sweeper.words.errors import SpaceError

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override

Groups = Callable[[str], Sequence[str] | None]
FORMS = ("interval", "range", "choices", "space")
DETAILS = ("log", "int", "step", "limits", "ordered", "when")


class Parsed(NamedTuple):
    """What `parse` read."""

    space: SearchSpace
    fixed: dict[str, str]
    """Full key (with `+`, `++`, `~`, `@package`) to the text of its value; a bare `~key` has the text ''."""
    added: frozenset[str]
    """Parameters written with `+` or `++`: override them by `++name=value`, a config group by `+name=value`."""

    @property
    def overrides(self) -> list[str]:
        """`fixed` as Hydra overrides."""
        return [key if key.startswith("~") and not text else f"{key}={text}" for key, text in self.fixed.items()]


def parse(params: Mapping[str, Any], overrides: Sequence[str] = (), groups: Groups = lambda name: None) -> Parsed:
    """The space of `hydra.sweeper.params` changed by the command line; `groups(name)`: a group's options, or None.

    A sweep on the command line takes the place of the parameter of its name, with its `when`, and its `limits` if they
    fit. A fixed value removes the parameter; conditions on it are decided, and children that cannot be active go too.
    """
    config = {e.name: e for e in (_entry(str(key), plain(value), groups) for key, value in params.items())}
    command = [_from_override(o, groups) for o in map(_override, overrides) if not o.is_hydra_override()]
    last = {e.name: e for e in command}
    prefixes = {e.name: e.prefix for e in (*config.values(), *command) if "+" in e.prefix}
    # The config is settled by itself first, so that its mistakes show whatever the command line says.
    declared = {**config, **{n: e for n, e in last.items() if n not in config or config[n].parameter is None}}
    searched = {n: e.parameter for n, e in declared.items() if e.parameter}
    searched = {n: replace(p, when=_conditions(declared[n].when, searched)) for n, p in searched.items()}
    space = _settled(searched, {n: e for n, e in declared.items() if not e.parameter or e is last.get(n)})
    space = _settled({p.name: _renewed(p, last.get(p.name)) for p in space}, last)
    if lost := [name for name, entry in last.items() if entry.parameter and name not in space]:
        warnings.warn(f"The sweep over {as_texts(lost)} is ignored: its conditions cannot hold.", stacklevel=2)
    closed = [e for e in (*(e for n, e in config.items() if n not in last), *command) if e.name not in space]
    fixed = {(e.key if e.prefix else prefixes.get(e.name, "") + e.key): e.text for e in closed if not e.parameter}
    return Parsed(space, fixed, frozenset(prefixes).intersection(space.names))


class _Entry(NamedTuple):
    """One key of the config or of the command line: a parameter, or else a fixed value."""

    key: str
    parameter: Parameter | None
    text: str = ""
    possible: tuple[Any, ...] | None = None
    """The values that a condition on it can still meet, none for a deleted key. None: not known, so any."""
    when: Any = None

    @property
    def name(self) -> str:
        return self.key.lstrip("+~")

    @property
    def prefix(self) -> str:
        return self.key[: -len(self.name)]


def _entry(key: str, value: Any, groups: Groups) -> _Entry:
    name = key.lstrip("+")
    if isinstance(value, dict):
        return _Entry(key, _grouped(_from_mapping(name, value, groups), groups), when=value.get("when"))
    if isinstance(value, Parameter):
        return _Entry(key, _grouped(replace(value, name=name, when=()), groups), when=value.when)
    if isinstance(value, list):
        return _Entry(key, _grouped(_categorical(name, value), groups))
    return _from_override(_override(f"{key}={as_text(value)}"), groups)


def _from_override(override: Override, groups: Groups) -> _Entry:
    key = override.get_key_element()
    if override.is_delete() or not override.is_sweep_override():
        text = override.get_value_string() if override.value_type else ""
        return _Entry(key, None, text, () if override.is_delete() else (override.value(),))
    parameter = _grouped(_from_sweep(key.lstrip("+"), override, groups), groups)
    return _Entry(key, parameter, possible=parameter.choices if isinstance(parameter, Categorical) else None)


def _renewed(old: Parameter, entry: _Entry | None) -> Parameter:
    if entry is None or entry.parameter is None:
        return old
    new, limits = replace(entry.parameter, when=old.when), getattr(old, "limits", None)
    if limits is None or isinstance(new, Categorical):
        return new
    try:
        return replace(new, limits=limits)
    except SpaceError as error:
        warnings.warn(f"The limits {limits} of {old.name} are dropped: {error}", stacklevel=3)
        return new


def _settled(parameters: Mapping[str, Parameter], entries: Mapping[str, _Entry]) -> SearchSpace:
    """What is left when `entries` fix, delete or narrow parameters: conditions decided, unreachable children gone."""
    possible = {name: entry.possible for name, entry in entries.items() if entry.possible is not None}
    closed = {name for name, entry in entries.items() if entry.parameter is None}
    left = {n: replace(p, when=_inherited(p, parameters, closed)) for n, p in parameters.items() if n not in closed}
    gone: list[str] | None = None
    while gone != []:
        left = {n: replace(p, when=tuple(_narrowed(w, possible) for w in p.when)) for n, p in left.items()}
        gone = [name for name, parameter in left.items() if not all(when.values for when in parameter.when)]
        for name in gone:
            del left[name]
            possible[name] = ()
    undecided = {n: tuple(w for w in p.when if w.parameter not in closed) for n, p in left.items()}
    return SearchSpace(tuple(replace(p, when=undecided[n]) for n, p in left.items()))


def _inherited(child: Parameter, parameters: Mapping[str, Parameter], closed: Container[str]) -> tuple[When, ...]:
    """A child of a parameter that is now fixed hangs on that one's own conditions as well."""
    conditions = list(child.when)
    for when in conditions:  # grows on the way
        if when.parameter in closed and when.parameter in parameters:
            conditions += [w for w in parameters[when.parameter].when if w not in conditions]
    return tuple(conditions)


def _narrowed(when: When, possible: Mapping[str, tuple[Any, ...]]) -> When:
    if when.parameter not in possible:
        return when
    return replace(when, values=tuple(v for v in possible[when.parameter] if any(alike(v, w) for w in when.values)))


def _conditions(when: Any, parameters: Mapping[str, Parameter]) -> tuple[When, ...]:
    """Of `a=1,2`, {a: [1, 2], b: 3} or a list of such: all must hold. A value becomes the choice it spells."""
    if when is None or isinstance(when, (list, tuple)):
        return tuple(w for each in when or () for w in _conditions(each, parameters))
    if isinstance(when, When):
        pairs = {when.parameter: list(when.values)}
    elif isinstance(when, dict):
        pairs = {str(name): values if isinstance(values, list) else [values] for name, values in when.items()}
    else:
        override = _override(str(when))
        many = override.is_discrete_sweep()
        pairs = {
            override.get_key_element().lstrip("+"): plain(
                list(override.sweep_iterator()) if many else [override.value()]
            )
        }
    if not all(pairs.values()):
        raise SpaceError(f"`when` must name a value, but got {when!r}: write `when: parameter=value`.")
    return tuple(When(name, tuple(_spelled(v, parameters.get(name)) for v in values)) for name, values in pairs.items())


def _spelled(value: Any, parent: Parameter | None) -> Any:
    if not isinstance(parent, Categorical) or parent.contains(value):
        return value
    return next((choice for choice in parent.choices if alike(choice, value)), value)


def _from_mapping(name: str, spec: dict[str, Any], groups: Groups) -> Parameter:
    form = _form(name, spec)
    parameter: Parameter
    if form == "choices":
        parameter = _categorical(name, spec[form])
    else:
        text = spec[form] if form == "space" else f"{form}({', '.join(map(str, spec[form]))})"
        text = f"int({text})" if spec.get("int") else text
        override = _override(f"{name}=tag(log, {text})" if spec.get("log") else f"{name}={text}")
        if not override.is_sweep_override():
            raise SpaceError(f"`space` must be a sweep, but got {text!r} for {name}: write {name}: {text}.")
        parameter = _from_sweep(name, override, groups)
    rest = ("step", "limits", "ordered", *(("log", "int") if form == "choices" else ()))
    given = {key: spec[key] for key in rest if spec.get(key) is not None}
    if stray := [key for key in given if not hasattr(parameter, key)]:
        raise SpaceError(f"`{stray[0]}` has no meaning for {name}, which is {parameter.law}: remove it.")
    return replace(parameter, **given)


def _form(name: str, spec: dict[str, Any]) -> str:
    if unknown := [key for key in spec if key not in FORMS + DETAILS]:
        hint = f"a parameter inside it is written {name}.{unknown[0]}"
        raise SpaceError(f"Unknown key {as_texts(unknown)} for {name}; known: {as_texts(FORMS + DETAILS)}; {hint}.")
    given = [form for form in FORMS if form in spec]
    if len(given) != 1:
        raise SpaceError(
            f"Exactly one of {as_texts(FORMS)} must be given, but got {as_texts(given) or 'none'} for {name}."
        )
    if not isinstance(spec[given[0]], str if given[0] == "space" else list):
        wanted = "a string in Hydra's grammar" if given[0] == "space" else "a list"
        raise SpaceError(f"`{given[0]}` must be {wanted}, but got {spec[given[0]]!r} for {name}.")
    for flag in ("log", "int", "ordered"):
        if not isinstance(spec.get(flag, False), bool):
            raise SpaceError(f"`{flag}` must be true or false, but got {spec[flag]!r} for {name}.")
    return given[0]


def _from_sweep(name: str, override: Override, groups: Groups) -> Parameter:
    from hydra.core.override_parser.types import Glob, IntervalSweep, RangeSweep

    sweep: Any = override.value()
    if isinstance(sweep, Glob):
        return _globbed(name, sweep, groups)
    log = "log" in sweep.tags
    if unknown := sorted(sweep.tags - {"log"}):
        warnings.warn(f"The tag {as_texts(unknown)} of {name} is unknown and ignored; known: log.", stacklevel=2)
    if getattr(sweep, "shuffle", False):
        warnings.warn(f"`shuffle` of {name} is ignored: the sampler orders the trials.", stacklevel=2)
    if isinstance(sweep, IntervalSweep):
        whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
        return (Int if whole else Float)(name, sweep.start, sweep.end, log)  # type: ignore[arg-type]
    if isinstance(sweep, RangeSweep):
        return _stepped(name, sweep.start, sweep.stop, sweep.step, log)
    if log:
        warnings.warn(f"The tag log of {name} is ignored: choices have no scale.", stacklevel=2)
    return _categorical(name, plain(sweep.list))


def _globbed(name: str, glob: Any, groups: Groups) -> Categorical:
    options = groups(name.split("@")[0])
    if options is None:
        raise SpaceError(f"`glob` needs a config group, but {name} is none: list its values, choice(a, b).")
    if not (choices := glob.filter(list(options))):
        raise SpaceError(f"`glob` must match an option of {name}, but {glob} matches none of {as_texts(options)}.")
    return Categorical(name, tuple(choices))


def _stepped(name: str, start: Any, stop: Any, step: Any, log: bool) -> Parameter:
    """Hydra's range, its stop excluded, counted in decimals as written: range(0, 0.9, 0.3) ends at 0.6."""
    got = f"range({start}, {stop}, {step}) for {name}"
    if step == 0 or not all(map(math.isfinite, (start, stop, step))):
        raise SpaceError(f"A range's numbers must be finite and its step not 0, but got {got}.")
    count = math.ceil((exact(stop) - exact(start)) / exact(step))
    if count < 2:
        cure = f"write {name}={start}" if count == 1 else "swap its ends or the sign of its step"
        raise SpaceError(f"A range, its stop excluded, must hold two values or more, but got {got}: {cure}.")
    low, high = sorted((exact(start), exact(start) + (count - 1) * exact(step)))
    if all(isinstance(part, int) for part in (start, stop, step)):
        return Int(name, int(low), int(high), log, abs(step))
    return Float(name, float(low), float(high), log, abs(float(step)))


def _categorical(name: str, values: Sequence[Any]) -> Categorical:
    ascending = all(is_a(Real, v) for v in values) and all(a < b for a, b in itertools.pairwise(values))
    return Categorical(name, tuple(values), ordered=ascending and len(values) > 1)


def _grouped(parameter: Parameter, groups: Groups) -> Parameter:
    """Marks a config group, whose choices are options, null, or lists of options, as in Hydra."""
    options = groups(parameter.name.split("@")[0])
    if options is None:
        return parameter
    law = f"{parameter.name} is a config group and must be among {as_texts(options)}"
    if not isinstance(parameter, Categorical):
        raise SpaceError(f"{law}, but got {parameter.law}.")
    for choice in parameter.choices:
        if unknown := [o for o in (choice if isinstance(choice, list) else [choice]) if o not in (None, *options)]:
            raise SpaceError(f"{law}, but got {as_texts(unknown)}.")
    return replace(parameter, group=True)


@cache
def _parser() -> OverridesParser:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def _override(text: str) -> Override:
    from hydra.errors import HydraException

    try:
        return _parser().parse_override(text)
    except HydraException as error:
        raise SpaceError(f"`name=value` must hold in Hydra's override grammar, but got {text!r}: {error}") from error
