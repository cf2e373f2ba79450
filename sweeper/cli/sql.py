"""`sweeper sql`: a person's own question, by a connection that cannot write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.app import DEFAULT_STORE, In, StoreUrl, app
from sweeper.cli.printing import listing, tell
from sweeper.report.formats import Format

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 60
"""Letters of a text that a table shows."""


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(metavar="['select …']", help="Without it: the views to ask.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    format: In = Format.TABLE,
) -> None:
    """Ask in SQL; nothing can be changed.

    The views v_trials, v_epochs and v_best are a contract, the tables are not. A parameter on SQLite:
    params->>'$."optimizer.lr"', on PostgreSQL: params->>'optimizer.lr'.
    """
    from sweeper.store import query as queries
    from sweeper.store.connection import Store

    opened = Store(store)
    if query is not None:
        columns, rows = queries.select(opened, query)
        return listing(rows, columns, format, _cells, "The query gives no row.")
    views = queries.views(opened)

    def draw(page: Console) -> None:
        from rich.padding import Padding

        for row in views:
            page.print(row["view"], Padding(row["columns"], (0, 0, 0, 2), expand=False), sep="\n")

    tell(format, views, ("view", "columns"), draw)


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    from sweeper.analysis.columns import TIMES
    from sweeper.words.numbers import iso, line, number

    def cell(name: str, value: Any) -> str:
        if name in TIMES and isinstance(value, int | float):
            return str(iso(value))[:19].replace("T", " ")
        if isinstance(value, dict):
            value = "  ".join(f"{key}={number(each)}" for key, each in value.items())
        return line(value, WIDEST) if isinstance(value, str) else number(value, pad=True)

    return {name: cell(name, value) for name, value in row.items()}
