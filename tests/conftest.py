"""What tests of several rooms share: an empty store, a study in it, a worker of it, a trial in its hands."""

from __future__ import annotations

import multiprocessing.util
import os
import signal
import sys
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

from sweeper.engine.opening import StudySettings, open_study
from sweeper.machine import supervisor
from sweeper.search.space import Float, SearchSpace
from sweeper.store import claims, process
from sweeper.store.connection import Store
from sweeper.words.records import Lease
from sweeper.words.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))  # for the tests that start `forks`

multiprocessing.util.get_temp_dir()  # for sockets, whose paths must be short: some tests move the temporary folder
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # under nohup, or in the background of a script: inherited by all
    signal.signal(signal.SIGINT, signal.default_int_handler)

POSTGRES = os.environ.get("SWEEPER_TEST_POSTGRES")
"""A server's URL, as postgresql://user@localhost/name: the store's contract is then tested on it too."""


@pytest.fixture(scope="session", autouse=True)
def on_path():
    """As in an activated environment: what is printed says `sweeper` and `python` by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture
def forked(monkeypatch):
    """Whatever sweeper starts as a Python of its own is forked: the same program, whose imports cost seconds."""
    import forks

    for starting in (process, supervisor):
        monkeypatch.setattr(starting, "subprocess", forks)


@pytest.fixture
def store(tmp_path):
    made = Store(f"sqlite:///{tmp_path / 'sweeper.db'}", create=True)
    yield made
    made.close()


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.skipif(not POSTGRES, reason="no server is named"))]
)
def any_store(request, tmp_path):
    """An empty store of each backend; on a server in a schema of its own."""
    if request.param == "sqlite":
        yield request.getfixturevalue("store")
        return
    url = sa.make_url(POSTGRES).set(drivername="postgresql+psycopg")
    schema, server = f"test_{uuid.uuid4().hex}", sa.create_engine(url)
    with server.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    own = url.update_query_dict({"options": f"-csearch_path={schema}"})
    made = Store(own.render_as_string(hide_password=False), create=True)
    yield made
    made.close()
    with server.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    server.dispose()


@pytest.fixture
def settings(tmp_path):
    """`settings(budget=4, …)`: what a person asked for, a random search over `x` in [0, 1]."""

    def make(*, name="demo", space=None, config=None, **more):
        values = {"search": "random", "metric": "val_loss", "budget": 4, "folder": tmp_path / "runs"}
        asked = Settings(study=name, space={}, **{**values, **more})
        space = SearchSpace((Float("x", 0.0, 1.0),)) if space is None else space
        return StudySettings.of(asked, space, config or {})

    return make


@pytest.fixture
def begin(settings):
    """`begin(store, budget=4, …)`: a study that has just been opened."""

    def open_one(store, **more):
        return open_study(store, settings(**more))

    return open_one


@pytest.fixture
def hire():
    """`hire(store, study)`: the id of a worker of this process."""

    def hire_one(store, study, **more):
        row = {"host": process.host(), "pid": os.getpid(), "device": "cpu", "engine": "test"}
        return claims.add_worker(store, study.id, **{**row, "process_started": None, **more})

    return hire_one


@pytest.fixture
def study(store, begin):
    return begin(store)


@pytest.fixture
def worker(store, study, hire):
    return hire(store, study)


@pytest.fixture
def take():
    """`take(store, study, worker)`: claim a trial; its lease."""

    def take_one(store, study, worker, **more):
        record = claims.claim(store, study.id, worker, grant_epochs=study.full_epochs, **more)
        return Lease(record.study_id, record.number, record.attempt, worker)

    return take_one


@pytest.fixture
def one_thread():
    """A sum's order, and so its last bits, depend on the number of threads; other tests keep their own count."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
