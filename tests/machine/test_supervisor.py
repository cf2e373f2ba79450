"""The local engine: results in order, deaths told of and mended, the slot's environment, and nothing left behind.

Functions that run in a process are defined inside the tests, so that they travel by value.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from sweeper.machine import supervisor
from sweeper.machine.devices import Slot
from sweeper.machine.supervisor import Call, ProcessDied, Supervisor
from sweeper.store import process


def slots(number=2, **environment):
    return [Slot(n, "cpu", f"cpu {n}", 1, {"OMP_NUM_THREADS": "1", **environment}) for n in range(number)]


@pytest.fixture
def call(tmp_path):
    """`call(function)`: a call whose log is worker.log, the next one's worker2.log, …"""
    made = []

    def make(function, **more):
        made.append(function)
        return Call(function, tmp_path / "logs" / f"worker{len(made)}.log", **more)

    return make


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


# ---- results ---------------------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_calls_whoever_is_first(call):
    def answer(number):
        def function():
            import time

            time.sleep(0.3 if number == 0 else 0.0)
            return number

        return function

    assert Supervisor(slots()).run([call(answer(n)) for n in range(4)]) == [0, 1, 2, 3]


def test_the_first_calls_are_those_of_the_slots(call):
    """A worker that knows its device by its number must find that device's environment."""

    def place():
        import os

        return os.environ["SLOT"]

    three = [Slot(n, "cpu", "cpu", 1, {"SLOT": str(n)}) for n in range(3)]
    assert Supervisor(three).run([call(place) for _ in range(3)]) == ["0", "1", "2"]


def test_no_call_is_no_process():
    assert Supervisor(slots()).run([]) == []


def test_an_exception_of_a_call_comes_back_in_its_place(call, tmp_path):
    def fail():
        raise ValueError("width must be even")

    results = Supervisor(slots()).run([call(lambda: 1), call(fail)])
    assert results[0] == 1
    assert type(results[1]) is ValueError
    assert str(results[1]) == "width must be even"
    assert "width must be even" in (tmp_path / "logs" / "worker2.log").read_text()


def test_an_exception_that_cannot_travel_is_told_all_the_same(call):
    def fail():
        class Odd(Exception):
            def __init__(self, one, other):
                super().__init__(f"{one} and {other}")

        raise Odd(1, 2)

    (result,) = Supervisor(slots(1)).run([call(fail)])
    assert isinstance(result, Exception)


def test_a_result_that_cannot_travel_is_told(call):
    def locked():
        import threading

        return threading.Lock()

    (result,) = Supervisor(slots(1)).run([call(locked)])
    assert isinstance(result, Exception)


def test_a_call_that_cannot_travel_is_told(call):
    lock = threading.Lock()
    (result,) = Supervisor(slots(1)).run([call(lambda: lock)])
    assert isinstance(result, Exception)


def test_what_a_call_prints_is_in_its_log(call, tmp_path):
    def speak():
        import sys

        print("to stdout")
        print("to stderr", file=sys.stderr)
        assert sys.stdin.read() == ""

    Supervisor(slots(1)).run([call(speak)])
    assert (tmp_path / "logs" / "worker1.log").read_text() == "to stdout\nto stderr\n"


# ---- slots -----------------------------------------------------------------------------------------------------------


def test_the_environment_of_the_slot_is_there_before_anything_is_loaded(call):
    def look():
        import os
        import sys

        return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"], "torch" in sys.modules

    results = Supervisor(slots(1, CUDA_VISIBLE_DEVICES="GPU-3")).run([call(look)])
    assert results == [("GPU-3", "1", False)]
    assert "GPU-3" not in os.environ.get("CUDA_VISIBLE_DEVICES", "")


def test_one_call_a_slot_at_a_time(call, tmp_path):
    def alone(folder):
        def function():
            import os
            import time
            from pathlib import Path

            mark = Path(folder) / os.environ["SLOT"]
            mark.touch(exist_ok=False)
            time.sleep(0.05)
            mark.unlink()

        return function

    two = [Slot(n, "cpu", "cpu", 1, {"SLOT": str(n)}) for n in range(2)]
    assert Supervisor(two).run([call(alone(str(tmp_path))) for _ in range(4)]) == [None] * 4


# ---- deaths ----------------------------------------------------------------------------------------------------------


def dying(folder, times):
    """Dies by its own hand that often, then answers how often it was started; `folder` holds the pids."""

    def function():
        import os
        import signal
        from pathlib import Path

        (Path(folder) / f"{os.getpid()}.started").touch()
        starts = len(list(Path(folder).glob("*.started")))
        if starts <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return starts

    return function


def started(folder):
    return {int(path.stem) for path in folder.glob("*.started")}


def test_a_process_that_dies_is_told_and_started_again(call, tmp_path):
    died = []
    results = Supervisor(slots(1)).run([call(dying(str(tmp_path), 2), restart=True, died=died.append)])
    assert results == [3]
    assert len(died) == 2
    assert set(died) < started(tmp_path)


def test_without_a_wish_it_is_not_started_again_and_its_log_is_named(call, tmp_path):
    died = []
    (result,) = Supervisor(slots(1)).run([call(dying(str(tmp_path), 1), died=died.append)])
    assert isinstance(result, ProcessDied)
    assert "SIGKILL" in str(result)
    assert str(tmp_path / "logs" / "worker1.log") in str(result)
    assert died == list(started(tmp_path))


def test_one_that_dies_again_and_again_is_given_up(call, tmp_path):
    died = []
    (result,) = Supervisor(slots(1)).run([call(dying(str(tmp_path), 99), restart=True, died=died.append)])
    assert isinstance(result, ProcessDied)
    assert len(died) == len(started(tmp_path)) == supervisor.MAX_RESTARTS_IN_A_ROW


def test_one_that_dies_late_is_started_again_however_often(call, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "QUICK_SECONDS", 0.0)
    times = supervisor.MAX_RESTARTS_IN_A_ROW + 1
    assert Supervisor(slots(1)).run([call(dying(str(tmp_path), times), restart=True)]) == [times + 1]


def test_one_that_exits_is_told_with_its_code(call):
    def leave():
        import os

        os._exit(7)

    (result,) = Supervisor(slots(1)).run([call(leave)])
    assert "exit code 7" in str(result)


def test_a_death_does_not_disturb_the_others(call, tmp_path):
    calls = [call(dying(str(tmp_path), 99), restart=True), *(call(lambda: "done") for _ in range(2))]
    assert Supervisor(slots()).run(calls)[1:] == ["done", "done"]


def test_whoever_is_told_may_break_and_the_other_calls_still_run(call, tmp_path):
    def broken(pid):
        raise RuntimeError("the store is locked")

    results = Supervisor(slots(1)).run([call(dying(str(tmp_path), 99), died=broken), call(lambda: "done")])
    assert isinstance(results[0], Exception)
    assert results[1] == "done"


def test_a_log_that_cannot_be_opened_is_an_answer_too(tmp_path):
    (tmp_path / "file").write_text("")
    (result,) = Supervisor(slots(1)).run([Call(lambda: 1, tmp_path / "file" / "worker.log")])
    assert isinstance(result, Exception)


# ---- leaving ---------------------------------------------------------------------------------------------------------


def waiting(folder, leaves=True, heeds=signal.SIGTERM, seconds=0.0):
    """Waits for a signal, then for `seconds`, and answers `left`; or does not listen."""

    def function():
        import os
        import signal
        import threading
        import time
        from pathlib import Path

        asked = threading.Event()
        signal.signal(heeds, lambda *_: asked.set() if leaves else None)
        (Path(folder) / f"{os.getpid()}.started").touch()
        while not asked.wait(0.02):
            pass
        time.sleep(seconds)
        return "left"

    return function


def in_thread(boss, calls):
    results = []
    thread = threading.Thread(target=lambda: results.extend(boss.run(calls)))
    thread.start()
    return thread, results


def test_leave_asks_every_process_and_none_is_started_again(call, tmp_path):
    boss = Supervisor(slots())
    thread, results = in_thread(boss, [call(waiting(str(tmp_path)), restart=True) for _ in range(2)])
    wait_until(lambda: len(started(tmp_path)) == 2)
    boss.leave()
    thread.join(30)
    assert results == ["left", "left"]
    assert len(started(tmp_path)) == 2


def test_kill_ends_what_does_not_listen(call, tmp_path):
    boss = Supervisor(slots(1))
    thread, results = in_thread(boss, [call(waiting(str(tmp_path), leaves=False), restart=True)])
    wait_until(lambda: started(tmp_path))
    boss.kill()
    thread.join(30)
    assert isinstance(results[0], ProcessDied)
    assert not any(process.is_alive(pid, None) for pid in started(tmp_path))


def test_leaving_starts_nothing_more(call, tmp_path):
    boss = Supervisor(slots(1))
    thread, results = in_thread(boss, [call(waiting(str(tmp_path))) for _ in range(3)])
    wait_until(lambda: started(tmp_path))
    boss.leave()
    thread.join(30)
    assert results[0] == "left"
    assert len(started(tmp_path)) == 1


PARENT = """
    import sys
    from pathlib import Path
    from sweeper.machine.devices import Slot
    from sweeper.machine.supervisor import Call, Supervisor

    def main(folder, hears):
        def function():
            import os, signal, time
            from sweeper.machine import supervisor
            supervisor.GRACE_SECONDS = 0.2
            if not hears:
                signal.signal(signal.SIGTERM, lambda *_: None)
            (Path(folder) / f"{os.getpid()}.started").touch()
            time.sleep(100)
            time.sleep(100)
            time.sleep(100)

        slots = [Slot(n, "cpu", "cpu", 1, {}) for n in range(2)]
        Supervisor(slots).run([Call(function, Path(folder) / f"{n}.log") for n in range(2)])

    main(sys.argv[1], sys.argv[2] == "hears")
"""


@pytest.mark.parametrize("hears", ["hears", "does not"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_parent_is_gone_its_processes_leave(tmp_path, number, hears):
    if number == signal.SIGTERM and hears != "hears":
        pytest.skip("said once is enough")
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path), hears])
    wait_until(lambda: len(started(tmp_path)) == 2)
    pids = {pid: process.start_time(pid) for pid in started(tmp_path)}
    assert all(process.is_alive(pid, begun) for pid, begun in pids.items())
    parent.send_signal(number)
    parent.wait(30)
    wait_until(lambda: not any(process.is_alive(pid, begun) for pid, begun in pids.items()))


def test_ctrl_c_in_the_terminal_does_not_reach_the_processes(call):
    def group():
        import os

        return os.getsid(0) == os.getpid()

    assert Supervisor(slots(1)).run([call(group)]) == [True]


# ---- more and fewer while it runs ------------------------------------------------------------------------------------


def resizing(boss, call, folder, number):
    """`number` slots from now on, each with a call that waits."""
    boss.resize(slots(number), [call(waiting(str(folder), heeds=signal.SIGINT), restart=True) for _ in range(number)])


def test_more_slots_are_manned_while_it_runs_and_the_others_go_on(call, tmp_path):
    boss = Supervisor(slots(1))
    thread, results = in_thread(boss, [call(waiting(str(tmp_path), heeds=signal.SIGINT), restart=True)])
    wait_until(lambda: len(started(tmp_path)) == 1)
    first = started(tmp_path)
    resizing(boss, call, tmp_path, 3)
    wait_until(lambda: len(started(tmp_path)) == 3)
    assert first < started(tmp_path)
    boss.leave(signal.SIGINT)
    thread.join(30)
    assert results == ["left"] * 3


def test_what_is_too_many_leaves_in_good_order_and_is_not_started_again(call, tmp_path):
    boss = Supervisor(slots(2))
    calls = [call(waiting(str(tmp_path), heeds=signal.SIGINT), restart=True) for _ in range(2)]
    thread, results = in_thread(boss, calls)
    wait_until(lambda: len(started(tmp_path)) == 2)
    resizing(boss, call, tmp_path, 1)
    wait_until(lambda: len([post for post in boss._posts if post.thread.is_alive()]) == 1)
    assert len(started(tmp_path)) == 2
    boss.leave(signal.SIGINT)
    thread.join(30)
    assert results == ["left", "left"]


def test_a_slot_is_manned_anew_only_after_the_one_that_was_asked_has_left(call, tmp_path):
    boss = Supervisor(slots(2))
    calls = [call(waiting(str(tmp_path), heeds=signal.SIGINT, seconds=0.5), restart=True) for _ in range(2)]
    thread, results = in_thread(boss, calls)
    wait_until(lambda: len(started(tmp_path)) == 2)
    before = started(tmp_path)
    for number in (1, 2, 1, 2):
        resizing(boss, call, tmp_path, number)
    wait_until(lambda: len(started(tmp_path)) == 3)
    (new,) = started(tmp_path) - before
    assert sum(process.is_alive(pid, None) for pid in started(tmp_path)) == 2
    assert process.is_alive(new, None)
    boss.leave(signal.SIGINT)
    thread.join(30)
    assert results == ["left"] * 3


def test_one_that_dies_of_being_sent_away_is_no_failure(call, tmp_path):
    def deaf():
        import os
        import signal
        import time
        from pathlib import Path

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        (Path(folder) / f"{os.getpid()}.started").touch()
        time.sleep(100)

    folder = str(tmp_path)
    boss = Supervisor(slots(2))
    thread, results = in_thread(boss, [call(waiting(folder, heeds=signal.SIGINT)), call(deaf, restart=True)])
    wait_until(lambda: len(started(tmp_path)) == 2)
    resizing(boss, call, tmp_path, 1)
    wait_until(lambda: len([post for post in boss._posts if post.thread.is_alive()]) == 1)
    boss.leave(signal.SIGINT)
    thread.join(30)
    assert results == ["left"]


def test_what_has_ended_is_begun_again_when_more_are_wanted(call, tmp_path):
    boss = Supervisor(slots(2))
    thread, results = in_thread(boss, [call(waiting(str(tmp_path), heeds=signal.SIGINT)), call(lambda: "done")])
    wait_until(lambda: boss._results)
    resizing(boss, call, tmp_path, 2)
    wait_until(lambda: len(started(tmp_path)) == 2)
    boss.leave(signal.SIGINT)
    thread.join(30)
    assert results == ["left", "done", "left"]


def test_one_that_is_being_started_is_asked_by_the_signal_that_was_sent(call, tmp_path, monkeypatch):
    """Ctrl-C gives a worker its epoch's time; SIGTERM, said instead, would cut it."""
    boss, start = Supervisor(slots(1)), Supervisor._start

    def slow(self, *call):
        child = start(self, *call)
        wait_until(lambda: len(started(tmp_path)) == 1)
        boss.leave(signal.SIGINT)
        return child

    monkeypatch.setattr(Supervisor, "_start", slow)
    assert boss.run([call(waiting(str(tmp_path), heeds=signal.SIGINT), restart=True)]) == ["left"]


def test_nothing_is_begun_after_the_end_or_after_leaving(call, tmp_path):
    done = Supervisor(slots(1))
    assert done.run([call(lambda: 1)]) == [1]
    resizing(done, call, tmp_path, 2)
    left = Supervisor(slots(1))
    thread, results = in_thread(left, [call(waiting(str(tmp_path)))])
    wait_until(lambda: len(started(tmp_path)) == 1)
    left.leave()
    resizing(left, call, tmp_path, 2)
    thread.join(30)
    assert results == ["left"]
    assert len(started(tmp_path)) == 1
