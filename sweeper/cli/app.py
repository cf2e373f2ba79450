"""The command `sweeper` itself: how errors are said, and the options that every command has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import sweeper
from sweeper.errors import SweeperError
from sweeper.report.formats import Format

if TYPE_CHECKING:
    from sweeper.store.connection import Store
    from sweeper.trial import StudyRecord


class Commands(TyperGroup):
    """Says a SweeperError as one line and ends with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SweeperError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    help="Ask a study store, or change a study. Without --study: its newest one.",
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich's help would cost more than the whole rest of `--help`
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"sweeper {sweeper.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What is said before a command."""


StoreUrl = Annotated[
    str, typer.Option("--store", envvar="SWEEPER_STORE", metavar="URL", help="The study store, an SQLAlchemy URL.")
]
StudyName = Annotated[str | None, typer.Option("--study", metavar="NAME", help="The study; by default the newest.")]
In = Annotated[Format, typer.Option("--format", help="Tables for eyes; json and csv with every digit.")]
DEFAULT_STORE = "sqlite:///runs/sweeper.db"


def open_study(url: str, name: str | None) -> tuple[Store, StudyRecord]:
    from sweeper.store import reads
    from sweeper.store.connection import Store

    store = Store(url)
    return store, reads.study(store, name)
