"""The flat columns of trials and epochs that pandas, CSV and JSON share: `params.<name>`, `metrics.<name>`.

Columns and not rows, because a hundred thousand trials are read in one piece: two JSON texts for all of them.
Times are seconds since 1970 (UTC) in here; `rows` writes them as ISO 8601.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweeper.store.columns import epoch_table, trial_table
from sweeper.store.connection import Store
from sweeper.words.numbers import iso
from sweeper.words.records import StudyRecord, TrialState

Columns = dict[str, list[Any]]

HEAD = ("number", "state", "failure", "stage", "value", "epochs_done", "target_epochs", "seconds")
TAIL = ("seed", "attempt", "host", "device", "created", "started", "finished", "message", "repeats")
EPOCH = ("number", "epoch", "value", "seconds", "reported")
TIMES = frozenset({"created", "started", "finished", "reported", "beat", "ended"})


def trial_columns(
    store: Store,
    study: StudyRecord,
    *,
    numbers: Sequence[int] | None = None,
    states: Sequence[TrialState] = (),
    last: int | None = None,
) -> Columns:
    """The study's trials by number. `numbers`: those alone, in that order; `last`: at most so many, the newest."""
    table = trial_table(store, study.id, [*HEAD, *TAIL], numbers=numbers, states=states, last=last)
    *plain, params, metrics = _transposed(table, len(HEAD) + len(TAIL) + 2)
    known = dict(zip((*HEAD, *TAIL), plain, strict=True))
    return {
        **{name: known[name] for name in HEAD},
        **_spread("params", _decoded(params), [parameter["name"] for parameter in study.space]),
        **_spread("metrics", _decoded(metrics), [study.metric]),
        **{name: known[name] for name in TAIL},
    }


def epoch_columns(store: Store, study: StudyRecord, number: int | None = None) -> Columns:
    """Every reported epoch by trial and epoch, or one trial's."""
    *plain, metrics = _transposed(epoch_table(store, study.id, EPOCH, number), len(EPOCH) + 1)
    return {**dict(zip(EPOCH, plain, strict=True)), **_spread("metrics", _decoded(metrics), [study.metric])}


def rows(columns: Columns) -> list[dict[str, Any]]:
    """The same as a list of rows, with full precision and times as text."""
    named = [list(map(iso, values)) if name in TIMES else values for name, values in columns.items()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*named, strict=True)]


def _transposed(table: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*table, strict=True)] if table else [[] for _ in range(width)]


def _decoded(texts: Iterable[str | None]) -> list[Mapping[str, Any]]:
    """Many JSON texts in one call: ten times as fast as one by one."""
    return [value or {} for value in json.loads("[" + ",".join(text or "null" for text in texts) + "]")]


def _spread(prefix: str, mappings: Sequence[Mapping[str, Any]], first: Sequence[str]) -> Columns:
    names = dict.fromkeys(itertools.chain(first, itertools.chain.from_iterable(mappings)))
    return {f"{prefix}.{name}": [mapping.get(name) for mapping in mappings] for name in names}
