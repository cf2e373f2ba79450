"""`sweeper ensemble` for eyes: who takes part with what weight, what the whole is worth, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.report.terminal import tables
from sweeper.words.numbers import number, place, plain

if TYPE_CHECKING:
    from sweeper.retraining.ensemble import Built, Member


def columns(built: Built) -> list[str]:
    return list(built.single.as_row())


def draw(built: Built, width: int) -> RenderableType:
    """The table of the members, the best single model and the ensemble; then sentences."""
    cells = [_cells(member, built) for member in built.members]
    if built.single not in built.members:
        cells.append(_cells(built.single, built))
    cells.append(_whole(built))
    *told, ending = sentences(built)
    copied = Text(ending, no_wrap=True, overflow="ignore")  # to be copied whole
    return Group(tables.fitted(cells, width), Text(), *map(Text, told), copied)


def _cells(member: Member, built: Built) -> dict[str, str]:
    single = "best single model" if member == built.single else ""
    return {
        "trial": str(member.trial),
        "what": member.kind,
        "epoch": " ".join(map(str, member.epochs)),
        "seed": str(member.seed),
        "weight": f"{member.weight:.2f}",
        **_scores(member.scores, built.single_test if single else None, built),
        "": single,
    }


def _whole(built: Built) -> dict[str, str]:
    empty = dict.fromkeys(("trial", "what", "epoch", "seed"), "")
    return {**empty, "weight": "1.00", **_scores(built.val, built.test, built), "": "ensemble"}


def _scores(val: Mapping[str, float], test: Mapping[str, float] | None, built: Built) -> dict[str, str]:
    tested = {name: number((test or {}).get(name), pad=True) if test else "" for name in built.test or {}}
    return {**{name: number(value, pad=True) for name, value in val.items()}, **tested}


def sentences(built: Built) -> list[str]:
    """What the numbers say, and where the ensemble is."""
    return [*_gain(built), *_test(built), *_left_out(built.left_out), *_ending(built)]


def _gain(built: Built) -> Iterator[str]:
    loss = next(iter(built.val))
    who = f"the best of {built.candidates} candidates, trial {built.single.trial}"
    if len(built.members) == 1:
        yield f"No average is better on the {built.examples} validation examples than one model alone."
        return
    yield (
        f"{loss} is {number(built.gain, pad=True)} ± {number(built.error)} lower than that of {who}, on the "
        f"{built.examples} validation examples that have chosen both."
    )
    if built.gain_elsewhere is not None:
        verb = "gains" if built.gain_elsewhere > 0 else "loses"
        yield (
            f"On examples that took no part in the choice it {verb} {number(abs(built.gain_elsewhere), pad=True)}, "
            "by the bootstrap."
        )


def _test(built: Built) -> Iterator[str]:
    if built.test is not None:
        told = ", ".join(f"{name} {number(value, pad=True)}" for name, value in built.test.items())
        alone = ", ".join(number(value, pad=True) for value in (built.single_test or {}).values())
        yield f"The test set, looked at now: {told}; the best single model: {alone}. The study remembers this look."
    if built.warning is not None:
        yield plain(built.warning)


def _left_out(left_out: Sequence[str]) -> Iterator[str]:
    if left_out:
        yield f"Left out: {plain('; '.join(left_out))}."


def _ending(built: Built) -> Iterator[str]:
    yield f"{place(built.folder)}: sweeper.load_ensemble({place(built.folder)!r})(x) gives averaged {built.averages}."
