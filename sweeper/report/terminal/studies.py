"""`sweeper studies`: the studies of a store as cells, the newest first; times are UTC."""

from __future__ import annotations

from sweeper.analysis.studies import Row
from sweeper.words.numbers import MISSING, number, plain


def cells(row: Row) -> dict[str, str]:
    best = MISSING if row["best_number"] is None else f"trial {row['best_number']}"
    return {
        "study": plain(row["study"]),
        "state": row["state"],
        "trials": f"{row['done']}/{row['budget']}",
        "metric": plain(row["metric"]),
        "best": number(row["best"], pad=True),
        "of": best,
        "created (UTC)": row["created"][:19].replace("T", " "),
    }
