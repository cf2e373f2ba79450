"""`sweeper doctor`: what is wrong with a store, its studies and the machine, and the repairs."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, In, StoreUrl, app
from sweeper.cli.printing import tell
from sweeper.report.formats import Format
from sweeper.words.errors import SweeperError
from sweeper.words.program import typed

if TYPE_CHECKING:
    from sweeper.check.doctor import Finding, Repair


@app.command()
def doctor(
    store: StoreUrl = DEFAULT_STORE,
    study: Annotated[str | None, typer.Option("--study", metavar="NAME", help="One study alone; else all.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Show the repairs, ask, then do them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every checkpoint and every index: this may take long.")
    ] = False,
    format: In = Format.TABLE,
) -> None:
    """What is wrong, and how to mend it.

    Looks over store, studies, checkpoints, disk and machine; exit code 1 where something is wrong.
    """
    from sweeper.check.doctor import Verdict, examine

    found = examine(store, study, deep=deep)
    if not fix:
        _show(found, format, store, study)
    elif repairs := [repair for finding in found for repair in finding.repairs]:
        _repair(repairs, yes)
        found = examine(store, study, deep=deep)
        _show(found, format, store, study)
    else:
        _show(found, format, store, study)
        print("Nothing that is wrong can be repaired from here.", file=sys.stderr)
    if any(finding.verdict is Verdict.FAILS for finding in found):
        raise typer.Exit(1)


def _show(found: list[Finding], format: Format, store: str, study: str | None) -> None:
    from sweeper.check.doctor import COLUMNS, row
    from sweeper.report.terminal import checkup

    rows = [row(finding) for finding in found]
    words = [*(["--study", study] if study else []), *([] if store == DEFAULT_STORE else ["--store", store])]
    cure = shlex.join(["sweeper", "doctor", "--fix", *words])
    tell(format, rows, COLUMNS, lambda page: page.print(checkup.draw(rows, cure), crop=False))


def _repair(repairs: list[Repair], yes: bool) -> None:
    """On stderr, so that the answer on stdout stays what it is."""
    for repair in repairs:
        print("\n  ".join([typed(repair.text), *repair.names]), file=sys.stderr)
    if not yes and not typer.confirm(f"Do {'this' if len(repairs) == 1 else f'these {len(repairs)}'}?", err=True):
        print("Nothing was changed.", file=sys.stderr)
        raise typer.Exit(1)
    for repair in repairs:
        try:
            print(typed(repair.do()), file=sys.stderr)
        except (SweeperError, OSError) as error:
            print(f"not done: {repair.text}: {error}", file=sys.stderr)
