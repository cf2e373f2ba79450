"""The tables and views of the study store, its version, and the way from older versions to this one.

Times are seconds since 1970 (UTC) by the database's own clock, so that workers on several hosts agree. JSON columns
hold plain values; nothing in the store is ever unpickled. The views `v_trials`, `v_epochs` and `v_best` are a contract
for people who ask in SQL; the tables are not.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

SCHEMA_VERSION = 3
FIRST_VERSION = 3
"""The oldest that is led to this one."""
APPLICATION_ID = int.from_bytes(b"SWPR", "big")
"""SQLite's mark in a file's header: whose file it is, readable without opening the database."""

metadata = sa.MetaData()


class now(sa.sql.functions.FunctionElement[float]):
    """The database's clock: seconds since 1970 (UTC), with fractions."""

    type = sa.Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


meta = sa.Table(
    "sweeper_meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(128), nullable=False, unique=True),
    sa.Column("created", sa.Double, nullable=False, default=now()),
    sa.Column("state", sa.String(16), nullable=False, default="OPEN"),
    sa.Column("metric", sa.String(128), nullable=False),
    sa.Column("direction", sa.String(16), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    # the definition, frozen when the study starts
    sa.Column("space", sa.JSON, nullable=False),
    sa.Column("plan", sa.JSON, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    # the budget: full trainings as the person wrote it, and what it is in epochs (1 a trial where epochs are unknown)
    sa.Column("budget", sa.Double, nullable=False),
    sa.Column("full_epochs", sa.Integer),
    sa.Column("budget_epochs", sa.Integer, nullable=False),
    sa.Column("granted_epochs", sa.Integer, nullable=False, default=0),
    sa.Column("next_number", sa.Integer, nullable=False, default=0),
    # rises with every change of a trial, so that a worker can ask for what is new
    sa.Column("revision", sa.BigInteger, nullable=False, default=0),
    sa.Column("failures_in_a_row", sa.Integer, nullable=False, default=0),
    sa.Column("message", sa.Text),
    # how many workers a person wants since the last start; NULL: as many as that start's command said
    sa.Column("workers", sa.Integer),
    # the revision at which the best trials were chosen to be confirmed; NULL: they are not yet
    sa.Column("confirmed", sa.BigInteger),
)

stages = sa.Table(
    "stages",
    metadata,
    sa.Column("study_id", sa.ForeignKey("studies.id"), primary_key=True),
    sa.Column("stage", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("epochs", sa.Integer),
    sa.Column("sampler", sa.JSON, nullable=False),
    sa.Column("ranges", sa.JSON, nullable=False),
    sa.Column("created", sa.Double, nullable=False, default=now()),
)

# the ranges that a study searched, one row a move: widened, narrowed, or set by the person; none: as it began
moves = sa.Table(
    "moves",
    metadata,
    sa.Column("study_id", sa.ForeignKey("studies.id"), primary_key=True),
    sa.Column("move", sa.Integer, primary_key=True),
    sa.Column("time", sa.Double, nullable=False, default=now()),
    sa.Column("stage", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("space", sa.JSON, nullable=False),
    sa.Column("trials", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("user", sa.String(128)),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.ForeignKey("studies.id"), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process_started", sa.Double),
    sa.Column("device", sa.String(64), nullable=False),
    sa.Column("slot", sa.String(64)),
    sa.Column("threads", sa.Integer),
    # versions, threads and processor when it began
    sa.Column("environment", sa.JSON),
    sa.Column("engine", sa.String(64), nullable=False),
    sa.Column("driver_pid", sa.Integer),
    sa.Column("driver_started", sa.Double),
    sa.Column("log", sa.Text),
    # so many failed trials in a row stop the study, says who started it; NULL: none do
    sa.Column("max_failures", sa.Integer),
    sa.Column("started", sa.Double, nullable=False, default=now()),
    sa.Column("beat", sa.Double, nullable=False, default=now()),
    sa.Column("ended", sa.Double),
    sa.Column("ending", sa.String(32)),
    # its device at the last beat: load 0..1 and memory in use; a CPU's are those of the worker's own process
    sa.Column("load", sa.Double),
    sa.Column("memory_bytes", sa.BigInteger),
    sa.Column("memory_total_bytes", sa.BigInteger),
    sa.Index("ix_workers_study", "study_id", "ended"),
)

# the devices on which the last trials failed; nothing bad is known of one that is not here
failing_devices = sa.Table(
    "failing_devices",
    metadata,
    sa.Column("study_id", sa.ForeignKey("studies.id"), primary_key=True),
    sa.Column("device", sa.String(384), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    # the trials of these that were not put back yet
    sa.Column("numbers", sa.JSON, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("pauses", sa.Integer, nullable=False),
    sa.Column("paused_until", sa.Double),
    sa.Column("message", sa.Text),
    sqlite_with_rowid=False,
)

trials = sa.Table(
    "trials",
    metadata,
    sa.Column("study_id", sa.ForeignKey("studies.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("stage", sa.Integer, nullable=False, default=0),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("failure", sa.String(16)),
    sa.Column("message", sa.Text),
    sa.Column("traceback", sa.Text),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("params", sa.JSON),
    sa.Column("value", sa.Double),
    sa.Column("metrics", sa.JSON),
    sa.Column("epochs_done", sa.Integer, nullable=False, default=0),
    sa.Column("target_epochs", sa.Integer),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("kills", sa.Integer, nullable=False, default=0),
    # after it ran out of memory: it is tried once more with its device to itself
    sa.Column("alone", sa.Boolean, nullable=False, default=False),
    # the device that is to blame: it was paused, and the trial put back after it failed there
    sa.Column("failed_on", sa.Text),
    # why it is left out of the best and out of what the sampler is told; NULL: it is not
    sa.Column("hidden", sa.Text),
    # the trial that it confirms: the same params with another seed; NULL: it is one of the search
    sa.Column("repeats", sa.Integer),
    # what was trained and had to be trained once more, after a kill or a lost checkpoint
    sa.Column("repeated_epochs", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("repeated_seconds", sa.Double, nullable=False, default=0.0, server_default="0"),
    sa.Column("worker_id", sa.ForeignKey("workers.id")),
    sa.Column("lease_expires", sa.Double),
    sa.Column("created", sa.Double, nullable=False, default=now()),
    sa.Column("started", sa.Double),
    sa.Column("finished", sa.Double),
    sa.Column("seconds", sa.Double, nullable=False, default=0.0),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("ix_trials_state", "study_id", "state", "value"),
    sa.Index("ix_trials_revision", "study_id", "revision"),
)

OPEN_TRIALS = "CREATE INDEX IF NOT EXISTS ix_trials_open ON trials (study_id, number) WHERE finished IS NULL"
"""The few that are not finished: what every claim asks for. As an `Index` it would load PostgreSQL's dialect."""

epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("study_id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("reported", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(["study_id", "number"], ["trials.study_id", "trials.number"]),
    sqlite_with_rowid=False,
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("study_id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    # relative to the trial's folder, so that a moved study is found again
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("created", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(["study_id", "number"], ["trials.study_id", "trials.number"]),
    sqlite_with_rowid=False,
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.ForeignKey("studies.id"), nullable=False),
    sa.Column("time", sa.Double, nullable=False, default=now()),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("number", sa.Integer),
    sa.Column("worker_id", sa.Integer),
    sa.Column("user", sa.String(128)),
    sa.Column("message", sa.Text, nullable=False),
    sa.Index("ix_events_study", "study_id", "id"),
)

VIEWS = {
    "v_trials": """
        SELECT s.name AS study, t.number, t.state, t.failure, t.stage, t.value, t.epochs_done, t.target_epochs,
               t.seconds, t.params, t.metrics, t.seed, t.attempt, t.created, t.started, t.finished,
               w.host, w.device, t.message, t.hidden, t.repeats
        FROM trials t JOIN studies s ON s.id = t.study_id LEFT JOIN workers w ON w.id = t.worker_id""",
    "v_epochs": """
        SELECT s.name AS study, e.number, e.epoch, e.value, e.metrics, e.seconds, e.reported
        FROM epochs e JOIN studies s ON s.id = e.study_id""",
    "v_best": """
        SELECT s.name AS study, row_number() OVER (
                 PARTITION BY t.study_id
                 ORDER BY CASE WHEN s.direction = 'maximize' THEN -t.value ELSE t.value END, t.number) AS rank,
               t.number, s.metric, t.value, t.epochs_done, t.params
        FROM trials t JOIN studies s ON s.id = t.study_id
        WHERE t.state = 'COMPLETE' AND t.value IS NOT NULL AND t.hidden IS NULL
              AND t.repeats IS NULL""",
}

MIGRATIONS: dict[int, list[str]] = {}
"""For each version from `FIRST_VERSION` on, the statements that lead to the next one; run in one transaction."""


def create(connection: sa.Connection) -> None:
    """Make all tables and views in an empty database and stamp it with the schema version."""
    metadata.create_all(connection)
    connection.execute(sa.text(OPEN_TRIALS))
    create_views(connection)
    connection.execute(meta.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
    _mark(connection)


def create_views(connection: sa.Connection) -> None:
    for name, select in VIEWS.items():
        connection.execute(sa.text(f"CREATE VIEW {name} AS {select}"))


def drop_views(connection: sa.Connection) -> None:
    for name in VIEWS:
        connection.execute(sa.text(f"DROP VIEW IF EXISTS {name}"))


def migrate(connection: sa.Connection, version: int) -> None:
    """Lead a store of an older `version` to this one, inside the caller's transaction."""
    drop_views(connection)  # a view would hold on to a column that is dropped
    for step in range(version, SCHEMA_VERSION):
        for statement in MIGRATIONS[step]:
            connection.execute(sa.text(statement))
    metadata.create_all(connection)  # tables that are new
    create_views(connection)
    connection.execute(meta.update().where(meta.c.key == "schema_version").values(value=str(SCHEMA_VERSION)))
    _mark(connection)


def _mark(connection: sa.Connection) -> None:
    """Whose file it is and its version, in SQLite's own header too."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
