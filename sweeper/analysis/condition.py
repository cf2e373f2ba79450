"""`--where`: a condition on columns, of trials mostly, in a small part of Python's grammar; read, and never run.

    params.lr < 1e-3 and optimizer in ("adam", "nadam")
    1e-4 <= lr <= 1e-2 and not failure == "timeout"
    val_loss - train_loss > 0.1 or finished > "2026-11-01"

A name is a column, or the ending of one that tells it from the others; between backquotes it may hold anything. A
missing value equals None alone, and is neither less nor more than anything.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sweeper.analysis.columns import TIMES
from sweeper.words.errors import ConfigError

LONGEST = 2_000
GRAMMAR = "names, numbers, 'text', < <= == != >= > in, and or not, + - * /"
ALIASES = {"trial": "number", "epochs": "epochs_done"}
"""What a table's heading says, and the column that it is."""
WORDS = {"true": True, "false": False, "null": None, "none": None}

Columns = Mapping[str, Sequence[Any]]
Of = Callable[[int], Any]
"""What a part of the condition is for the trial of that row."""

_QUOTED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`([^`]+)`""")
_ORDERS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge
}  # fmt: skip
_SAME: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.Is: operator.eq, ast.NotEq: operator.ne, ast.IsNot: operator.ne
}  # fmt: skip
_SUMS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv
}  # fmt: skip
_KINDS: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "text"}
NOTHING, MIXED, TIME = "nothing", "of several kinds", "a time"


def rows_where(text: str, columns: Columns) -> list[int]:
    """The rows for which the condition holds, and the law where it is none: ConfigError."""
    return _Reader(text, columns).rows()


def names_in(text: str, columns: Columns) -> list[str]:
    """The columns that a condition names, in order."""
    reader = _Reader(text, columns)
    return list(dict.fromkeys(reader.named))


def column(name: str, columns: Iterable[str]) -> str:
    """The column that a person means by `name`; raises ConfigError with those that there are.

    >>> column("lr", ["number", "params.optimizer.lr"]), column("trial", ["number", "params.optimizer.lr"])
    ('params.optimizer.lr', 'number')
    """
    known = list(columns)
    for exact in (name, ALIASES.get(name), f"params.{name}", f"metrics.{name}"):
        if exact in known:
            return str(exact)
    endings = [each for each in known if each.startswith("params.") and each.endswith(f".{name}")]
    if len(endings) == 1:
        return endings[0]
    if endings:
        raise ConfigError(
            f"A name must be that of one column, but {name} is of {', '.join(endings)}: write it in full."
        )
    raise ConfigError(
        f"A name must be that of a column, but {name} is of none (text stands in quotes: '{name}'); there are: "
        f"{', '.join(known)}."
    )


@dataclass(frozen=True, slots=True)
class _Term:
    """`kind`: what its values are, in words."""

    of: Of
    kind: str
    text: str
    literal: bool = False


class _Reader:
    """Turns the tree of a condition into functions of a row; what is not in `GRAMMAR` is refused."""

    def __init__(self, text: str, columns: Columns) -> None:
        self._text, self._columns = text, columns
        self._quoted: list[str] = []
        self.named: list[str] = []
        if len(text) > LONGEST:
            raise ConfigError(f"A condition has {LONGEST} letters at most, but got {len(text)}.")
        try:
            tree = ast.parse(_QUOTED.sub(self._unquoted, text).strip(), mode="eval")
            self._holds = self._truth(tree.body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, ConfigError):
                raise
            raise self._unreadable(f"cannot be read: {_hint(text)}") from None

    def rows(self) -> list[int]:
        holds = self._holds
        return [row for row in range(len(next(iter(self._columns.values())))) if holds(row)]

    def _unquoted(self, match: re.Match[str]) -> str:
        if match[2] is None:
            return match[1]
        self._quoted.append(match[2])
        return f"__column_{len(self._quoted) - 1}__"

    def _unreadable(self, why: str) -> ConfigError:
        there = ", ".join(self._columns)
        return ConfigError(f"A condition is written with {GRAMMAR}, but `{self._text}` {why}. Columns: {there}.")

    def _refusal(self, law: str, what: str, cure: str) -> ConfigError:
        return ConfigError(f"{law}, but in `{self._text}` {what}: {cure}.")

    # ---- what is true or not ----

    def _truth(self, node: ast.expr) -> Of:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                every = [self._truth(value) for value in values]
                return lambda row: all(part(row) for part in every)
            case ast.BoolOp(values=values):
                some = [self._truth(value) for value in values]
                return lambda row: any(part(row) for part in some)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                part = self._truth(operand)
                return lambda row: not part(row)
            case ast.Compare(left=left, ops=ops, comparators=rest):
                terms = [left, *rest]
                links = [self._link(a, op, b) for a, op, b in zip(terms, ops, rest, strict=False)]
                return lambda row: all(link(row) for link in links)
        term = self._term(node)
        if term.kind not in (_KINDS[bool], NOTHING):
            raise self._refusal(
                "What holds or not is a comparison", f"{term.text} is {term.kind}", "compare it with something"
            )
        return lambda row: term.of(row) is True

    def _link(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Of:
        one = self._term(left)
        if isinstance(op, ast.In | ast.NotIn):
            among = self._among(one, right)
            return among if isinstance(op, ast.In) else lambda row: not among(row)
        one, other = self._alike(one, self._term(right))
        if isinstance(op, ast.Is | ast.IsNot) and not (other.literal and other.kind == NOTHING):
            raise self._refusal("`is` stands before None alone", f"it stands before {other.text}", "write ==")
        a, b = one.of, other.of
        if same := _SAME.get(type(op)):
            return lambda row: same(a(row), b(row))
        return _of_both(_ORDERS[type(op)], a, b, missing=False)

    def _among(self, one: _Term, right: ast.expr) -> Of:
        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            pairs = [self._alike(one, self._term(each)) for each in right.elts]
            return lambda row: any(a.of(row) == b.of(row) for a, b in pairs)
        inside = self._term(right)
        for term in (one, inside):
            if term.kind not in (_KINDS[str], NOTHING):
                what = f"{term.text} is {term.kind}"
                raise self._refusal("`in` is of a text in a text, or of a value in a list", what, "write (1, 2)")
        return _of_both(lambda part, whole: part in whole, one.of, inside.of, missing=False)

    def _alike(self, one: _Term, other: _Term) -> tuple[_Term, _Term]:
        """Two terms that can be compared; a text beside a time is read as one."""
        kinds = {one.kind, other.kind}
        if kinds == {TIME, _KINDS[str]}:
            return self._as_time(one), self._as_time(other)
        if len(kinds - {NOTHING}) > 1 and MIXED not in kinds:
            what = f"{one.text} is {one.kind} and {other.text} is {other.kind}"
            raise self._refusal("Only what is of one kind can be compared", what, "compare like with like")
        return one, other

    def _as_time(self, term: _Term) -> _Term:
        if term.kind == TIME or not term.literal:
            return term
        try:
            moment = datetime.fromisoformat(term.of(0))
        except ValueError:
            cure = "write '2026-11-30', '2026-11-30T18:00' or '2026-11-30T18:00Z'"
            raise self._refusal(
                "A time is written as in ISO 8601, of this machine's zone unless it says another",
                f"it is {term.text}",
                cure,
            ) from None
        seconds = moment.timestamp()
        return _Term(lambda row: seconds, TIME, term.text, True)

    # ---- what has a value ----

    def _term(self, node: ast.expr) -> _Term:
        match node:
            case ast.Constant(value=value) if value is None or type(value) in _KINDS:
                return _literal(value)
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                term, sign = self._number(operand), _literal(-1 if isinstance(op, ast.USub) else 1)
                return _Term(_of_both(operator.mul, sign.of, term.of), term.kind, term.text)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _SUMS:
                one, other = self._number(left), self._number(right)
                return _Term(_of_both(_SUMS[type(op)], one.of, other.of), _KINDS[int], ast.unparse(node))
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                parts = [self._term(each) for each in elements]
                return _Term(lambda row: [part.of(row) for part in parts], MIXED, ast.unparse(node))
        raise self._unreadable(f"holds `{self._words(ast.unparse(node))}`")

    def _number(self, node: ast.expr) -> _Term:
        term = self._term(node)
        if term.kind not in (_KINDS[int], NOTHING, TIME, MIXED):
            raise self._refusal("Only numbers are reckoned with", f"{term.text} is {term.kind}", "leave it out")
        return term

    def _named(self, node: ast.expr) -> _Term:
        name = self._words(ast.unparse(node))
        if name.lower() in WORDS and name not in self._columns:
            return _literal(WORDS[name.lower()])
        found = column(name, self._columns)
        self.named.append(found)
        values = self._columns[found]
        return _Term(values.__getitem__, TIME if found in TIMES else _kind(values), found)

    def _words(self, text: str) -> str:
        return re.sub(r"__column_(\d+)__", lambda match: self._quoted[int(match[1])], text)


def _literal(value: Any) -> _Term:
    return _Term(lambda row: value, _KINDS.get(type(value), NOTHING), repr(value), True)


def _kind(values: Iterable[Any]) -> str:
    kinds = {_KINDS.get(each, MIXED) for each in set(map(type, values)) - {type(None)}}
    return NOTHING if not kinds else kinds.pop() if len(kinds) == 1 else MIXED


def _of_both(reckon: Callable[[Any, Any], Any], a: Of, b: Of, missing: Any = None) -> Of:
    """`missing` where one of the two is, where they do not go together, and where it is divided by 0."""

    def value(row: int) -> Any:
        one, other = a(row), b(row)
        try:
            return missing if one is None or other is None else reckon(one, other)
        except (TypeError, ArithmeticError):
            return missing

    return value


def _hint(text: str) -> str:
    if re.search(r"(?<![<>=!])=(?!=)", text):
        return "`==` compares"
    if "&" in text or "|" in text:
        return "write `and`, `or`"
    return "a name that is no Python name stands between backquotes, text in quotes"
