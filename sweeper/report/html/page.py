"""`sweeper report`: one or several studies as one HTML page that needs nothing else, neither a network nor a server.

Plotly's JavaScript, style, numbers and figures are all in the file. Whatever people or their programs wrote stands in
it escaped: as HTML, as a figure's text, or as JSON whose `<` are written `\\u003c`.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from sweeper.analysis import digest
from sweeper.analysis.digest import Digest
from sweeper.report.html import chapters, plots
from sweeper.report.html.chapters import Parts, text
from sweeper.store import reads
from sweeper.store.address import address
from sweeper.store.connection import Store
from sweeper.store.newfile import whole
from sweeper.words.errors import ConfigError, StoreError
from sweeper.words.numbers import duration, number
from sweeper.words.records import StudyRecord

NAME = "report.html"
DIGITS = 6
"""Significant ones of a number in the page; the store has them all."""


def default_file(studies: Sequence[StudyRecord]) -> Path:
    """Beside the study's trials; of several studies beside the first one's folder."""
    folder = Path(studies[0].folder)
    return (folder if len(studies) == 1 else folder.parent) / NAME


def write(store: Store, studies: Sequence[StudyRecord], file: Path) -> int:
    """Write the page and return its size in bytes; who reads the file sees the old page or the new one.

    Raises ConfigError where plotly is missing, or the file cannot be written.
    """
    scripts = f"<script>{plotly()}</script>"
    with whole(file, "report", " Another place: -o FILE.") as building:
        file.parent.mkdir(parents=True, exist_ok=True)
        building.write_bytes(page(store, studies, scripts).encode("utf-8", errors="replace"))
    return file.stat().st_size


def has_plotly() -> bool:
    return importlib.util.find_spec("plotly") is not None


def plotly() -> str:
    """Plotly's JavaScript, from its Python package."""
    try:
        found = resources.files("plotly") / "package_data" / "plotly.min.js"
        return found.read_text(encoding="utf-8")
    except (ImportError, FileNotFoundError):
        raise ConfigError("A report needs plotly, which is not installed: pip install 'sweeper-hpo[report]'.") from None


def page(store: Store, studies: Sequence[StudyRecord], scripts: str) -> str:
    """The whole page; `scripts` are the elements that bring Plotly."""
    made = Parts()
    digests = [digest.collect(store, study) for study in studies]
    body = [chapters.study(made, store, each, index, len(digests)) for index, each in enumerate(digests)]
    head = _together(made, digests) if len(digests) > 1 else ""
    title = " · ".join(study.name for study in studies)
    data = as_script({"figures": made.figures, "tables": made.tables})
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)} – sweeper</title>
<link rel="icon" href="data:,">
<style>
{_asset("page.css")}</style>
</head>
<body>
{head}
{"".join(body)}
<footer>Written by sweeper on {moment} UTC from {text(address(store))}. Numbers have {DIGITS} significant digits here;
<code>sweeper export trials.csv</code> has them all.</footer>
<noscript><p>The plots and the table of trials need JavaScript.</p></noscript>
{scripts}
<script type="application/json" id="data">{data}</script>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""


def as_script(value: Any) -> str:
    """JSON that may stand inside a <script>: no `<` can end it, or begin a comment. What is no number is null.

    >>> as_script({"a</script>": [float("nan"), 1 / 3]})
    '{"a\\\\u003c/script>":[null,0.333333]}'
    """
    written = json.dumps(_rounded(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _asset(name: str) -> str:
    return (resources.files("sweeper.report.html") / name).read_text(encoding="utf-8")


# ---- several studies -------------------------------------------------------------------------------------------------


def _together(made: Parts, digests: Sequence[Digest]) -> str:
    metrics = {digest.study.metric for digest in digests}
    rows = "".join(
        f'<tr><td><a href="#s{index}">{text(each.study.name)}</a></td>'
        + "".join(f"<td>{text(cell)}</td>" for cell in _beside(each))
        + "</tr>"
        for index, each in enumerate(digests)
    )
    heads = "".join(f"<th>{name}</th>" for name in ("study", "search", "metric", "best", "trial", "done", "training"))
    same = len(metrics) == 1 and any(each.spent for each in digests)
    figure = made.figure("together", plots.together(digests), "The best so far over what was spent.") if same else ""
    return (
        f"<header><h1>{len(digests)} studies</h1>"
        f'<div class="wide"><table class="plain"><tr>{heads}</tr>{rows}</table></div>{figure}</header>'
    )


def _beside(found: Digest) -> list[str]:
    best = found.progress.best
    return [
        found.progress.search,
        found.study.metric,
        number(best.value if best else None, pad=True),
        str(best.number) if best else "-",
        f"{found.progress.amount} {found.progress.unit}",
        duration(sum(filter(None, found.columns["seconds"]))),
    ]


def checked(store: Store, names: Sequence[str]) -> list[StudyRecord]:
    """The studies of these names, each once; without names the newest. Raises StoreError."""
    if len(set(names)) < len(names):
        raise StoreError(f"A report shows each study once, but got {', '.join(names)}.")
    return [reads.study(store, name) for name in names] if names else [reads.study(store)]
