"""Draw docs/terminal.svg: the live view of a real sweep over digits, taken while two trials run.

python docs/terminal.py
"""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from sweeper.analysis.lookout import Lookout
from sweeper.analysis.progress import Progress, snapshot
from sweeper.report.terminal.live import screen
from sweeper.store import reads
from sweeper.store.connection import Store

ROOT = Path(__file__).parent.parent
WIDTH, HEIGHT = 106, 30
LEAST_ENDED, LEAST_EPOCHS = 25, 6
COMMAND = ["python", "experiments/digits.py", "--multirun", "epochs=60", "optimizer.lr=tag(log, interval(1e-5, 5e-4))"]
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
"""What a page on GitHub may use: an image there loads no fonts."""
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: FONTS; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-family: FONTS; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONTS", FONTS)  # noqa: E501


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/sweeper.db"
        command = [sys.executable, *COMMAND[1:], f"store={store}", f"hydra.sweeper.folder={folder}"]
        sweep = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            picture = draw(awaited(store, sweep))
        finally:
            sweep.terminate()
            sweep.wait()
    (ROOT / "docs" / "terminal.svg").write_text(picture, encoding="utf-8")


def awaited(url: str, sweep: subprocess.Popen[bytes]) -> Progress:
    """The progress at a moment that shows much: two trials well on their way, some complete, a border that is told."""
    while not Path(url.removeprefix("sqlite:///")).exists():
        time.sleep(0.2)
    store = Store(url)
    lookout = Lookout(store)
    while sweep.poll() is None:
        time.sleep(0.2)
        if not (names := reads.study_names(store)):
            continue
        study = reads.study(store, names[0])
        progress = lookout.look(study, snapshot(store, study))
        running = [each.epochs_done for each in progress.running]
        told = any(each.crowds for each in progress.borders) and progress.best is not None
        on_the_way = len(running) == 2 and min(running) >= LEAST_EPOCHS and max(running) >= 3 * LEAST_EPOCHS
        if progress.ended >= LEAST_ENDED and on_the_way and told:
            return progress
    raise SystemExit("The sweep ended before it looked like a picture.")


def draw(progress: Progress) -> str:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False, markup=False, emoji=False)
    console.print(screen(progress, WIDTH, HEIGHT))
    return console.export_svg(title=shlex.join(COMMAND), theme=MONOKAI, code_format=FORMAT, unique_id="sweeper")


if __name__ == "__main__":
    main()
