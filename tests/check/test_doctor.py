"""`sweeper doctor`: what each accident looks like, what it offers, what it leaves alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import filling
from sweeper.check import doctor
from sweeper.check.doctor import Verdict, machine, storefile, workers
from sweeper.cli import app
from sweeper.machine.devices import MIB, Gpu
from sweeper.store import claims, connection, fenced, process, reads, schema, writes
from sweeper.store.connection import Store
from sweeper.words.errors import StoreError
from sweeper.words.records import StudyState, TrialState

DEAD = 2**22 + 1
"""A process number that Linux gives to nobody."""


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(machine.devices, "gpus", lambda: [])


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'sweeper.db'}"


@pytest.fixture
def filled(url, tmp_path):
    """Trial 0 complete with two checkpoints on the disk; trial 1 in the hands of this process, at epoch 2 of 4."""
    store, study = filling.study(url, folder=str(tmp_path / "runs" / "digits"))
    hand = filling.worker(store, study)
    lease = filling.begin(store, study, hand, 4, 0.5)
    for epoch in (2, 3):
        save(store, lease, tmp_path, epoch)
    fenced.finish(store, lease, TrialState.COMPLETE, value=0.5, seconds=1.0)
    lease = filling.begin(store, study, hand, 2, 0.4)
    save(store, lease, tmp_path, 1)
    store.close()
    return url


def folder(tmp_path, number):
    return tmp_path / "runs" / "digits" / f"{number:04d}" / "checkpoints"


def save(store, lease, tmp_path, epoch):
    import hashlib

    path = folder(tmp_path, lease.number) / f"epoch={epoch:04d}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content := bytes([epoch]) * 1000)
    row = {"epoch": epoch, "path": f"checkpoints/{path.name}", "sha256": hashlib.sha256(content).hexdigest()}
    fenced.add_checkpoint(store, lease, {**row, "size_bytes": 1000, "value": 0.5})


def finding(url, check, **more):
    (found,) = [each for each in doctor.examine(url, **more) if each.name == check]
    return found


def wrong(url, **more):
    return {each.name: each for each in doctor.examine(url, **more) if each.verdict is Verdict.FAILS}


def repair(url, check, **more):
    """Do what is offered for a check; what was done, in words."""
    return [each.do() for each in finding(url, check, **more).repairs]


def set_columns(url, table, **values):
    with Store(url).write() as writing:
        writing.execute(table.update().values(**values))


def state(url, number):
    return reads.trial(Store(url), 1, number)["state"]


def ask(*words, code=0, **more):
    result = CliRunner().invoke(app, ["doctor", *words], **more)
    assert result.exit_code == code, result.output
    return result


# ---- a sound store ---------------------------------------------------------------------------------------------------


def test_a_study_that_runs_is_sound(filled, tmp_path):
    before = sorted((path, path.stat().st_mtime) for path in (tmp_path / "runs").rglob("*"))
    found = doctor.examine(filled, deep=True)
    assert {each.name: each.sentence for each in found if each.verdict is not Verdict.PASSES} == {}
    assert not any(each.repairs for each in found)
    assert [each.name for each in found] == (
        "store integrity journal clock budget workers leases checkpoints orphans disk leftovers torch gpus".split()
    )
    assert before == sorted((path, path.stat().st_mtime) for path in (tmp_path / "runs").rglob("*"))


def test_an_empty_store_is_sound(url):
    Store(url, create=True).close()
    assert wrong(url) == {}


def test_the_command_has_a_line_for_each_check(filled):
    text = ask("--store", filled).stdout
    assert "✓ workers     1 alive" in text
    assert "Nothing is wrong." in text
    rows = json.loads(ask("--store", filled, "--format", "json").stdout)
    assert {row["verdict"] for row in rows} == {"fine"}
    assert ask("--store", filled, "--format", "csv").stdout.startswith("check,verdict,message")
    assert "can be repaired" in ask("--store", filled, "--fix").stderr


def test_one_study_alone(filled):
    filling.study(filled, "other")
    set_columns(filled, schema.studies, granted_epochs=99)
    assert len(finding(filled, "budget").problems) == 2
    assert len(finding(filled, "budget", study="other").problems) == 1
    assert "it holds" in ask("--store", filled, "--study", "third", code=1).stderr


# ---- the store -------------------------------------------------------------------------------------------------------

UNSOUND = {
    "missing": (lambda path: path.unlink(), "no store at"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "foreign": (lambda path: path.write_text("lr: 0.1\n" * 99), "another kind of file"),
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_what_is_no_store_is_told_and_left_alone(url, tmp_path, kind, monkeypatch):
    spoil, word = UNSOUND[kind]
    Store(url, create=True).close()
    spoil(tmp_path / "sweeper.db")
    monkeypatch.setattr(connection, "_looked_at", set())  # as in a process that has not met the file before
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert word in wrong(url)["store"].sentence
    assert "Nothing that is wrong can be repaired" in ask("--fix", "--yes", "--store", url, code=1).stderr
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_network_file_system_is_wrong(filled, monkeypatch):
    monkeypatch.setattr("sweeper.store.connection.file_system", lambda path: "nfs4")
    assert "nfs4" in wrong(filled)["store"].sentence


def test_a_url_that_is_no_store_is_an_error():
    assert "error: A store is a URL" in ask("--store", "nonsense", code=1).stderr


def spoil_page(path, page):
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\7" * 4096)


def page_of(url, table):
    """Where the table begins; the store is closed before anything else opens the file."""
    store = Store(url)
    with store.read() as reading:
        query = f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'"
        page = reading.exec_driver_sql(query).scalar() - 1
    store.close()
    return page


def test_a_damaged_store_is_never_written_to_and_what_can_be_read_is_saved(filled, tmp_path):
    page = page_of(filled, "workers")
    here = [sys.executable, "-c", "from sweeper.cli import main; main()", "doctor", "--store", filled]
    spoil_page(tmp_path / "sweeper.db", page)
    (tmp_path / "runs" / "digits" / "0000" / "checkpoints" / "epoch=0000.pt").write_bytes(b"")
    before = (tmp_path / "sweeper.db").read_bytes()
    rows = {row["check"]: row for row in json.loads(run([*here, "--format", "json"], 1).stdout)}
    assert rows["integrity"]["verdict"] == "wrong"
    assert [check for check, row in rows.items() if row["repairs"]] == ["integrity"]
    assert "saved" in run([*here, "--fix", "--yes"], 1).stderr
    assert (tmp_path / "sweeper.db").read_bytes() == before
    (saved,) = tmp_path.glob("sweeper.db.saved-*")
    store = Store(f"sqlite:///{saved}")
    assert [trial.epochs_done for trial in reads.all_trials(store, 1)] == [4, 2]
    assert len(reads.epoch_reports(store, 1)) == 6
    assert reads.worker_rows(store, 1) == []
    assert finding(f"sqlite:///{saved}", "integrity").verdict is Verdict.PASSES
    assert len(list(tmp_path.glob("sweeper.db.damaged-*"))) == 1


def test_a_store_whose_studies_cannot_be_read_is_wrong(filled):
    with Store(filled).write() as writing:
        writing.exec_driver_sql("ALTER TABLE studies RENAME COLUMN metric TO metrik")
    assert "no such column" in wrong(filled)["studies"].sentence


def test_of_a_store_without_its_first_page_nothing_is_saved(filled, tmp_path):
    with (tmp_path / "sweeper.db").open("r+b") as file:
        file.seek(100)
        file.write(b"\7" * 3996)
    found = finding(filled, "store")
    assert "damaged" in found.sentence
    with pytest.raises(StoreError, match="Nothing could be saved"):
        found.repairs[0].do()
    assert not list(tmp_path.glob("*.saved-*"))


def test_a_half_made_store_of_a_dead_process_is_deleted_and_of_a_living_one_not(filled, tmp_path):
    dead = tmp_path / f".sweeper.db.{DEAD}-0123abcd"
    living = tmp_path / f".sweeper.db.{os.getpid()}-0123abcd"
    dead.touch(), living.touch()
    assert str(dead.name) in wrong(filled)["leftovers"].problems[0]
    assert len(repair(filled, "leftovers")) == 1
    assert (dead.exists(), living.exists()) == (False, True)


def test_a_journal_without_its_store_is_wrong_and_stays(url, tmp_path):
    (tmp_path / "sweeper.db-wal").write_bytes(b"x")
    assert "sweeper.db-wal" in wrong(url)["leftovers"].problems[0]
    assert repair(url, "leftovers") == []
    with pytest.raises(StoreError, match="left of one that is gone"):
        Store(url, create=True)


def test_a_clock_that_was_set_back_is_wrong(filled, monkeypatch):
    set_columns(filled, schema.workers, beat=time.time() + 600)
    assert "9 min 5" in wrong(filled)["clock"].sentence or "10 min" in wrong(filled)["clock"].sentence
    set_columns(filled, schema.workers, beat=time.time())
    monkeypatch.setattr(storefile.time, "time", lambda real=time.time: real() - 60)
    assert "ahead of this host's" in wrong(filled)["clock"].sentence


# ---- budget ----------------------------------------------------------------------------------------------------------


def test_books_that_do_not_balance(filled):
    set_columns(filled, schema.studies, granted_epochs=9, next_number=3)
    assert finding(filled, "budget").problems == (
        "digits: the next number is 3, but there are 2 trials up to number 1",
        "digits: 9 epochs are granted, but those of the trials are 8",
    )


def test_a_complete_trial_without_all_its_epochs(filled):
    with Store(filled).write() as writing:
        writing.execute(schema.epochs.delete().where(schema.epochs.c.number == 0, schema.epochs.c.epoch == 1))
    assert finding(filled, "budget").problems == ("digits: trial 0 is COMPLETE with 4 epochs, but 3 are there",)


# ---- workers and leases ----------------------------------------------------------------------------------------------


def test_the_trials_of_a_dead_worker_go_back(filled):
    set_columns(filled, schema.workers, pid=DEAD)
    assert "is dead" in wrong(filled)["workers"].problems[0]
    assert "give its trial back" in ask("--fix", "--store", filled, code=1, input="n\n").stderr
    assert state(filled, 1) == "RUNNING"
    result = ask("--fix", "--store", filled, input="y\n")
    assert "ended worker 1" in result.stderr
    assert "Nothing is wrong" in result.stdout
    assert state(filled, 1) == "WAITING"


def test_a_worker_that_came_back_to_life_is_left_alone(filled, monkeypatch):
    set_columns(filled, schema.workers, pid=DEAD)
    (offer,) = finding(filled, "workers").repairs
    monkeypatch.setattr(process, "is_alive", lambda pid, started: True)
    assert "left alone" in offer.do()
    assert state(filled, 1) == "RUNNING"


def test_a_silent_worker_is_told_how_to_end_and_not_ended(filled):
    set_columns(filled, schema.workers, beat=time.time() - 600)
    found = wrong(filled)["workers"]
    assert f"kill -9 {os.getpid()}" in found.problems[0]
    assert found.repairs == ()


def test_a_worker_of_another_host_cannot_be_told(filled):
    set_columns(filled, schema.workers, host="elsewhere", pid=DEAD)
    assert finding(filled, "workers").verdict is Verdict.PASSES
    set_columns(filled, schema.workers, beat=time.time() - 600)
    found = finding(filled, "workers")
    assert (found.verdict, found.repairs) == (Verdict.UNKNOWN, ())


def test_a_worker_that_lost_its_driver_is_in_doubt(filled):
    set_columns(filled, schema.workers, driver_pid=DEAD, driver_started=1.0)
    assert "lost its driver" in finding(filled, "workers").problems[0]


@pytest.mark.parametrize("ahead", [-600, 6000])
def test_a_void_lease_of_a_silent_host_is_given_back(filled, ahead, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE_SECONDS", 0.1)
    set_columns(filled, schema.workers, host="elsewhere", beat=time.time() - 600)
    set_columns(filled, schema.trials, lease_expires=time.time() + ahead)
    assert "trial 1 is RUNNING, but its lease" in wrong(filled)["leases"].problems[0]
    assert repair(filled, "leases") == ["trial 1 waits for a worker"]
    assert (state(filled, 0), state(filled, 1)) == ("COMPLETE", "WAITING")


def test_a_lease_that_is_renewed_meanwhile_is_left_alone(filled, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE_SECONDS", 0.1)
    set_columns(filled, schema.workers, host="elsewhere", beat=time.time() - 600)
    set_columns(filled, schema.trials, lease_expires=time.time() - 600)
    (offer,) = finding(filled, "leases").repairs
    set_columns(filled, schema.trials, lease_expires=time.time() + 60)
    assert "left alone" in offer.do()
    assert state(filled, 1) == "RUNNING"


def test_a_void_lease_of_a_living_worker_is_left_to_it(filled):
    set_columns(filled, schema.trials, lease_expires=time.time() - 600)
    found = finding(filled, "leases")
    assert (found.verdict, found.repairs) == (Verdict.UNKNOWN, ())


def test_a_trial_whose_worker_has_ended_is_given_back(filled):
    set_columns(filled, schema.workers, ended=time.time(), ending="finished")
    assert "its worker has ended" in wrong(filled)["leases"].problems[0]
    assert repair(filled, "leases") == ["trial 1 waits for a worker"]


def test_a_real_worker_that_is_killed(url, tmp_path):
    """Its process held a trial; nobody has seen its end."""
    code = """
        import os, runpy, signal, sys
        filling = runpy.run_path(sys.argv[2])
        store, study = filling["study"](sys.argv[1])
        filling["begin"](store, study, filling["worker"](store, study), 1, 0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    words = [sys.executable, "-c", "\n".join(map(str.strip, code.splitlines())), url]
    died = subprocess.run([*words, str(Path(__file__).parent.parent / "filling.py")], check=False)
    assert died.returncode == -signal.SIGKILL
    assert set(wrong(url)) == {"workers"}
    ask("--fix", "--yes", "--store", url)
    assert state(url, 0) == "WAITING"


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def test_damaged_checkpoints_are_found_and_forgotten(filled, tmp_path):
    (folder(tmp_path, 0) / "epoch=0002.pt").unlink()
    (folder(tmp_path, 0) / "epoch=0003.pt").write_bytes(b"short")
    found = wrong(filled)["checkpoints"]
    assert found.problems == (
        "digits: trial 0: checkpoints/epoch=0002.pt is missing",
        "digits: trial 0: checkpoints/epoch=0003.pt has 5 bytes, and not 1,000",
    )
    assert repair(filled, "checkpoints") == ["forgot 2 checkpoints of digits"]
    assert reads.checkpoint_rows(Store(filled), 1, 0) == []
    assert (folder(tmp_path, 0) / "epoch=0003.pt").exists()
    events = reads.event_rows(Store(filled), 1)
    assert sum(event["kind"] == "forgot" and "sha256" in event["message"] for event in events) == 2


def test_a_flipped_bit_is_found_by_reading_all(filled, tmp_path):
    (folder(tmp_path, 0) / "epoch=0003.pt").write_bytes(b"\3" * 999 + b"\2")
    assert wrong(filled) == {}
    assert wrong(filled, deep=True)["checkpoints"].problems == (
        "digits: trial 0: checkpoints/epoch=0003.pt has changed",
    )
    repair(filled, "checkpoints", deep=True)
    assert [row["epoch"] for row in reads.checkpoint_rows(Store(filled), 1, 0)] == [2]


def test_a_checkpoint_that_was_put_back_is_not_forgotten(filled, tmp_path):
    file = folder(tmp_path, 0) / "epoch=0003.pt"
    content = file.read_bytes()
    file.unlink()
    (offer,) = finding(filled, "checkpoints").repairs
    file.write_bytes(content)
    assert offer.do() == "forgot 0 checkpoints of digits"


def test_the_checkpoints_of_a_trial_that_trains_are_left_to_its_worker(filled, tmp_path):
    (folder(tmp_path, 1) / "epoch=0001.pt").write_bytes(b"torn")
    found = wrong(filled)["checkpoints"]
    assert (len(found.problems), found.repairs) == (1, ())


def test_of_a_folder_that_is_not_there_nothing_is_forgotten(filled, tmp_path):
    shutil.move(tmp_path / "runs" / "digits", tmp_path / "away")
    found = wrong(filled)["checkpoints"]
    assert "not mounted?" in found.problems[-1]
    assert found.repairs == ()
    (tmp_path / "runs" / "digits").mkdir()  # an empty mount point
    assert finding(filled, "checkpoints").repairs == ()


# ---- orphans ---------------------------------------------------------------------------------------------------------


def put(path, age_seconds=600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"orphan")
    os.utime(path, (time.time() - age_seconds,) * 2)
    return path


def test_orphans_of_a_finished_trial_are_deleted_by_name(filled, tmp_path):
    here = folder(tmp_path, 0)
    gone = [put(here / "epoch=0000-val_loss=0.5.pt"), put(here / "epoch=0001.pt.tmp-12-abcd")]
    stay = [put(here / "notes.txt"), put(here / "epoch=0001.pt.bak"), put(here.parent / "epoch=0001.pt")]
    found = wrong(filled)["orphans"]
    assert [Path(name).name for name in found.repairs[0].names] == [path.name for path in gone]
    assert repair(filled, "orphans") == ["deleted 2 files of trial 0 of digits"]
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stay)
    assert wrong(filled) == {}
    assert len(list(here.glob("epoch=000[23].pt"))) == 2


def test_what_is_newer_than_its_trial_s_end_may_be_another_store_s(filled, tmp_path):
    """A copy of the store of yesterday must not delete today's checkpoints."""
    put(folder(tmp_path, 0) / "epoch=0004.pt", age_seconds=-5)
    found = finding(filled, "orphans")
    assert (found.verdict, found.repairs) == (Verdict.UNKNOWN, ())


def test_orphans_of_an_open_trial_are_left_to_the_next_worker(filled, tmp_path):
    put(folder(tmp_path, 1) / "epoch=0000.pt")
    found = finding(filled, "orphans")
    assert (found.verdict, found.repairs) == (Verdict.PASSES, ())
    assert "1 more will be swept" in found.sentence


def test_a_trial_that_was_put_back_meanwhile_keeps_its_files(filled, tmp_path):
    orphan = put(folder(tmp_path, 0) / "epoch=0000.pt")
    (offer,) = finding(filled, "orphans").repairs
    set_columns(filled, schema.trials, state="RUNNING")
    assert offer.do() == "deleted 0 files of trial 0 of digits"
    assert orphan.exists()


def test_a_folder_without_a_trial_is_told_and_stays(filled, tmp_path):
    put(tmp_path / "runs" / "digits" / "0042" / "checkpoints" / "epoch=0000.pt")
    found = wrong(filled)["orphans"]
    assert found.problems == ("runs/digits/0042: the store has no trial 42",)
    assert found.repairs == ()


def test_what_a_link_leads_to_is_never_deleted(filled, tmp_path):
    precious = put(tmp_path / "elsewhere" / "epoch=0000.pt")
    shutil.rmtree(folder(tmp_path, 0))
    folder(tmp_path, 0).symlink_to(tmp_path / "elsewhere")
    assert finding(filled, "orphans").repairs == ()
    assert precious.exists()


# ---- room and machine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "verdict"), [(10**6, Verdict.FAILS), (10**8, Verdict.UNKNOWN), (10**12, Verdict.PASSES)]
)
def test_room(filled, monkeypatch, free, verdict):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with Store(filled).write() as writing:  # six more trials of 30 MB a checkpoint; one worker trains
        writing.execute(schema.checkpoints.update().values(size_bytes=8 * 10**6))
    found = finding(filled, "disk")
    assert found.verdict is verdict
    assert "144 MB needed until the budget is spent" in (found.sentence + str(found.problems)) or free == 10**6


def test_gpus_that_torch_does_not_see_are_wrong(monkeypatch):
    gpu = Gpu(0, "GPU-1", "H200", 1000 * MIB, 50 * MIB)
    monkeypatch.setattr(machine.devices, "gpus", lambda: [gpu])
    monkeypatch.setattr(machine, "ASK_TORCH", "print(0)")
    assert machine.torch().verdict is Verdict.FAILS
    monkeypatch.setattr(machine, "ASK_TORCH", "print(1)")
    assert machine.torch().verdict is Verdict.PASSES
    monkeypatch.setattr(machine, "ASK_TORCH", "raise ImportError")
    assert machine.torch().verdict is Verdict.UNKNOWN
    assert machine.gpus().verdict is Verdict.UNKNOWN


def test_a_pause_or_a_stop_is_not_wrong(filled):
    writes.set_state(Store(filled), 1, StudyState.STOPPED, "enough")
    assert wrong(filled) == {}


# ---- every backend ---------------------------------------------------------------------------------------------------


def test_a_store_of_any_kind_is_looked_over_and_repaired(any_store, begin, hire, take):
    url = any_store.url.render_as_string(hide_password=False)
    study = begin(any_store, budget=4, epochs=2)
    first, second = hire(any_store, study, pid=DEAD), hire(any_store, study)
    lost = take(any_store, study, first)
    kept = take(any_store, study, second)
    with any_store.write() as writing:
        row = {
            "study_id": study.id,
            "number": lost.number,
            "epoch": 0,
            "attempt": 1,
            "path": "checkpoints/epoch=0000.pt",
        }
        more = {"sha256": "0", "size_bytes": 1, "value": 1.0, "created": 1.0}
        writing.execute(schema.checkpoints.insert().values(**row, **more))
    (Path(study.folder) / f"{lost.number:04d}").mkdir(parents=True)
    assert set(wrong(url)) == {"workers", "checkpoints"}
    assert repair(url, "workers") == ["ended worker 1"]
    assert repair(url, "checkpoints") == ["forgot 1 checkpoint of demo"]
    claims.end_worker(any_store, second, "left")
    given_back = reads.all_trials(any_store, study.id)
    assert [trial.state for trial in given_back] == [TrialState.WAITING, TrialState.WAITING]
    assert kept.number == 1
    assert wrong(url) == {}


# ---- many at once ----------------------------------------------------------------------------------------------------


def test_a_sound_store_of_a_study_that_trains_hard_stays_sound(url, tmp_path):
    """A worker reports, saves and throws away while the doctor looks again and again."""
    code = """
        import runpy, sys
        from pathlib import Path
        from types import SimpleNamespace
        sys.path.insert(0, str(Path(sys.argv[2]).parents[1]))
        tests = runpy.run_path(sys.argv[2])
        filling, tmp = tests["filling"], Path(sys.argv[3])
        store, study = filling.study(sys.argv[1], budget=10_000, folder=str(tmp / "runs" / "digits"))
        hand = filling.worker(store, study)
        print("ready", flush=True)
        while True:
            lease = filling.begin(store, study, hand, 4, 0.5)
            for epoch in range(4):
                tests["save"](store, lease, tmp, epoch)
            filling.fenced.add_checkpoint(
                store, lease, {"epoch": 0, "path": "x", "sha256": "", "size_bytes": 0, "value": None}, [0, 1])
            for epoch in range(2):
                (tests["folder"](tmp, lease.number) / f"epoch={epoch:04d}.pt").unlink()
            filling.fenced.finish(store, lease, filling.TrialState.COMPLETE, value=0.5)
    """
    words = [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines()), url, __file__, str(tmp_path)]
    worker = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        worker.stdout.readline()
        for _ in range(12):
            found = wrong(url, deep=True)
            assert found == {}, found
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.communicate()
    assert set(wrong(url)) <= {"workers"}


def run(words, code):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_the_doctor_imports_nothing_heavy(filled):
    heavy = "print(sorted({'torch', 'optuna', 'pandas', 'hydra'} & set(sys.modules)), file=sys.stderr)"
    code = f"import sys\nfrom sweeper.cli import main\ntry:\n    main()\nfinally:\n    {heavy}"
    assert run([sys.executable, "-c", code, "doctor", "--store", filled], 0).stderr.strip() == "[]"


def test_claims_go_on_after_a_repair(filled):
    set_columns(filled, schema.workers, pid=DEAD)
    ask("--fix", "--yes", "--store", filled)
    store = Store(filled)
    hand = filling.worker(store, 1)
    again = claims.claim(store, 1, hand, grant_epochs=4)
    assert (again.number, again.attempt, again.epochs_done) == (1, 2, 2)
