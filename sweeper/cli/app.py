"""The command `sweeper` itself: how errors are said, and the options that every command has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from sweeper.report.formats import Format, refuse_parquet
from sweeper.words import program
from sweeper.words.errors import ConfigError, SweeperError
from sweeper.words.version import __version__

if TYPE_CHECKING:
    from sweeper.store.connection import Store
    from sweeper.words.records import StudyRecord


class Commands(TyperGroup):
    """Says a SweeperError as one line and ends with exit code 1."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Usage and hints say the program as it can be typed here; a shell completes it by its plain name."""
        completes = {"--install-completion", "--show-completion"} & set(args)
        return super().make_context(info_name if completes else program.sweeper(), args, parent, **extra)

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
        print(f"sweeper {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What is said before a command."""


DEFAULT_STORE = "sqlite:///runs/sweeper.db"


def _writable(format: Format) -> Format:
    """Parquet only where it can be written, and never to a terminal; said before the work."""
    if format is Format.PARQUET:
        refuse_parquet()
        if sys.stdout.isatty():
            raise ConfigError("Parquet is no text, and stdout is a terminal: write it to a file with > FILE.parquet")
    return format


def _study_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """For the shell's completion; what goes wrong there must not be printed into a half-typed line."""
    from sweeper.store import reads
    from sweeper.store.connection import Store

    try:
        names = reads.study_names(Store(ctx.params.get("store") or DEFAULT_STORE))
    except SweeperError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def trial_numbers(ctx: typer.Context, incomplete: str) -> list[str]:
    try:
        _, study = open_study(ctx.params.get("store") or DEFAULT_STORE, ctx.params.get("study"))
    except SweeperError:
        return []
    return [str(number) for number in range(study.next_number) if str(number).startswith(incomplete)]


StoreUrl = Annotated[
    str, typer.Option("--store", envvar="SWEEPER_STORE", metavar="URL", help="The study store, an SQLAlchemy URL.")
]
StudyName = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="The study; by default the newest.", autocompletion=_study_names),
]
In = Annotated[
    Format,
    typer.Option("--format", callback=_writable, help="Tables for eyes; json, csv and parquet with every digit."),
]
Number = Annotated[int, typer.Argument(help="The trial's number.", autocompletion=trial_numbers)]


def open_study(url: str, name: str | None) -> tuple[Store, StudyRecord]:
    from sweeper.store import reads
    from sweeper.store.connection import Store

    store = Store(url)
    return store, reads.study(store, name)
