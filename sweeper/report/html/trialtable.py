"""The table of trials on the page: rows of plain cells, which the page's script sorts and filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sweeper.analysis.digest import Digest, sample
from sweeper.report.terminal.tables import is_detail, short_names
from sweeper.words.numbers import line, plain

MOST_ROWS = 5_000
MOST_METRICS = 6


@dataclass(frozen=True, slots=True)
class TrialTable:
    """`names` in full, by which is filtered, `labels` on the head; `words`: the columns that are no numbers."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    words: tuple[int, ...]
    best: int | None


def collect(digest: Digest, most: int = MOST_ROWS) -> TrialTable:
    """By number; where there are more than `most` the best, and the others evenly."""
    columns, study = digest.columns, digest.study
    reported = [name for name in columns if name.startswith("metrics.") and not is_detail(name)]
    metrics = [name for name in reported if name != f"metrics.{study.metric}"]
    params = [f"params.{parameter.name}" for parameter in digest.parameters]
    bare = [name.partition(".")[2] for name in params]
    own = ["trial", "state", study.metric, *(name.partition(".")[2] for name in metrics[:MOST_METRICS])]
    labels = [*own, *short_names(bare, own), "epochs", "seconds", "message"]
    names = [*own, *bare, "epochs", "seconds", "message"]
    cells = [columns[name] for name in (*metrics[:MOST_METRICS], *params, "epochs_done", "seconds")]
    told = [
        (
            columns["number"][i],
            _state(digest, i),
            columns["value"][i],
            *(_cell(column[i]) for column in cells),
            line(columns["message"][i], 120) if columns["message"][i] else None,
        )
        for i in sorted(_chosen(digest, most))
    ]
    words = [index for index in range(len(names)) if any(isinstance(row[index], str) for row in told)]
    best = digest.complete[:1] or digest.ranked[:1]
    return TrialTable(
        tuple(names), tuple(labels), tuple(told), tuple(words), columns["number"][best[0]] if best else None
    )


def _chosen(digest: Digest, most: int) -> list[int]:
    ranked = digest.ranked
    return sample([*ranked, *sorted(set(range(len(digest.columns["number"]))) - set(ranked))], most)


def _state(digest: Digest, row: int) -> str:
    columns = digest.columns
    again = columns["repeats"][row]
    marks = [
        columns["state"][row],
        columns["failure"][row],
        f"repeats {again}" if again is not None else None,
        "hidden" if columns["number"][row] in digest.hidden else None,
    ]
    return " ".join(str(mark) for mark in marks if mark)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isinstance(value, int | float) else plain(str(value))
