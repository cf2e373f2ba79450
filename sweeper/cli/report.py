"""`sweeper report`: a study to look at, as a page and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweeper.cli.app import DEFAULT_STORE, StoreUrl, app


@app.command()
def report(
    names: Annotated[list[str] | None, typer.Argument(metavar="[STUDY]...", help="By default the newest.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    study: Annotated[
        list[str] | None, typer.Option("--study", metavar="NAME", help="The same; may be given several times.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default report.html beside the trials.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option("--plots", metavar="DIR", help="Also the main plots as PNG and SVG files.")
    ] = None,
) -> None:
    """Write one HTML page.

    The answer in sentences, every plot, the table of trials, the config; it opens anywhere and needs no network.
    """
    from sweeper.report.html import page
    from sweeper.store.connection import Store
    from sweeper.words.numbers import place, size

    opened = Store(store)
    records = page.checked(opened, [*(names or ()), *(study or ())])
    file = output or page.default_file(records)
    print(f"{place(file)} ({size(page.write(opened, records, file))})")
    if pictures is not None:
        from sweeper.report import pictures as stills

        for record in records:
            for made in stills.write(opened, record, pictures if len(records) == 1 else pictures / record.name):
                print(place(made))
