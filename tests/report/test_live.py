from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sweeper.analysis.progress import PausedDevice, Progress, RangeStand, RunningTrial, StageStand, WorkerStand
from sweeper.report.terminal.live import LiveView, curve, screen, view_for
from sweeper.report.terminal.plain import SILENCE_SECONDS, PlainView
from sweeper.search.verdict import BorderKind, Verdict
from sweeper.words.records import Direction, Failure, StudyState, TrialRecord, TrialState

PARAMS = {"optimizer.lr": 0.00123456, "optimizer.weight_decay": 1.23456e-6, "model.activation": "relu"}
METRICS = {"train_loss": 0.1, "val_loss": 0.123456, "val_accuracy": 0.98765, "val_top_5_accuracy": 0.99912}


def finished(number: int, **more) -> TrialRecord:
    given = {"value": 0.123456, "epochs_done": 20, "target_epochs": 20, "metrics": METRICS, "seconds": 1.234}
    return TrialRecord(1, number, TrialState.COMPLETE, 7, params=PARAMS, **{**given, **more})


FAILED = replace(
    finished(5), state=TrialState.FAIL, failure=Failure.DIVERGED, message="Diverged: val_loss is nan\nmore", value=None
)
RUNNING = RunningTrial(7, 5, 20, 0.2, METRICS, PARAMS, 3.4, "host", "cpu")


def progress(done: int = 7, **more) -> Progress:
    latest = tuple(finished(number) for number in range(done - 1, max(-1, done - 9), -1))
    given = {
        "state": StudyState.OPEN,
        "message": None,
        "counts": {TrialState.COMPLETE: done},
        "failures": {},
        "running": (RUNNING,),
        "latest": latest,
        "best": finished(3, value=0.1),
        "seconds_left": 43.0,
        "unit": "trials",
        "ended": done,
        "complete": False,
    }
    return Progress("digits", "random", "val_loss", Direction.MINIMIZE, done=done, budget=40, **{**given, **more})


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def view(stream: io.StringIO, clock: Clock) -> PlainView:
    return PlainView(stream, clock)


def drawn(shown: Progress, width: int, height: int = 24) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(screen(shown, width, height))
    return stream.getvalue().splitlines()


# ---- on a terminal ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_screen_fits(width: int) -> None:
    many = tuple(replace(RUNNING, number=number) for number in range(8, 40))
    shown = progress(running=many, latest=(FAILED, finished(4)), failures={Failure.DIVERGED: 1}, message="x" * 300)
    lines = drawn(shown, width)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width


def test_the_screen_says_it_all() -> None:
    text = "\n".join(drawn(progress(latest=(FAILED, finished(4)), failures={Failure.DIVERGED: 1}), 160))
    for word in ("digits", "random search", "minimise val_loss", "5/20", "0.200", "0.988", "FAIL diverged"):
        assert word in text
    for word in ("trial 3", "7/40 trials", "about 40 s left", "1 diverged", "val_loss is nan", "weight_decay=1.23e-6"):
        assert word in text
    assert "train_loss" not in text


def test_finished_trials_are_shown_however_many_run() -> None:
    many = tuple(replace(RUNNING, number=number) for number in range(8, 40))
    assert sum("COMPLETE" in line for line in drawn(progress(running=many), 80)) == 3


def test_a_study_without_trials_has_a_screen() -> None:
    empty = progress(0, running=(), best=None, seconds_left=None, counts={})
    assert "no trial yet" in "\n".join(drawn(empty, 80))


def test_markup_in_a_message_is_text() -> None:
    failed = replace(FAILED, message="ValueError: [red]x[/nothing]")
    assert "[red]x[/nothing]" in "\n".join(drawn(progress(latest=(failed,), failures={Failure.ERROR: 1}), 160))


def test_a_terminal_gets_a_live_table(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    assert isinstance(view_for(stream), PlainView)
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    assert isinstance(view_for(stream), LiveView)
    assert isinstance(view_for(stream, plain=True), PlainView)
    monkeypatch.setenv("CI", "true")
    assert isinstance(view_for(stream), PlainView)


# ---- curves ----------------------------------------------------------------------------------------------------------

CURVE = {epoch: 1.0 / epoch for epoch in range(1, 6)}


def test_a_trial_has_its_curve_beside_its_metric_as_wide_as_there_is_room() -> None:
    curved = progress(running=(replace(RUNNING, curve=CURVE), replace(RUNNING, number=8, curve={1: 0.3})))
    for width in (80, 160):
        lines = drawn(curved, width)
        assert lines[2].split()[:5] == ["trial", "state", "epoch", "val_loss", "curve"]
        assert "█▄▂▁▁" in lines[4]
        assert not set("▁▂▃▄▅▆▇█") & set(lines[5]), "one epoch makes no curve"
    assert "curve" not in "".join(drawn(curved, 40))
    assert "curve" not in "".join(drawn(progress(), 160))
    long = {epoch: 1.0 / epoch for epoch in range(1, 101)}
    assert [len(curve(long, columns, running=True)) for columns in (8, 12, 16)] == [8, 12, 16]


def test_what_was_not_finite_is_marked_and_what_is_not_reported_yet_is_not() -> None:
    assert curve({1: 2.0, 2: None, 3: 1.0}, 8, running=False) == "█×▁"
    assert curve({1: 2.0, 2: 1.0, 3: None}, 8, running=True) == "█▁"
    assert curve({1: 2.0, 2: None}, 8, running=False) == "▁×"
    assert curve({}, 8, running=True) == ""


# ---- time left -------------------------------------------------------------------------------------------------------


def test_the_time_left_is_a_range_where_it_is_known() -> None:
    sure = progress(seconds_left=900.0, seconds_left_range=(700.0, 1230.0))
    assert sure.left == "about 12–20 min left"
    assert any(line.endswith("7/40 trials, about 12–20 min left") for line in map(str.rstrip, drawn(sure, 80)))
    assert progress().left == "about 40 s left"
    assert (progress(seconds_left=None).left, progress(seconds_left=0.0).left) == ("", "")


def test_a_narrow_terminal_shows_the_time_left_whole() -> None:
    sure = progress(seconds_left=900.0, seconds_left_range=(700.0, 1230.0), unit="full trainings", workers=crew(2))
    (line,) = [line.rstrip() for line in drawn(sure, 60) if line.startswith("done")]
    assert line.endswith("full trainings, about 12–20 min left")


# ---- stages and ranges -----------------------------------------------------------------------------------------------

STAGES = (
    StageStand("coarse", 3, {TrialState.RUNNING: 2, TrialState.PAUSED: 14, TrialState.FAIL: 1}, opens=True),
    StageStand("fine", 20, {TrialState.COMPLETE: 4}),
    StageStand("confirm", 20, {}),
)
RANGES = (
    RangeStand("optimizer.lr", 1e-5, 1.0, (1e-5, 0.1)),
    RangeStand("model.width", 16, 256, (32, 256)),
    RangeStand("model.depth", 1, 4, (1, 4)),
)


def footer(shown: Progress, label: str, width: int = 120, height: int = 40) -> str:
    return "".join(line for line in drawn(shown, width, height) if line.startswith(label)).rstrip()


def test_the_stages_say_who_is_there() -> None:
    shown = progress(stages=STAGES)
    assert footer(shown, "stages") == (
        "stages  coarse 3 epochs: 2 running, 14 paused · fine 20 epochs: 4 complete · confirm 20 epochs: none"
    )
    assert footer(shown, "stages", 80) == "stages  coarse 3 epochs: 16 · fine 20 epochs: 4 · confirm 20 epochs: 0"
    assert footer(shown, "stages", 60) == "stages  coarse 16 · fine 4 · confirm 0"
    assert footer(progress(stages=STAGES[:1]), "stages") == ""


def test_a_range_that_moved_shows_which_way() -> None:
    shown = footer(progress(ranges=RANGES), "ranges")
    assert shown == "ranges  lr 1e-5 … 1↑   width ↓16 … 256   depth 1 … 4"


def test_of_more_ranges_than_there_is_room_for_those_that_moved_are_shown() -> None:
    many = (*RANGES, *(RangeStand(f"a_rather_long_parameter_{index}", 0.0, 1.0, (0.0, 1.0)) for index in range(12)))
    assert footer(progress(ranges=many), "ranges", 80) == "ranges  lr 1e-5 … 1↑   width ↓16 … 256"


def test_with_little_height_the_essential_is_left() -> None:
    known = tuple(replace(each, load=0.5, memory_bytes=2**30) for each in crew(6))
    running = tuple(replace(RUNNING, number=number) for number in range(8, 14))
    whole = progress(running=running, workers=known, stages=STAGES, ranges=RANGES)
    labels = [line.split()[0] for line in drawn(whole, 120, 40) if line[:1].isalpha()]
    assert labels == ["digits", "trial", "best", "done", "stages", "devices", "ranges"]
    low = drawn(whole, 80, 16)
    assert len(low) <= 16
    assert [line.split()[0] for line in low if line[:1].isalpha()] == ["digits", "trial", "best", "done"]
    assert sum("RUNNING" in line for line in low) >= 3


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 24), (120, 40), (160, 50)])
def test_the_whole_screen_fits(width: int, height: int) -> None:
    known = tuple(replace(each, load=0.5, memory_bytes=2**30, trial=7) for each in crew(16))
    running = tuple(replace(RUNNING, number=number, curve=CURVE) for number in range(8, 40))
    sure = {"seconds_left": 900.0, "seconds_left_range": (700.0, 1230.0), "paused": (PAUSED,), "moves": (MOVE,)}
    shown = progress(running=running, workers=known, stages=STAGES, ranges=RANGES, borders=(crowded(),), **sure)
    lines = drawn(shown, width, height)
    assert len(lines) <= height
    assert max(len(line.rstrip()) for line in lines) <= width
    assert footer(shown, "devices", width, height).startswith("devices gpu 0 50 % 1.0 GiB · ")


# ---- details ---------------------------------------------------------------------------------------------------------


def test_a_monitor_is_in_no_line(view: PlainView, stream: io.StringIO) -> None:
    watched = {**METRICS, "monitor/lr": 0.01, "grad_norm/net.0": 3.0}
    shown = progress(running=(replace(RUNNING, metrics=watched),), latest=(finished(6, metrics=watched),))
    view.show(progress(6))
    view.show(replace(shown, best=finished(6, metrics=watched)))
    text = stream.getvalue() + "\n".join(drawn(shown, 300, 50))
    assert "monitor" not in text
    assert "grad_norm" not in text
    assert "val_top_5_accuracy" in text


# ---- in a pipe -------------------------------------------------------------------------------------------------------


def test_a_line_for_each_finished_trial(view: PlainView, stream: io.StringIO) -> None:
    with view:
        view.show(progress(6))
        view.show(progress(7))
        view.show(progress(7))
    head, line = stream.getvalue().splitlines()
    assert head == "digits: random search, minimise val_loss, 40 trials, 6 done before"
    assert line == (
        "[ 7/40] trial 6  val_loss 0.123  val_accuracy 0.988  val_top_5_accuracy 0.999  1.2 s"
        "   best 0.100 (trial 3)   about 40 s left"
    )


def test_a_failure_says_why(view: PlainView, stream: io.StringIO) -> None:
    view.show(progress(5))
    view.show(progress(6, latest=(FAILED, finished(4))))
    assert stream.getvalue().splitlines()[-1] == "[ 6/40] trial 5  FAIL diverged: val_loss is nan  1.2 s"


def test_a_flood_of_trials_is_thinned_and_counted(view: PlainView, stream: io.StringIO, clock: Clock) -> None:
    view.show(progress(0))
    for done in range(10, 510, 10):
        clock.seconds += 0.5
        view.show(progress(done))
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 1 + 8 + 26
    told = sum(line.startswith("[") for line in lines)
    passed_over = sum(int(line.split("(")[-1].split()[0]) for line in lines if line.endswith("others finished)"))
    with view:
        pass
    rest = stream.getvalue().splitlines()[-1]
    passed_over += int(rest.strip("(").split()[0]) if rest.endswith("more finished)") else 0
    assert told + passed_over == 500


def test_a_long_trial_is_told_of(view: PlainView, stream: io.StringIO, clock: Clock) -> None:
    view.show(progress())
    clock.seconds = SILENCE_SECONDS
    view.show(progress())
    view.show(progress())
    assert stream.getvalue().splitlines()[1:] == ["[7/40] 1 running: trial 7 epoch 5/20 val_loss 0.200"]


def test_a_stopped_study_says_why_once(view: PlainView, stream: io.StringIO) -> None:
    stopped = progress(state=StudyState.STOPPED, message="5 trials in a row failed")
    view.show(stopped)
    view.show(stopped)
    assert stream.getvalue().count("stopped: 5 trials in a row failed") == 1


def test_no_escape_codes_in_a_pipe(stream: io.StringIO) -> None:
    with view_for(stream) as view:
        view.show(progress())
        view.show(progress(8, latest=(replace(FAILED, number=7, message="\x1b[31mred\x1b[0m"),)))
    assert "\x1b" not in stream.getvalue()


def test_a_trial_that_is_retried_is_told_once_more(view: PlainView, stream: io.StringIO, clock: Clock) -> None:
    again = replace(RUNNING, number=5)
    for latest, running in (((FAILED,), ()), ((), (again,)), ((finished(5),), ())):
        clock.seconds += 10
        view.show(progress(len(latest), latest=latest, running=running))
    assert stream.getvalue().splitlines()[1:] == [
        "[ 1/40] trial 5  val_loss 0.123  val_accuracy 0.988  val_top_5_accuracy 0.999  1.2 s   best 0.100 (trial 3)"
        "   about 40 s left"
    ]


# ---- workers and devices ---------------------------------------------------------------------------------------------

PAUSED = PausedDevice("gpu 1 of node", 3, "RuntimeError: CUDA error: unspecified launch failure\nmore", 290.0)


def crew(count: int) -> tuple[WorkerStand, ...]:
    return tuple(
        WorkerStand("node", 100 + index, "cuda:0", "local", 9.0, None, f"gpu {index}") for index in range(count)
    )


@pytest.mark.parametrize(
    ("count", "asked", "said"),
    [(2, None, "running, 2 workers"), (1, 1, "running, 1 worker"), (2, 3, "running, 2 workers (3 asked for)")],
)
def test_the_number_of_workers_is_shown(count: int, asked: int | None, said: str) -> None:
    page = Console(file=io.StringIO(), width=120)
    page.print(screen(progress(workers=crew(count), workers_asked=asked), 120))
    assert f"{said}\n" in "\n".join(text.rstrip() for text in page.file.getvalue().splitlines())


def test_a_paused_device_is_shown() -> None:
    page = Console(file=io.StringIO(), width=160)
    page.print(screen(progress(paused=(PAUSED,)), 160))
    told = "paused  gpu 1 of node, for about 5 min: 3 trials in a row failed there, the last with: RuntimeError: CUDA"
    assert told in page.file.getvalue()
    assert "more" not in page.file.getvalue()


def test_each_pause_of_a_device_is_told_once(stream: io.StringIO, clock: Clock) -> None:
    with PlainView(stream, clock) as view:
        for paused in ((), (PAUSED,), (replace(PAUSED, seconds_left=100.0),), (), (PAUSED,)):
            view.show(progress(paused=paused))
    assert stream.getvalue().count("paused: gpu 1 of node, for about 5 min: 3 trials in a row failed there") == 2


# ---- borders ---------------------------------------------------------------------------------------------------------


def crowded(name: str = "optimizer.lr", high: float = 1e-4) -> Verdict:
    return Verdict(
        name, BorderKind.UPPER, "upper", 1e-6, high, (1e-6, 10 * high), high, 0.99, 5, 4, 0.5, 2e-5, 25, scale="log"
    )


INSIDE = Verdict("dropout", BorderKind.INSIDE, None, 0.0, 0.7, None, 0.2, 0.29, 5, 0, 0.5, 0.4, 25)
DOUBT = replace(crowded("momentum"), kind=BorderKind.FEW, widen_to=None)
MOVE = "optimizer.lr [1e-6, 0.0001] → [1e-6, 0.001], widened after 25 trials"


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_crowded_edge_and_a_moved_range_are_shown(width: int) -> None:
    shown = progress(borders=(INSIDE, crowded(), DOUBT), moves=("earlier", MOVE))
    lines = [text.rstrip() for text in drawn(shown, width)]
    assert max(map(len, lines)) <= width
    told = [text for text in lines if text.startswith(("border", "moved"))]
    assert [text[:50] for text in told] == [
        "border  lr crowds the upper edge, 0.0001: widen to",
        "moved   optimizer.lr [1e-6, 0.0001] → [1e-6, 0.001",
    ]
    assert width < 80 or told[0].endswith("widen to [1e-6, 0.001]")
    assert width < 80 or told[1].endswith(MOVE)
    assert not [text for text in drawn(replace(shown, complete=True), width) if text.startswith(("border", "moved"))]


def test_many_crowded_edges_leave_room_for_the_trials() -> None:
    many = tuple(crowded(f"model.p{index}") for index in range(9))
    running = tuple(replace(RUNNING, number=number) for number in range(8, 40))
    shown = progress(borders=many, moves=(MOVE,), running=running, failures={Failure.DIVERGED: 1}, message="x" * 300)
    lines = drawn(shown, 80)
    assert len(lines) <= 24
    assert sum(text.startswith("border") for text in lines) == 3
    assert "7 more edges are crowded: sweeper borders" in "\n".join(lines)


def test_a_crowded_edge_is_told_once_and_again_when_its_range_has_moved(view: PlainView, stream: io.StringIO) -> None:
    for borders in ((), (INSIDE, crowded()), (crowded(),), (INSIDE,), (crowded(),), (crowded(high=1e-3), DOUBT)):
        view.show(progress(borders=borders))
    told = [text for text in stream.getvalue().splitlines() if text.startswith("border")]
    assert told == [f"border: {crowded().sentence}", f"border: {crowded(high=1e-3).sentence}"]
    view.show(progress(borders=(crowded("other"),), complete=True))
    assert "other" not in stream.getvalue()


def test_a_move_of_this_run_is_told_once(view: PlainView, stream: io.StringIO) -> None:
    for moves in (("earlier",), ("earlier",), ("earlier", MOVE), ("earlier", MOVE)):
        view.show(progress(moves=moves))
    assert "earlier" not in stream.getvalue()
    assert stream.getvalue().count(f"ranges: {MOVE}\n") == 1
