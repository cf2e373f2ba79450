"""In the fresh process: the script as `python SCRIPT …` runs it, under a watch.

A checkup runs the script several times. Where a process can be forked, all of them come from one that has imported
torch once; so each has its own memory and its own end, and costs no second start.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import importlib
import json
import os
import runpy
import signal
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sweeper.check import result
from sweeper.check.corners import Corner, corners, words_of
from sweeper.check.rates import RECORD, Ramp
from sweeper.check.script import REQUEST, hydra_words, run, slots_of, split, sweep_of
from sweeper.check.stopwatch import Loader, Stopwatch, memory
from sweeper.search.space import SearchSpace
from sweeper.training.lr_range import geometric
from sweeper.trial.handle import FolderJournal, Trial, as_current
from sweeper.trial.state import get_state, set_state
from sweeper.words.errors import SweeperError

INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
CUDA_IS_LOST = 77
"""Exit code of a fork that cannot use CUDA: it is done again in a process of its own."""


class EndlessTrial(Trial):
    """A trial that trains for as long as it is watched; its reports and checkpoints are nobody's."""

    begun: Callable[[], None] | None = None
    ended: Callable[[float], None] | None = None
    """Told after each epoch, with its seconds."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.reported: set[str] = set()

    def epochs(self, n: int, state: Mapping[str, Any] | None = None) -> Iterator[int]:
        """Always the first epoch anew, for schedules and early stopping too; weights and optimizer go on."""
        held = {name: entry for name, entry in (state or {}).items() if _begins_anew(entry)}
        first = {name: copy.deepcopy(get_state(name, entry)) for name, entry in held.items()}
        if self.begun is not None:
            self.begun()
        while True:
            started = time.monotonic()
            yield 0
            if self.ended is not None:
                self.ended(time.monotonic() - started)
            for name, entry in held.items():
                set_state(entry, copy.deepcopy(first[name]))

    def report(self, **metrics: Any) -> None:
        """At rates that are too high on purpose, no number is a surprise."""
        self.reported |= set(metrics)


def _begins_anew(entry: Any) -> bool:
    import torch

    goes_on = torch.nn.Module | torch.optim.Optimizer | torch.Generator
    return not isinstance(entry, goes_on) and (isinstance(entry, dict) or hasattr(entry, "load_state_dict"))


def child() -> None:
    """Serves the request that the environment holds; the command line is the script's."""
    request = json.loads(os.environ[REQUEST])
    {"ramps": _ramps, "survey": _survey, "corner": _corner, "checkup": _checkup}[request["kind"]](request)


def _trial(place: Path) -> EndlessTrial:
    import torch

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    return EndlessTrial(number=0, params={}, folder=place, device=device, seed=None, journal=FolderJournal(place))


def _run_script(words: Sequence[str]) -> None:
    """As `python SCRIPT …` does; for SCRIPT:FUNCTION the `Task` that the function returns is trained."""
    file, function = split(words[0])
    sys.argv = [file, *words[1:]]
    sys.path[0] = str(Path(file).parent)
    if function is None:
        runpy.run_path(file, run_name="__main__")
        return
    from sweeper.training.task import rehearse

    rehearse(runpy.run_path(file)[function]())


# ---- the learning rate -----------------------------------------------------------------------------------------------


def _ramps(request: Mapping[str, Any]) -> None:
    from sweeper.check.ramp import RampsDone, watched

    place = Path(request["place"])
    with (
        _climb(place, Ramp(**request["ramp"])) as (ramps, ended),
        as_current(_trial(place)),
        watched(ramps),
        contextlib.suppress(RampsDone),
    ):
        _run_script(request["words"])
        ended()


@contextlib.contextmanager
def _climb(place: Path, ramp: Ramp) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Ramps that write each step down, and what to call when the script has ended before them."""
    from sweeper.check.ramp import Ramps

    with open(place / RECORD, "w", encoding="utf-8", buffering=1) as record:

        def note(number: int, rate: float, loss: float) -> None:
            record.write(json.dumps({"ramp": number, "rate": rate, "loss": loss, "own_rate": ramps.own_rate}) + "\n")

        ramps = Ramps(geometric(ramp.low, ramp.high, ramp.steps), ramp.repeats, note)
        yield ramps, lambda: print(json.dumps({"ended": True}), file=record)


# ---- a checkup -------------------------------------------------------------------------------------------------------


def _checkup(request: Mapping[str, Any]) -> None:
    """First the script as it stands; then, where its config has a search space, the corners of it."""
    place, words = Path(request["place"]), request["words"]
    _import(["torch", "torch._dynamo", "hydra"])  # once, for all that are forked
    _aside({**request["survey"], "kind": "survey", "place": str(place / "survey")})
    seen = result.read(place / "survey") or {}
    told, slots = _sweep(request)
    if not told or seen.get("error", True):
        return
    _import(seen["modules"])
    for index, corner in enumerate(told):
        folder = place / f"corner{index}"
        job = {"kind": "corner", "words": [*words, *corner.words], "place": str(folder), "threads": slots}
        times = {key: request[key] for key in ("seconds", "patience_seconds")}
        _aside({**job, **times, "corner": corner.as_json()})


def _import(modules: Sequence[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):  # whoever needs it will say so
            importlib.import_module(name)


def _installed() -> list[str]:
    """The modules that this process has imported, but for the person's own."""
    modules = [(name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())]
    return [name for name, file in modules if file and file.startswith(INSTALLED) and not name.startswith("__")]


def _sweep(request: Mapping[str, Any]) -> tuple[list[Corner], int | None]:
    """The corners, and how many threads a worker of the sweep has."""
    if request["corners"] is not None:  # told by a sweep
        return [Corner.from_json(each) for each in request["corners"]], None
    with contextlib.suppress(SweeperError):  # the sweep says it better
        found = sweep_of(Path(request["place"]) / "survey" / ".hydra", request["words"][1:])
        if found is not None:
            ends = corners(found.space, lambda params: words_of(params, [], SearchSpace(), found.added))
            return ends, slots_of(found)[0].threads
    return [], None


def _aside(job: dict[str, Any]) -> None:
    """Do it in a process of its own, which ends with this one; what it prints goes to a file."""
    place = Path(job["place"])
    place.mkdir(parents=True, exist_ok=True)
    job = {**job, "words": [*job["words"], *hydra_words(job["words"][0], place)]}
    if sys.platform != "linux":
        run(job)
        return
    pid = os.fork()
    if pid == 0:
        _forked(job, place)
    if _wait(pid, job, place) == CUDA_IS_LOST:
        run(job)


def _forked(job: Mapping[str, Any], place: Path) -> NoReturn:
    import torch

    code = 1
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        _into_file(place / "log")
        if torch.cuda._is_in_bad_fork():  # an import has asked CUDA something
            code = CUDA_IS_LOST
        else:
            {"survey": _survey, "corner": _corner}[job["kind"]](job)
            code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, job: Mapping[str, Any], place: Path) -> int:
    """The exit code."""
    patience = job["seconds"] + job["patience_seconds"]
    deadline = time.monotonic() + patience
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    code = os.waitstatus_to_exitcode(status)
    if code != CUDA_IS_LOST and result.read(place) is None:
        late, killed = time.monotonic() > deadline, code == -signal.SIGKILL
        why = "killed, for want of memory perhaps" if killed else f"exit code {code}"
        said = f"it was ended after {patience:.0f} s without a word" if late else f"the process died ({why})"
        error = result.failure(said, memory=killed and not late, late=late)
        result.write(place, {"corner": job.get("corner"), "error": error, "steps": 0, "epoch_seconds": None})
    return code


def _into_file(path: Path) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(file, number)


def _told(words: Sequence[str], train: Callable[[], None]) -> dict[str, Any] | None:
    """Run the script; what it raised. Hydra's own way would leave an exit code alone."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        train()
    except SystemExit as ending:
        if ending.code not in (None, 0):
            return result.failure(f"the script ended with exit code {ending.code}")
    except Exception as error:
        traceback.print_exc()
        return _error(error, Path(split(words[0])[0]))
    return None


def _error(error: BaseException, script: Path) -> dict[str, Any]:
    from sweeper.trial.failure import OUT_OF_MEMORY

    frames = traceback.extract_tb(error.__traceback__)
    begun = next((at for at, frame in enumerate(frames) if Path(frame.filename).name == script.name), len(frames))
    own = [frame for frame in frames[begun:] if not frame.filename.startswith((*INSTALLED, "<"))]
    said = " ".join(str(error).split())
    memory = isinstance(error, MemoryError) or any(each in str(error) for each in OUT_OF_MEMORY)
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else None
    return result.failure(f"{type(error).__name__}: {said:.300}", where, memory=memory)


# ---- the script as it stands -----------------------------------------------------------------------------------------


class _InTurn:
    """First the survey, then the ramps."""

    def __init__(self, survey: Any, ramps: Any) -> None:
        self.survey, self.ramps = survey, ramps
        self._handed_over = False

    def _now(self) -> Any:
        return self.ramps if self._handed_over else self.survey

    def before_backward(self) -> None:
        self._handed_over = self.ramps is not None and self.survey.done
        self._now().before_backward()

    def loss(self, value: float) -> None:
        self._now().loss(value)

    def before_step(self, optimizer: Any) -> None:
        self._now().before_step(optimizer)

    def after_step(self, optimizer: Any) -> None:
        self._now().after_step(optimizer)


def _survey(request: Mapping[str, Any]) -> None:
    from sweeper.check.ramp import RampsDone, watched
    from sweeper.check.training import examination
    from sweeper.check.training.hooks import surveyed
    from sweeper.check.training.survey import Survey, SurveyDone

    place, ramp = Path(request["place"]), request.get("ramp")
    trial = _trial(place)
    survey = Survey(request["seconds"], go_on=ramp is not None)
    trial.begun = lambda: setattr(survey, "has_trial", True)
    trial.ended = lambda seconds: survey.epoch_ended()
    with contextlib.ExitStack() as stack:
        ramps, ended = stack.enter_context(_climb(place, Ramp(**ramp))) if ramp else (None, lambda: None)

        def train() -> None:
            watching = watched(_InTurn(survey, ramps))
            with as_current(trial), watching, surveyed(survey), contextlib.suppress(SurveyDone, RampsDone):
                _run_script(request["words"])
                ended()

        error = _told(request["words"], train)
    survey.script_ended()
    findings = examination.seen(survey) + (examination.tried(survey, request["seconds"]) if request["try"] else [])
    told = {
        "modules": _installed(),
        "error": error,
        "steps": survey.steps,
        "reported": sorted(trial.reported),
        "ramps_code": int(bool(error)),
        "surveyed": survey.whole,
    }
    result.write(place, {**told, "findings": [each.as_row() for each in findings]})


# ---- a corner --------------------------------------------------------------------------------------------------------


def _corner(request: Mapping[str, Any]) -> None:
    import torch

    from sweeper.check.ramp import watched
    from sweeper.check.training.survey import SurveyDone

    place, started = Path(request["place"]), time.monotonic()
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    watch, loader = Stopwatch(request["seconds"]), Loader()
    trial = _trial(place)
    trial.ended = watch.epoch_ended

    def train() -> None:
        with as_current(trial), watched(watch), loader.watched(watch), contextlib.suppress(SurveyDone):
            _run_script(request["words"])

    error = _told(request["words"], train)
    epochs = watch.epochs[1:] or watch.epochs
    told = {
        "corner": request["corner"],
        "error": error,
        "steps": len(watch.times),
        "setup_seconds": (watch.times[0] if watch.times else time.monotonic()) - started,
        "step_seconds": watch.step_seconds,
        "epoch_seconds": min(epochs) if epochs else None,
        "epoch_steps": loader.steps,
        "device": trial.device,
        **memory(),
    }
    result.write(place, told)
