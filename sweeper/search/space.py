"""Search spaces: named parameters with a scale, a range now, hard limits and conditions.

How they are written down by people is `grammar`'s business.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cached_property
from numbers import Integral, Real
from typing import Any

from sweeper.words.errors import SpaceError


@dataclass(frozen=True)
class When:
    """Holds iff `parameter` is active and its value is one of `values`."""

    parameter: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        _set(self, values=tuple(self.values))

    def __str__(self) -> str:
        return f"{self.parameter}={','.join(map(as_text, self.values))}"


@dataclass(frozen=True)
class Float:
    """A number in [low, high]. `log`: even in its logarithm; `step`: low, low + step, … where high becomes the last."""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    limits: tuple[float, float] | None = None
    when: tuple[When, ...] = ()

    def __post_init__(self) -> None:
        _check_range(self, float)
        # A high that is a step but for its rounding stays, so that a space read again is the same.
        if self.step and not self.contains(self.high):
            _set(self, high=self._at(math.floor((exact(self.high) - exact(self.low)) / exact(self.step))))

    @property
    def law(self) -> str:
        return f"a number in [{self.low}, {self.high}]" + (f" in steps of {self.step}" if self.step else "")

    def contains(self, value: Any) -> bool:
        if not is_a(Real, value) or not self.low <= value <= self.high:
            return False
        return not self.step or abs(value - self._at(round((value - self.low) / self.step))) <= 1e-6 * self.step

    def to_unit(self, value: float) -> float:
        if self.step:
            return ((value - self.low) / self.step + 0.5) / self._count
        return _position(value, self.low, self.high, self.log)

    def from_unit(self, unit: float) -> float:
        stepped = self.step is not None
        value = self._at(_cell(unit, self._count)) if stepped else _between(unit, self.low, self.high, self.log)
        return min(max(value, self.low), self.high)

    @property
    def _count(self) -> int:
        return round((self.high - self.low) / (self.step or 1)) + 1

    def _at(self, index: int) -> float:
        return float(exact(self.low) + index * exact(self.step or 1))


@dataclass(frozen=True)
class Int:
    """A whole number, low and high included. `log` and `step` as for Float."""

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1
    limits: tuple[int, int] | None = None
    when: tuple[When, ...] = ()

    def __post_init__(self) -> None:
        _check_range(self, int)
        _set(self, high=self.high - (self.high - self.low) % self.step)

    @property
    def law(self) -> str:
        return f"a whole number in [{self.low}, {self.high}]" + (f" in steps of {self.step}" if self.step != 1 else "")

    def contains(self, value: Any) -> bool:
        return is_a(Integral, value) and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def to_unit(self, value: int) -> float:
        """The middle of the value's cell: one of n equal ones, or [value - ½, value + ½] on the log scale."""
        if self.log:
            return _position(value, self.low - 0.5, self.high + 0.5, True)
        return ((value - self.low) / self.step + 0.5) / self._count

    def from_unit(self, unit: float) -> int:
        if self.log:
            return min(max(round(_between(unit, self.low - 0.5, self.high + 0.5, True)), self.low), self.high)
        return self.low + self.step * _cell(unit, self._count)

    @property
    def _count(self) -> int:
        return (self.high - self.low) // self.step + 1


@dataclass(frozen=True)
class Categorical:
    """One of `choices`, told apart by type too: 1, 1.0 and true differ. `group`: options of a Hydra config group."""

    name: str
    choices: tuple[Any, ...]
    ordered: bool = False
    group: bool = False
    when: tuple[When, ...] = ()

    def __post_init__(self) -> None:
        _set(self, choices=tuple(self.choices), when=tuple(self.when))
        _check_name(self)
        if not self.choices:
            raise SpaceError(f"`choices` must not be empty, but are for {self.name}: list at least one value.")
        for index, choice in enumerate(self.choices):
            if not _is_plain(choice):
                raise SpaceError(f"A choice must be plain and finite, as in JSON, but got {choice!r} for {self.name}.")
            if _among(choice, self.choices[:index]):
                raise SpaceError(f"`choices` must differ, but {choice!r} comes twice for {self.name}: remove one.")

    @property
    def law(self) -> str:
        return f"one of {as_texts(self.choices)}"

    def contains(self, value: Any) -> bool:
        return _among(value, self.choices)

    def to_unit(self, value: Any) -> float:
        for index, choice in enumerate(self.choices):
            if _same(value, choice):
                return (index + 0.5) / len(self.choices)
        raise SpaceError(f"{self.name} must be {self.law}, but got {value!r}.")

    def from_unit(self, unit: float) -> Any:
        return self.choices[_cell(unit, len(self.choices))]


Parameter = Float | Int | Categorical
KINDS: dict[str, type[Parameter]] = {"float": Float, "int": Int, "categorical": Categorical}


@dataclass(frozen=True)
class SearchSpace:
    """Parameters in the order written; `params` maps exactly the active ones to their values."""

    parameters: tuple[Parameter, ...] = ()

    def __post_init__(self) -> None:
        _set(self, parameters=tuple(self.parameters))
        if twice := {name for name in self.names if self.names.count(name) > 1}:
            raise SpaceError(f"Names must differ, but {as_texts(twice)} comes twice in the search space: remove one.")
        for parameter in self.parameters:
            for when in parameter.when:
                self._check_condition(parameter.name, when)
        self.in_order()

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Parameter:
        if name not in self._by_name:
            raise SpaceError(f"No parameter {name!r} in the search space; known: {as_texts(self.names)}.")
        return self._by_name[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def groups(self) -> tuple[Categorical, ...]:
        return tuple(p for p in self.parameters if isinstance(p, Categorical) and p.group)

    def in_order(self) -> tuple[Parameter, ...]:
        """Parents before children, otherwise in the order written."""
        return self._ordered

    def is_active(self, parameter: Parameter | str, params: Mapping[str, Any]) -> bool:
        conditions = (self[parameter] if isinstance(parameter, str) else parameter).when
        return all(
            w.parameter in params and _among(params[w.parameter], w.values) and self.is_active(w.parameter, params)
            for w in conditions
        )

    def active(self, params: Mapping[str, Any]) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if self.is_active(parameter, params))

    def validate(self, params: Mapping[str, Any]) -> None:
        """Raises SpaceError unless `params` are exactly the active parameters, each within its range."""
        for name in params:
            if not self.is_active(name, params):
                conditions = " and ".join(map(str, self[name].when))
                raise SpaceError(f"{name} must be left out unless {conditions}, but got {params[name]!r}.")
        for parameter in self.active(params):
            if not parameter.contains(_value(params, parameter.name)):
                raise SpaceError(f"{parameter.name} must be {parameter.law}, but got {params[parameter.name]!r}.")

    def to_unit(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Positions of the active parameters on their own scales; a number outside its range lies outside [0, 1]."""
        return {p.name: p.to_unit(_value(params, p.name)) for p in self.active(params)}

    def from_unit(self, unit: Mapping[str, float] | Sequence[float]) -> dict[str, Any]:
        """The params at these positions, clipped to [0, 1]; a sequence or array row is in the order of `parameters`."""
        if not isinstance(unit, Mapping):
            if len(unit) != len(self):
                raise SpaceError(f"Each of {as_texts(self.names)} needs one position, but got {len(unit)}.")
            unit = dict(zip(self.names, unit, strict=True))
        params: dict[str, Any] = {}
        for parameter in self.in_order():
            if self.is_active(parameter, params):
                params[parameter.name] = parameter.from_unit(_clipped(_value(unit, parameter.name)))
        return {name: params[name] for name in self.names if name in params}

    def to_json(self) -> list[dict[str, Any]]:
        """JSON-plain. Defaults are left out, so that a field added later changes no stored space."""
        return [_to_json(parameter) for parameter in self.parameters]

    @classmethod
    def from_json(cls, entries: Iterable[Mapping[str, Any]]) -> SearchSpace:
        return cls(tuple(map(_from_json, entries)))

    @cached_property
    def _by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def _ordered(self) -> tuple[Parameter, ...]:
        placed: dict[str, Parameter] = {}
        for parameter in self.parameters:
            self._place(parameter, placed, ())
        return tuple(placed.values())

    def _place(self, parameter: Parameter, placed: dict[str, Parameter], path: tuple[str, ...]) -> None:
        if parameter.name in path:
            circle = " → ".join([*path[path.index(parameter.name) :], parameter.name])
            raise SpaceError(f"Conditions must not form a circle, but got {circle}: remove one `when`.")
        if parameter.name not in placed:
            for when in parameter.when:
                self._place(self[when.parameter], placed, (*path, parameter.name))
            placed[parameter.name] = parameter

    def _check_condition(self, child: str, when: When) -> None:
        law = f"`when: {when}` of {child} must name"
        if when.parameter not in self:
            raise SpaceError(f"{law} a parameter of the search space; known: {as_texts(self.names)}.")
        parent = self[when.parameter]
        if isinstance(parent, Float):
            raise SpaceError(f"{law} a Categorical or an Int, but {parent.name} is a Float: it never equals a value.")
        # A whole-number range moves from stage to stage, so a condition may lie outside it for a while.
        right = [is_a(Integral, v) if isinstance(parent, Int) else parent.contains(v) for v in when.values]
        if not right or not all(right):
            raise SpaceError(f"{law} values of {parent.name}, but got {as_texts(when.values)}; it is {parent.law}.")


def hull(spaces: Iterable[SearchSpace]) -> SearchSpace:
    """The first space, each range as wide as its limits and its ranges in the others: where trials may lie."""
    first, *others = spaces
    return SearchSpace(tuple(_hull(parameter, [other[parameter.name] for other in others]) for parameter in first))


def differ_in_ranges_alone(one: SearchSpace, other: SearchSpace) -> bool:
    """Whether the parameters are the same, on the same scales, and only ranges or limits are others."""
    return [_without_range(p) for p in one] == [_without_range(p) for p in other]


def _without_range(parameter: Parameter) -> dict[str, Any]:
    return {key: value for key, value in _to_json(parameter).items() if key not in ("low", "high", "limits")}


def with_ranges_set(now: SearchSpace, before: SearchSpace, after: SearchSpace) -> SearchSpace:
    """`now` with the ranges that a person changed between `before` and `after`; those that moved meanwhile stay.

    A range that stays is cut to its new limits.
    """
    return SearchSpace(tuple(_set_range(now[p.name], before[p.name], p) for p in after))


def _set_range(now: Parameter, before: Parameter, after: Parameter) -> Parameter:
    if isinstance(now, Categorical) or isinstance(before, Categorical) or isinstance(after, Categorical):
        return after
    if (before.low, before.high) != (after.low, after.high):
        return after
    low, high = after.limits or (after.low, after.high)
    kept: dict[str, Any] = {"low": min(max(now.low, low), after.low), "high": max(min(now.high, high), after.high)}
    return replace(after, **kept)


def _hull(parameter: Parameter, others: Sequence[Parameter]) -> Parameter:
    if isinstance(parameter, Categorical):
        return parameter
    ranges = [parameter, *(other for other in others if isinstance(other, Float | Int))]
    low = min(bound for each in ranges for bound in (each.low, *(each.limits or ())))
    high = max(bound for each in ranges for bound in (each.high, *(each.limits or ())))
    if parameter.step is not None:  # on the steps of the range itself
        step = exact(parameter.step)
        low = type(parameter.low)(exact(parameter.low) - step * ((exact(parameter.low) - exact(low)) // step))
    return replace(parameter, low=low, high=high, limits=None)


def _check_name(parameter: Parameter) -> None:
    if not isinstance(parameter.name, str) or not parameter.name.strip():
        raise SpaceError(f"A parameter's name must not be empty, but got {parameter.name!r}.")


def _check_range(p: Float | Int, kind: type) -> None:
    """Makes bounds, step and limits numbers of this `kind`, and holds the laws between them."""
    _check_name(p)
    _set(p, when=tuple(p.when), low=_number(p, p.low, kind), high=_number(p, p.high, kind))
    _set(p, step=None if p.step is None else _number(p, p.step, kind))
    if p.limits is not None:
        if not isinstance(p.limits, (list, tuple)) or len(p.limits) != 2:
            raise SpaceError(f"`limits` must be two numbers, [low, high], but got {p.limits!r} for {p.name}.")
        _set(p, limits=tuple(_number(p, limit, kind) for limit in p.limits))
    least, most = p.limits or (p.low, p.high)
    for law, holds, cure in (
        ("low < high", p.low != p.high, "a fixed value belongs in the config"),
        ("low < high", p.low < p.high, "swap them"),
        ("high - low is finite", math.isfinite(p.high - p.low), "narrow it"),
        ("limits[0] <= low and high <= limits[1]", least <= p.low and p.high <= most, "widen the limits"),
        ("low > 0 and limits[0] > 0 on a log scale", not p.log or min(p.low, least) > 0, "raise it, or leave out log"),
        ("0 < step <= high - low", p.step is None or 0 < p.step <= p.high - p.low, "change it"),
        ("no step on a log scale", not p.log or p.step in (None, 1 if kind is int else None), "leave out one"),
    ):
        if not holds:
            step = f", step={p.step}" if p.step not in (None, 1) else ""
            rest = step + (f", limits={p.limits}" if p.limits else "")
            raise SpaceError(f"`{law}` must hold, but got low={p.low}, high={p.high}{rest} for {p.name}: {cure}.")


def _number(p: Float | Int, value: Any, kind: type) -> Any:
    """YAML reads 1e-5 as a string."""
    try:
        number = float(value) if isinstance(value, str) else value
        if is_a(Real, number) and math.isfinite(number) and kind(number) == number:
            return kind(number)
    except (ValueError, OverflowError):
        pass
    wanted = "whole numbers" if kind is int else "finite numbers"
    raise SpaceError(f"low, high, step and limits must be {wanted}, but got {value!r} for {p.name}.")


def _set(frozen: Any, **values: Any) -> None:
    for key, value in values.items():
        object.__setattr__(frozen, key, value)


def is_a(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def exact(number: float) -> Fraction:
    """The decimal as written: 0.1 is one tenth."""
    return Fraction(str(number))


def _position(value: float, low: float, high: float, log: bool) -> float:
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    # Two neighbouring numbers can share one logarithm.
    return (value - low) / (high - low) if high > low else 0.5


def _between(unit: float, low: float, high: float, log: bool) -> float:
    if log:
        return math.exp(_between(unit, math.log(low), math.log(high), False))
    return low * (1 - unit) + high * unit


def _cell(unit: float, count: int) -> int:
    return min(int(unit * count), count - 1)


def _clipped(unit: float) -> float:
    if math.isnan(unit):
        raise SpaceError(f"A position must be a number in [0, 1], but got {unit}.")
    return min(max(float(unit), 0.0), 1.0)


def _value(mapping: Mapping[str, Any], name: str) -> Any:
    if name not in mapping:
        raise SpaceError(f"Every active parameter needs a value, but {name} has none; given: {as_texts(mapping)}.")
    return mapping[name]


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


def _among(value: Any, values: Iterable[Any]) -> bool:
    return any(_same(value, each) for each in values)


def alike(a: Any, b: Any) -> bool:
    return _same(a, b) or as_text(a) == as_text(b)


def _is_plain(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def plain(value: Any) -> Any:
    """Lists, dicts and strings for tuples, OmegaConf's containers and Hydra's quoted strings, all the way down."""
    if type(value).__name__ == "QuotedString":
        return value.text
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def as_text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def as_texts(values: Iterable[Any]) -> str:
    return ", ".join(map(as_text, values))


def _to_json(parameter: Parameter) -> dict[str, Any]:
    given = {f.name: getattr(parameter, f.name) for f in fields(parameter) if getattr(parameter, f.name) != f.default}
    if parameter.when:
        given["when"] = [{"parameter": when.parameter, "values": when.values} for when in parameter.when]
    return {"type": type(parameter).__name__.lower(), **plain(given)}


def _from_json(entry: Mapping[str, Any]) -> Parameter:
    given = dict(entry)
    kind = KINDS.get(given.pop("type", ""))
    if kind is None or not given.keys() <= {f.name for f in fields(kind)}:
        raise SpaceError(
            f"A stored parameter must be of the kinds {as_texts(KINDS)} and their fields, but got {entry}."
        )
    return kind(**{**given, "when": tuple(When(**when) for when in given.get("when", ()))})
