"""A worker in this process: trials to their end, failures with their reason, leaving, lost leases, the same numbers."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sweeper.engine import worker as working
from sweeper.engine.beat import Beat, Timeouts
from sweeper.engine.leave import Leave
from sweeper.engine.worker import Worker, WorkerSettings
from sweeper.search.plan import Plan, Stage
from sweeper.store import claims, fenced, process, reads, schema, writes
from sweeper.trial import checkpoint
from sweeper.trial.failure import describe
from sweeper.trial.handle import current_trial
from sweeper.words.errors import CheckpointError, ConfigError, Diverged, StoreError, TrialInterrupted
from sweeper.words.records import Failure, Lease, Load, StudyState, TrialState
from sweeper.words.settings import Settings

EXPIRED = -1.0


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def study(store, begin):
    return begin(store, budget=4, epochs=3)


@pytest.fixture
def employ(store, study):
    """`employ(train)`: a worker of the study; `.work()` is its life."""

    def make(train, of=study, **more):
        asked = {key: more.pop(key) for key in ("max_failures", "keep") if key in more}
        asked = Settings(study=of.name, space={}, **{"max_failures": None, **asked})
        values = {"store": f"sqlite:///{store.path}", "plan": Plan.from_json(of.plan), "engine": "test"}
        return Worker(WorkerSettings(asked, **{**values, **more}), train)

    return make


def train(trial):
    """A small exact training: three epochs whose losses depend on the parameters, the seed and the state."""
    torch.manual_seed(trial.seed)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * trial.params["x"], momentum=0.9)
    for _ in trial.epochs(3, state={"model": model, "optimizer": optimizer}):
        loss = (model(torch.randn(4, 2)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trial.report(val_loss=loss)


def quick(trial):
    for _ in trial.epochs(3):
        trial.report(val_loss=trial.params["x"])


def states(store, study):
    return [str(record.state) for record in reads.all_trials(store, study.id)]


def endings(store, study):
    return [row["ending"] for row in reads.worker_rows(store, study.id)]


def numbers(store, study):
    """Everything of a study that must not depend on who trained it, and when."""
    params = {record.number: record.params for record in reads.all_trials(store, study.id)}
    reports = {(each.number, each.epoch): each.metrics for each in reads.epoch_reports(store, study.id)}
    return params, reports


# ---- to the end ------------------------------------------------------------------------------------------------------


def test_a_worker_trains_a_study_to_its_end(store, study, employ):
    assert employ(train).work() == "finished"
    assert states(store, study) == ["COMPLETE"] * 4
    assert reads.study(store, study.name).granted_epochs == 12
    for record in reads.all_trials(store, study.id):
        losses = [each.metrics["val_loss"] for each in reads.epoch_reports(store, study.id, record.number)]
        assert len(losses) == 3
        assert record.value == losses[-1]
        assert set(record.params) == {"x"}
    assert endings(store, study) == ["finished"]


def test_a_trial_is_what_its_script_sees(store, study, employ):
    seen = []

    def look(trial):
        assert current_trial() is trial
        assert trial.folder.is_dir()
        seen.append((trial.number, trial.folder.name, trial.device, trial.seed))
        quick(trial)

    employ(look, device="cuda:0").work()
    seeds = [record.seed for record in reads.all_trials(store, study.id)]
    assert seen == [(n, f"{n:04d}", "cuda:0", seeds[n]) for n in range(4)]


def test_a_worker_is_known_by_its_host_and_process_while_it_lives(store, study, employ):
    rows = []

    def look(trial):
        rows.append(reads.worker_rows(store, study.id, alive=True)[0])
        quick(trial)

    employ(look, device="cpu", driver_pid=4711, log="worker.log").work()
    assert (rows[0]["host"], rows[0]["pid"], rows[0]["engine"]) == (process.host(), os.getpid(), "test")
    assert (rows[0]["driver_pid"], rows[0]["log"]) == (4711, "worker.log")
    assert process.is_alive(rows[0]["pid"], rows[0]["process_started"])
    assert reads.worker_rows(store, study.id, alive=True) == []


def test_a_script_that_only_returns_a_float_is_enough(store, begin, employ):
    study = begin(store, name="float", metric="objective", budget=2)
    assert employ(lambda trial: trial.params["x"], of=study).work() == "finished"
    for record in reads.all_trials(store, study.id):
        assert (record.state, record.value) == (TrialState.COMPLETE, record.params["x"])


def test_the_parameters_of_a_script_cannot_be_changed_by_it(store, study, employ):
    def meddle(trial):
        quick(trial)
        dict.clear(trial.params) if isinstance(trial.params, dict) else None

    employ(meddle).work()
    assert all(record.params for record in reads.all_trials(store, study.id))


def test_a_study_that_is_done_is_finished_at_once(store, study, employ):
    employ(quick).work()
    assert employ(lambda trial: pytest.fail("nothing is left")).work() == "finished"


def test_a_larger_budget_goes_on_with_new_numbers(store, study, employ):
    employ(quick).work()
    writes.set_budget(store, study.id, 5, 15)
    done = []
    employ(lambda trial: (done.append(trial.number), quick(trial))).work()
    assert done == [4]


def test_a_stopped_study_gives_no_work(store, study, employ):
    writes.set_state(store, study.id, StudyState.STOPPED)
    assert employ(quick).work() == "stopped"
    assert states(store, study) == []


def test_a_worker_waits_for_another_ones_trial_and_takes_it_when_it_is_handed_back(
    store, begin, employ, hire, take, monkeypatch
):
    monkeypatch.setattr(working, "POLL_SECONDS", 0.01)
    study = begin(store, name="one", budget=1, epochs=3)
    lease = take(store, study, hire(store, study))
    threading.Timer(0.2, fenced.release, (store, lease)).start()
    assert employ(quick, of=study).work() == "finished"
    assert states(store, study) == ["COMPLETE"]


def test_a_paused_study_is_waited_for(store, study, employ, monkeypatch):
    monkeypatch.setattr(working, "POLL_SECONDS", 0.01)
    writes.set_state(store, study.id, StudyState.PAUSED)
    threading.Timer(0.2, writes.set_state, (store, study.id, StudyState.OPEN)).start()
    assert employ(quick).work() == "finished"


# ---- failures --------------------------------------------------------------------------------------------------------


def failing(error):
    def fail(trial):
        if trial.number != 1:
            return quick(trial)
        for _ in trial.epochs(3):
            trial.report(val_loss=0.5)
            raise error

    return fail


class OutOfMemoryError(RuntimeError):
    """As `torch.cuda.OutOfMemoryError`, which is not everywhere the same class."""


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ValueError("width must be even"), Failure.ERROR),
        (SystemExit(3), Failure.ERROR),
        (KeyError("lr"), Failure.ERROR),
        (MemoryError(), Failure.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), Failure.OUT_OF_MEMORY),
        (OutOfMemoryError("CUDA out of memory"), Failure.OUT_OF_MEMORY),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
            Failure.OUT_OF_MEMORY,
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
            Failure.OUT_OF_MEMORY,
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_goes_wrong_in_a_trial_ends_the_trial_with_its_reason(store, study, employ, error, failure):
    assert employ(failing(error)).work() == "finished"
    assert states(store, study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    failed = reads.trial(store, study.id, 1)
    assert failed["failure"] == failure
    assert failed["message"].startswith(type(error).__name__)
    assert "raise error" in failed["traceback"]
    assert failed["epochs_done"] == 1
    log = (store.path.parent / "runs" / "demo" / "0001" / "train.log").read_text()
    assert failed["traceback"] in log


def test_a_diverged_trial_fails_as_such(store, study, employ):
    def diverge(trial):
        for epoch in trial.epochs(3):
            trial.report(val_loss=float("nan") if trial.number == 1 and epoch == 1 else 0.5)

    assert employ(diverge).work() == "finished"
    failed = reads.trial(store, study.id, 1)
    assert (failed["state"], failed["failure"]) == ("FAIL", "diverged")
    assert failed["message"] == "Diverged: val_loss is nan at epoch 1"
    assert [each.metrics for each in reads.epoch_reports(store, study.id, 1)] == [{"val_loss": 0.5}, {"val_loss": None}]


def test_a_trial_that_its_script_prunes_as_in_optuna_is_no_error(store, study, employ):
    import optuna

    def prune(trial):
        for epoch in trial.epochs(3):
            trial.report(val_loss=0.5 - 0.1 * epoch)
            if trial.number < 3 and epoch == 1:
                raise optuna.TrialPruned("no good")

    assert employ(prune, max_failures=2).work() == "finished"
    assert states(store, study) == ["PRUNED", "PRUNED", "PRUNED", "COMPLETE"]
    assert [reads.trial(store, study.id, 0)[name] for name in ("value", "epochs_done", "failure")] == [0.4, 2, None]


def test_what_no_store_can_hold_is_stored_as_escapes(store, study, employ):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def train(trial):
        trial.report(val_loss=0.5, **{"acc caf\udce9\x00": 0.5})
        if trial.number == 1:
            raise ValueError("cannot open caf\udce9\x00")
        if trial.number == 2:
            raise Mute

    assert employ(train).work() == "finished"
    assert states(store, study) == ["COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    assert list(reads.trial(store, study.id, 0)["metrics"]) == ["val_loss", "acc caf\\udce9\\x00"]
    assert reads.trial(store, study.id, 1)["message"] == "ValueError: cannot open caf\\udce9\\x00"
    assert reads.trial(store, study.id, 2)["message"] == "Mute: (its __str__ raised RuntimeError)"


def test_a_metric_that_is_never_reported_is_told(store, study, employ):
    employ(lambda trial: trial.report(val_acc=0.5), max_failures=1).work()
    assert "val_loss" in reads.trial(store, study.id, 0)["message"]
    assert "val_acc" in reads.trial(store, study.id, 0)["message"]


def test_too_many_failures_in_a_row_stop_the_study_and_its_worker(store, study, employ):
    def fail(trial):
        raise ValueError("no data")

    assert employ(fail, max_failures=2).work() == "stopped"
    stopped = reads.study(store, study.name)
    assert stopped.state == StudyState.STOPPED
    assert stopped.message == "2 trials in a row failed, the last with: ValueError: no data"
    assert states(store, study) == ["FAIL", "FAIL"]
    assert endings(store, study) == ["stopped"]


def test_diverged_trials_stop_nothing(store, study, employ):
    assert employ(lambda trial: trial.report(val_loss=float("inf")), max_failures=2).work() == "finished"
    assert states(store, study) == ["FAIL"] * 4


def test_a_failure_does_not_end_the_log_of_the_worker(store, study, employ, caplog):
    with caplog.at_level(logging.INFO, "sweeper.worker"):
        employ(failing(ValueError("no"))).work()
    assert "trial 1 failed (error): ValueError: no" in caplog.text
    assert "trial 3 complete" in caplog.text


def test_a_trial_that_took_its_own_folder_away_only_fails(store, study, employ):
    import shutil

    def destroy(trial):
        if trial.number == 1:
            shutil.rmtree(trial.folder)
            raise ValueError("no")
        quick(trial)

    assert employ(destroy).work() == "finished"
    assert states(store, study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_a_full_disk_is_not_the_trials_fault(store, study, employ):
    def fill(trial):
        for _ in trial.epochs(3, state={}):
            trial.report(val_loss=0.5)
            if trial.number == 1:
                raise OSError(errno.ENOSPC, "No space left on device")

    assert employ(fill).work() == "stopped"
    assert states(store, study) == ["COMPLETE", "WAITING"]
    assert "the disk is full" in reads.study(store, study.name).message
    assert reads.trial(store, study.id, 1)["kills"] == 0


def test_a_disk_without_room_for_a_trials_folder_is_not_the_trials_fault(store, study, employ, monkeypatch):
    def full(path, *args, **more):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    Path(study.folder).mkdir(parents=True)
    monkeypatch.setattr(Path, "mkdir", full)
    assert employ(quick).work() == "stopped"
    assert states(store, study) == ["WAITING"]
    assert re.search(r"the disk is full: .*0000'; [\d,]+ bytes are free at", reads.study(store, study.name).message)


def test_a_full_disk_under_a_checkpoint_is_seen_too(store, study, employ, monkeypatch):
    def full(*args, **more):
        raise CheckpointError("A checkpoint must fit on the disk") from OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(checkpoint, "save", full)
    assert employ(train).work() == "stopped"
    assert states(store, study) == ["WAITING"]


def test_a_store_that_cannot_be_written_does_not_fail_the_trial(store, study, employ):
    def break_off(trial):
        raise StoreError("The store cannot be used: the disk is full")

    with pytest.raises(StoreError, match="the disk is full"):
        employ(break_off).work()
    assert states(store, study) == ["WAITING"]
    assert (reads.trial(store, study.id, 0)["failure"], reads.trial(store, study.id, 0)["kills"]) == (None, 0)
    assert employ(quick).work() == "finished"
    assert states(store, study) == ["COMPLETE"] * 4


def test_a_trial_that_kills_its_workers_does_not_keep_the_others_from_their_work(store, study, employ, hire, take):
    for _ in range(claims.MAX_ATTEMPTS):
        take(store, study, hire(store, study), lease_seconds=EXPIRED)
    assert employ(quick).work() == "finished"
    assert states(store, study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_an_error_that_breaks_cuda_ends_the_process_and_no_other_trial(store, study, employ, monkeypatch):
    """After a device-side assert every call to CUDA fails, for as long as the process lives."""

    def broken():
        raise RuntimeError("CUDA error: device-side assert triggered")

    def fail(trial):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "synchronize", broken)
        broken()

    assert employ(fail).work() == "spent"
    assert states(store, study) == ["FAIL"]
    assert endings(store, study) == ["spent"]
    monkeypatch.undo()
    assert employ(quick).work() == "finished"
    assert states(store, study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_a_script_that_says_itself_that_it_diverged_is_told_where(store, study, employ):
    def diverge(trial):
        model = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.31)
        for epoch in trial.epochs(3, state={"model": model, "optimizer": optimizer}):
            trial.report(val_loss=0.5, step=epoch)
            if epoch == 1 and trial.number == 1:
                raise Diverged("the loss exploded")

    employ(diverge).work()
    failed = reads.trial(store, study.id, 1)
    assert failed["failure"] == "diverged"
    assert failed["message"] == "Diverged: the loss exploded at epoch 1 (step 1, lr 0.31)"


# ---- leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("number", [0, 2])
def test_a_trial_that_was_handed_back_ends_in_the_same_numbers(store, study, begin, employ, number, epoch):
    def leaving(trial):
        if trial.number != number:
            return train(trial)
        report = trial.report

        def reporting(**metrics):
            report(**metrics)
            if trial._epoch == epoch:
                first.leave.ask()

        trial.report = reporting
        return train(trial)

    first = employ(leaving)
    assert first.work() == "left"
    assert states(store, study) == ["COMPLETE"] * number + ["WAITING"]
    assert reads.trial(store, study.id, number)["kills"] == 0
    torch.manual_seed(99)
    assert employ(train).work() == "finished"
    undisturbed = begin(store, name="undisturbed", budget=4, epochs=3)
    employ(train, of=undisturbed).work()
    assert numbers(store, study) == numbers(store, undisturbed)
    assert endings(store, study) == ["left", "finished"]


def test_a_worker_that_is_asked_in_the_last_epoch_finishes_its_trial(store, study, employ):
    def ask(trial):
        for epoch in trial.epochs(3):
            trial.report(val_loss=0.5)
            if epoch == 2:
                worker.leave.ask()

    worker = employ(ask)
    assert worker.work() == "left"
    assert states(store, study) == ["COMPLETE"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_leave_after_the_epoch(store, study, employ, number):
    def heard(trial):
        for epoch in trial.epochs(3, state={}):
            trial.report(val_loss=0.5)
            if epoch == 1:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    assert employ(heard).work() == "left"
    assert signal.getsignal(number) is before
    assert reads.trial(store, study.id, 0)["epochs_done"] == 2
    assert states(store, study) == ["WAITING"]


def test_a_second_signal_cuts_the_epoch(store, study, employ):
    def heard(trial):
        for _ in trial.epochs(3, state={}):
            trial.report(val_loss=0.5)
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except Exception:
                pytest.fail("a training script caught it")
            pytest.fail("the epoch went on")

    assert employ(heard).work() == "left"
    assert states(store, study) == ["WAITING"]
    assert reads.trial(store, study.id, 0)["kills"] == 0


@pytest.mark.parametrize(("number", "is_cut"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_sigterm_cuts_an_epoch_after_its_grace_and_ctrl_c_never(store, study, employ, number, is_cut):
    def slow(trial):
        for _ in trial.epochs(2, state={}):
            os.kill(os.getpid(), number)
            time.sleep(1.0)
            trial.report(val_loss=0.5)

    worker = employ(slow)
    worker.leave = Leave(grace_seconds=0.2)
    assert worker.work() == "left"
    assert reads.trial(store, study.id, 0)["epochs_done"] == (0 if is_cut else 1)
    assert states(store, study) == ["WAITING"]


def test_a_timeout_that_is_heard_after_its_trial_ended_does_not_send_the_worker_away(store, study, employ):
    beat = Beat(store, 1, 60.0, Timeouts(), lambda: None)
    leave = Leave()
    with leave.on_signals(beat):
        beat._rang = True
        os.kill(os.getpid(), signal.SIGUSR1)
        assert not leave.asked.is_set()
        os.kill(os.getpid(), signal.SIGUSR1)  # not the beat's: a warning of the end, as Slurm's
        assert leave.asked.is_set()


def test_a_beat_tells_the_load_between_two_renewals(store, study, worker):
    beat = Beat(store, worker, 60.0, Timeouts(), lambda: None, SimpleNamespace(read=lambda: Load(0.7, 10, 100)))
    beat.lease = Lease(study.id, 99, 1, worker)  # of no trial: a renewal would be a lost lease
    beat._beat()
    (row,) = reads.worker_rows(store, study.id)
    assert (row["load"], row["memory_bytes"], row["memory_total_bytes"]) == (0.7, 10, 100)


def test_a_worker_of_a_thread_hears_no_signals():
    leave, before = Leave(), signal.getsignal(signal.SIGTERM)

    def live():
        with leave.on_signals(None):
            assert signal.getsignal(signal.SIGTERM) is before

    thread = threading.Thread(target=live)
    thread.start()
    thread.join()
    assert not leave.asked.is_set()


# ---- lost leases -----------------------------------------------------------------------------------------------------


def lose(store, study, hire):
    """Another worker takes every running trial, as after a sleep past the lease."""
    with store.write() as connection:
        connection.execute(schema.trials.update().where(schema.trials.c.state == "RUNNING").values(lease_expires=0.0))
    other = hire(store, study)
    record = claims.claim(store, study.id, other)
    return Lease(record.study_id, record.number, record.attempt, other)


def test_a_worker_that_lost_its_lease_drops_the_trial_and_takes_another(store, study, employ, hire):
    taken = []

    def sleepy(trial):
        for epoch in trial.epochs(3):
            if trial.number == 1 and epoch == 1:
                taken.append(lose(store, study, hire))
                with store.read() as connection:
                    assert connection.exec_driver_sql("SELECT count(*) FROM epochs WHERE number = 1").scalar() == 1
                threading.Timer(0.5, fenced.finish, (store, taken[0], TrialState.COMPLETE), {"value": 7.0}).start()
            trial.report(val_loss=0.5)

    assert employ(sleepy).work() == "finished"
    assert states(store, study) == ["COMPLETE"] * 4
    stolen = reads.trial(store, study.id, 1)
    assert (stolen["value"], stolen["attempt"]) == (7.0, 2)


@pytest.mark.parametrize("ending", ["fails", "returns", pytest.param("leaves")])
def test_whatever_a_late_worker_wants_to_write_it_only_drops_the_trial(store, study, employ, hire, ending):
    def late(trial):
        if trial.number == 0:
            trial.report(val_loss=0.5)
            lease = lose(store, study, hire)
            fenced.finish(store, lease, TrialState.COMPLETE, value=7.0)
            if ending == "fails":
                raise ValueError("no")
            if ending == "leaves":
                raise TrialInterrupted("asked to leave")
        else:
            quick(trial)

    assert employ(late).work() == ("left" if ending == "leaves" else "finished")
    first = reads.trial(store, study.id, 0)
    assert (first["state"], first["value"]) == ("COMPLETE", 7.0)


def test_an_except_in_the_script_cannot_swallow_a_lost_lease(store, study, employ, hire):
    def greedy(trial):
        if trial.number == 0:
            fenced.finish(store, lose(store, study, hire), TrialState.COMPLETE, value=7.0)
            try:
                trial.report(val_loss=0.5)
            except Exception:
                pytest.fail("a training script caught it")
        quick(trial)

    assert employ(greedy).work() == "finished"
    assert reads.epoch_reports(store, study.id, 0) == []


def test_a_lease_is_renewed_while_an_epoch_is_long(store, begin, employ, hire):
    """The epoch is longer than a lease; nobody takes the trial meanwhile."""
    study = begin(store, name="long", budget=1, epochs=1)
    claimed = []

    def long(trial):
        other = hire(store, study)
        for _ in trial.epochs(1):
            for _ in range(6):
                threading.Event().wait(0.3)
                claimed.append(claims.claim(store, study.id, other, grant_epochs=1))
            trial.report(val_loss=0.5)

    employ(long, of=study, lease_seconds=1.5).work()
    assert {str(each) for each in claimed} == {"wait"}
    assert reads.trial(store, study.id, 0)["attempt"] == 1


def test_a_worker_beats_while_it_trains(store, study, employ):
    beats = set()

    def look(trial):
        for _ in range(20):
            threading.Event().wait(0.02)
            beats.add(reads.worker_rows(store, study.id)[0]["beat"])
        quick(trial)

    employ(look, lease_seconds=0.4).work()
    assert len(beats) > 1


# ---- the same numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", ["random", "sobol"])
def test_trial_n_is_the_same_for_any_number_of_workers(store, begin, employ, search):
    alone = begin(store, name="alone", search=search, budget=12, epochs=3)
    employ(quick, of=alone).work()
    crowd = begin(store, name="crowd", search=search, budget=12, epochs=3)
    threads = [threading.Thread(target=employ(quick, of=crowd).work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(store, crowd) == ["COMPLETE"] * 12
    assert numbers(store, crowd) == numbers(store, alone)


def test_another_seed_is_another_search(store, begin, employ):
    one, other = begin(store, name="one"), begin(store, name="other", seed=1)
    for study in (one, other):
        employ(quick, of=study).work()
    first, second = ([record.params for record in reads.all_trials(store, each.id)] for each in (one, other))
    assert not any(params in second for params in first)


def test_a_trial_that_goes_on_is_not_proposed_anew(store, study, employ, hire, take):
    lease = take(store, study, hire(store, study))
    fenced.set_params(store, lease, {"x": 0.125})
    fenced.release(store, lease)
    employ(quick).work()
    assert reads.trial(store, study.id, 0)["params"] == {"x": 0.125}


def test_a_kill_between_the_claim_and_the_proposal_changes_no_number(store, study, begin, employ, hire, take):
    take(store, study, hire(store, study), lease_seconds=EXPIRED)
    employ(quick).work()
    other = begin(store, name="other", budget=4, epochs=3)
    employ(quick, of=other).work()
    assert numbers(store, study) == numbers(store, other)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_what_a_killed_attempt_left_is_swept(store, study, employ, hire, take):
    lease = take(store, study, hire(store, study))
    folder = store.path.parent / "runs" / "demo" / "0000" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("epoch=0000-val_loss=1.pt", "epoch=0001.pt.tmp-1-abc", "notes.txt"):
        (folder / name).write_bytes(b"torn")
    fenced.release(store, lease)
    employ(quick).work()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_worker_that_slept_before_it_swept_takes_no_file_of_its_heir(store, study, employ, hire, take, monkeypatch):
    fenced.release(store, take(store, study, hire(store, study)))
    sweep, heirs = working.sweep_orphans, []

    def late(*args):
        if not heirs:
            heirs.append(lose(store, study, hire))
            folder = store.path.parent / "runs" / "demo" / "0000"
            new = checkpoint.save(folder / "checkpoints", 0, {}, attempt=heirs[0].attempt)
            row = {"epoch": 0, "path": f"checkpoints/{new.path.name}", "sha256": new.sha256, "size_bytes": 1}
            fenced.add_checkpoint(store, heirs[0], row)
            swept.extend(sweep(*args))
            assert new.path.exists()
            fenced.finish(store, heirs[0], TrialState.COMPLETE, value=7.0)
        return []

    swept = []
    monkeypatch.setattr(working, "sweep_orphans", late)
    assert employ(quick).work() == "finished"
    assert swept == []
    assert heirs[0].attempt == 3


def test_a_worker_is_at_work_while_it_lives(store, study, employ):
    seen = []

    def look(trial):
        seen.append(list(working.at_work))
        raise StoreError("The store cannot be used: the disk is full")

    with pytest.raises(StoreError):
        employ(look).work()
    assert seen == [[(store.address, study.name)]]
    assert working.at_work == []


def test_every_pointer_of_the_store_has_its_file_and_every_file_its_pointer(store, study, employ):
    employ(train, keep=1).work()
    root = store.path.parent / "runs" / "demo"
    pointers = {
        root / f"{number:04d}" / row["path"]
        for number in range(4)
        for row in reads.checkpoint_rows(store, study.id, number)
    }
    assert pointers == set(root.rglob("*.pt"))


def test_a_worker_leaves_no_thread_behind(store, study, employ):
    employ(quick).work()
    assert "sweeper-beat" not in {thread.name for thread in threading.enumerate()}


def test_a_worker_that_cannot_propose_says_why(store, study, employ):
    with pytest.raises(ConfigError, match="nonsense"):
        employ(quick, plan=Plan("random", (Stage("search", "nonsense"),))).work()


# ---- errors as words ------------------------------------------------------------------------------------------------


def test_an_error_is_described_in_one_line_and_in_full():
    try:
        raise ValueError("first line\nsecond line")
    except ValueError as error:
        line, trace = describe(error)
    assert line == "ValueError: first line"
    assert trace.startswith("Traceback")
    assert "second line" in trace


def test_an_error_without_words_is_described_too():
    line, trace = describe(KeyError())
    assert line.startswith("KeyError")
    assert "KeyError" in trace


def test_an_endless_error_is_cut():
    line, trace = describe(ValueError("x" * 100_000))
    assert len(line) <= 500
    assert len(trace) <= 20_000
