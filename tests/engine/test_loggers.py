"""Loggers: what they are told and when, when one breaks, and what TensorBoard, MLflow and W&B have in the end."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import struct
from pathlib import Path

import numpy
import pytest
import torch

import sweeper
from sweeper.engine import loggers
from sweeper.engine.loggers import asked, made
from sweeper.engine.loggers.audience import PATIENCE, Audience
from sweeper.engine.loggers.logger import LoggedTrial
from sweeper.store import reads
from sweeper.store.connection import Store, default_url
from sweeper.words.errors import ConfigError, TrialInterrupted
from sweeper.words.records import EpochReport, Failure, TrialState

SPACE = {"x": "interval(0, 1)", "optimizer": ["sgd", "adam"]}


class Notes:
    """A logger that writes down what it is told."""

    def __init__(self):
        self.told = []

    def begin(self, trial):
        self.told.append(("begin", trial))

    def epoch(self, report):
        self.told.append(("epoch", report.epoch, dict(report.metrics)))

    def end(self, state, value, failure):
        self.told.append(("end", state, value, failure))

    @property
    def words(self):
        return [each[0] if each[0] != "epoch" else each[1] for each in self.told]


class Broken(Notes):
    """Breaks where it is told to, and counts how often it was asked."""

    def __init__(self, at):
        super().__init__()
        self.at, self.asked = at, 0

    def begin(self, trial):
        self._break("begin")

    def epoch(self, report):
        self._break("epoch")

    def end(self, state, value, failure):
        self._break("end")

    def _break(self, where):
        if where == self.at:
            self.asked += 1
            raise OSError("no network")


@pytest.fixture
def run(tmp_path):
    def in_folder(train, *told_to, **more):
        values = {"study": "demo", "space": SPACE, "budget": 1, "epochs": 5, "metric": "val_loss", "search": "random"}
        return sweeper.run(train, folder=tmp_path, loggers=told_to, **{**values, **more})

    return in_folder


@pytest.fixture
def run_killed(run):
    """`run_killed(train, …)`: a run in a process of its own that `train` kills with `kill_once()`; then again, here."""

    def twice(train, *told_to, **more):
        pid = os.fork()
        if pid == 0:
            try:
                run(train, *told_to, **more)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        return run(train, *told_to, **more)

    return twice


def kill_once(trial):
    if not (marker := trial.folder / "killed").exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def with_state(trial):
    """Killed in its fourth epoch, it goes on there."""
    model = torch.nn.Linear(1, 1)
    for epoch in trial.epochs(5, state={"model": model}):
        if epoch == 3:
            kill_once(trial)
        trial.report(val_loss=1 / (epoch + 1), **{"monitor/lr": 0.1})


def without_state(trial):
    """Killed in its fourth epoch, it begins again."""
    for epoch in trial.epochs(5):
        if epoch == 3:
            kill_once(trial)
        trial.report(val_loss=1 / (epoch + 1), **{"monitor/lr": 0.1})


def quick(trial):
    for epoch in trial.epochs(5, state={}):
        trial.report(val_loss=trial.params["x"] + epoch)


def a_trial(folder=Path("."), **more):
    values = {"id": "demo-0000-1", "study": "demo", "number": 0, "params": {}, "folder": folder, "seed": 1}
    return LoggedTrial(**{**values, "attempt": 1, "metric": "val_loss", **more})


# ---- what a logger is told -------------------------------------------------------------------------------------------


def test_a_logger_is_told_of_every_trial_from_its_begin_to_its_end(run):
    notes = Notes()
    study = run(quick, notes, budget=2)
    assert notes.words == ["begin", 0, 1, 2, 3, 4, "end"] * 2
    trials = study.trials().set_index("number")
    begun = [each[1] for each in notes.told if each[0] == "begin"]
    assert [trial.number for trial in begun] == [0, 1]
    assert [trial.params["x"] for trial in begun] == list(trials["params.x"])
    assert begun[0].folder.is_dir()
    assert [each[1:] for each in notes.told if each[0] == "end"] == [
        (TrialState.COMPLETE, trials["value"][number], None) for number in (0, 1)
    ]


def test_reports_of_one_epoch_are_told_as_one(run):
    notes = Notes()

    def train(trial):
        for epoch in trial.epochs(2, state={}):
            trial.report(train_loss=1.0)
            trial.report(val_loss=epoch)
        trial.report(test_loss=3.0)

    run(train, notes, epochs=2)
    assert [each[1:] for each in notes.told if each[0] == "epoch"] == [
        (0, {"train_loss": 1.0, "val_loss": 0.0}),
        (1, {"train_loss": 1.0, "val_loss": 1.0, "test_loss": 3.0}),
    ]


def test_a_returned_float_is_told_too(run):
    notes = Notes()
    run(lambda trial: trial.params["x"], notes, metric="objective", epochs=None)
    assert [each[1] for each in notes.told if each[0] == "epoch"] == [0]
    assert notes.told[-1][1] is TrialState.COMPLETE


def test_the_store_is_written_first(run, tmp_path):
    seen = []

    def look(trial, report):
        store = Store(default_url(tmp_path))
        seen.append(len(reads.epoch_reports(store, reads.study(store, "demo").id, trial.number)))
        store.close()

    run(quick, look)
    assert seen == [1, 2, 3, 4, 5]


def test_a_failed_trial_ends_with_its_reason(run):
    notes = Notes()

    def fail(trial):
        for _ in trial.epochs(5, state={}):
            trial.report(val_loss=float("nan"))

    run(fail, notes)
    assert notes.told[1] == ("epoch", 0, {"val_loss": None})
    assert notes.told[-1] == ("end", TrialState.FAIL, None, Failure.DIVERGED)


def test_a_paused_trial_is_begun_again_where_it_is_promoted(run):
    notes = Notes()

    def train(trial):
        model = torch.nn.Linear(1, 1)
        for epoch in trial.epochs(9, state={"model": model}):
            trial.report(val_loss=trial.params["x"] / (epoch + 1))

    run(train, notes, search="coarse_to_fine", epochs=9, budget=4)
    by_number, number = {}, None
    for each in notes.told:
        number = each[1].number if each[0] == "begin" else number
        by_number.setdefault(number, []).append(each)
    promoted = [told for told in by_number.values() if sum(each[0] == "begin" for each in told) > 1]
    assert promoted
    for told in promoted:
        begun = [each[1] for each in told if each[0] == "begin"]
        assert len({trial.id for trial in begun}) == 1
        assert begun[1].last.epoch + 1 == sum(each[0] == "epoch" for each in told[: told.index(("begin", begun[1]))])


def test_what_a_kill_left_untold_is_told_at_the_next_attempt():
    notes = Notes()
    audience = Audience([notes])
    audience.begin(a_trial(attempt=2, reports=[EpochReport(0, 4, {"val_loss": 1.0}, 1.0)]))
    audience.report(EpochReport(0, 5, {"val_loss": 0.5}, 1.0))
    audience.end(TrialState.COMPLETE, 0.5, None)
    assert notes.words == ["begin", 4, 5, "end"]


def test_what_will_be_trained_again_is_not_told_before():
    notes = Notes()
    audience = Audience([notes])
    audience.begin(a_trial(attempt=2, reports=[EpochReport(0, 4, {"val_loss": 1.0}, 1.0)]))
    audience.report(EpochReport(0, 3, {"val_loss": 0.5}, 1.0))
    audience.end(TrialState.COMPLETE, 0.5, None)
    assert notes.words == ["begin", 3, "end"]


# ---- a logger that breaks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["begin", "epoch", "end"])
def test_a_logger_that_breaks_hurts_no_trial_and_no_other_logger(run, caplog, at):
    broken, notes = Broken(at), Notes()
    with caplog.at_level(logging.WARNING, logger="sweeper.worker"):
        study = run(quick, broken, notes, budget=2)
    assert set(study.trials()["state"]) == {"COMPLETE"}
    assert notes.words == ["begin", 0, 1, 2, 3, 4, "end"] * 2
    assert broken.asked == 2  # once a trial
    assert len([each for each in caplog.messages if "Broken broke" in each]) == 1


def test_a_logger_that_breaks_at_every_trial_is_left_out(run, caplog):
    broken = Broken("begin")
    with caplog.at_level(logging.WARNING, logger="sweeper.worker"):
        run(quick, broken, budget=PATIENCE + 2)
    assert broken.asked == PATIENCE
    assert "goes on without it" in caplog.text


def test_logging_does_not_change_what_the_training_draws(run):
    def draws(*told_to, study):
        drawn = []

        def train(trial):
            for _ in trial.epochs(5, state={}):
                drawn.append((random.random(), numpy.random.rand(), torch.rand(1).item()))
                trial.report(val_loss=0.0)

        random.seed(0)
        numpy.random.seed(0)
        torch.manual_seed(0)
        run(train, *told_to, study=study)
        return drawn

    def meddle(trial, report):
        random.seed(7)
        numpy.random.seed(7)
        torch.manual_seed(7)

    assert draws(meddle, study="told") == draws(study="untold")


def test_a_worker_does_without_a_tool_that_its_host_does_not_have(caplog):
    with caplog.at_level(logging.WARNING, logger="sweeper.worker"):
        assert not Audience.of(["nonsense"])
    assert "nonsense" in caplog.text


# ---- which loggers ---------------------------------------------------------------------------------------------------


def test_an_unknown_name_gets_the_list_of_the_known_ones(run, tmp_path):
    with pytest.raises(ConfigError, match="No logger 'tensorbord'; known: tensorboard, mlflow, wandb"):
        run(quick, "tensorbord")
    assert not any(tmp_path.iterdir())  # before anything is begun


def test_a_tool_that_is_not_installed_is_said_with_its_cure(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'sweeper-hpo\[wandb\]'"):
        asked(["wandb"])


def test_a_folder_of_that_name_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "thistool").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(loggers.NAMES, "thistool", Notes)
    with pytest.raises(ConfigError, match="is not here"):
        made("thistool")


NAMED = "engine.test_loggers.Notes"


@pytest.mark.parametrize("spec", [NAMED, {"_target_": NAMED}, Notes, Notes()])
def test_a_logger_of_ones_own(spec):
    assert type(made(spec)).__name__ == "Notes"


def test_settings_reach_a_logger_of_ones_own():
    assert made({"_target_": "engine.test_loggers.Broken", "at": "end"}).at == "end"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"project": "digits"}, "needs `name` or `_target_`"),
        ({"_target_": "engine.test_loggers.Nothing"}, "must lead to a class or a function"),
        ({"_target_": "engine.test_loggers.Broken", "where": 1}, "its settings: at"),
        ({"name": "mlflow", "uri": "x"}, "its settings: tracking_uri, experiment, tags"),
        (7, "A logger has begin"),
    ],
)
def test_what_is_no_logger_is_refused(spec, said):
    if isinstance(spec, dict) and spec.get("name") == "mlflow":
        pytest.importorskip("mlflow")
    with pytest.raises(ConfigError, match=said):
        made(spec)


def test_one_logger_needs_no_list_and_the_shorthand_adds_no_second():
    pytest.importorskip("tensorboard")
    assert asked(None) == asked([]) == ()
    assert asked("tensorboard") == asked(["tensorboard"], tensorboard=True) == asked([], tensorboard=True)
    assert asked({"name": "tensorboard"}, tensorboard=True) == ({"name": "tensorboard"},)
    assert asked(Notes) == (Notes,)


def test_a_sweep_under_hydra_takes_them(tmp_path):
    pytest.importorskip("tensorboard")
    import forks

    app = Path(__file__).parent.parent / "apps" / "tiny.py"
    arguments = ["--multirun", "hydra/launcher=basic", "hydra.sweeper.tensorboard=true", "hydra.sweeper.budget=1"]
    arguments.append("hydra.sweeper.loggers=[nonsense]")
    refused = forks.script(app, *arguments, folder=tmp_path)
    assert refused.returncode == 1
    assert "No logger 'nonsense'" in refused.stderr
    done = forks.script(app, *arguments[:-1], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/*/0000/tensorboard/events.out.*"))


# ---- TensorBoard -----------------------------------------------------------------------------------------------------


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()


def hparams(folder: Path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = events(folder).PluginTagToContent("hparams")
    return {tag.rpartition("/")[2]: HParamsPluginData.FromString(content) for tag, content in found.items()}


@pytest.mark.parametrize("train", [with_state, without_state])
def test_tensorboard_has_each_epoch_of_a_killed_trial_once(run_killed, tmp_path, train):
    pytest.importorskip("tensorboard")
    run_killed(train, "tensorboard")
    found = events(tmp_path / "demo" / "0000")
    assert sorted(found.Tags()["scalars"]) == ["monitor/lr", "val_loss"]
    assert [point.step for point in found.Scalars("val_loss")] == [0, 1, 2, 3, 4]
    assert [point.value for point in found.Scalars("val_loss")] == pytest.approx([1 / n for n in (1, 2, 3, 4, 5)])
    assert len(list((tmp_path / "demo" / "0000" / "tensorboard").iterdir())) == 2


def test_a_logger_that_comes_later_has_the_epochs_before_too(run, tmp_path):
    pytest.importorskip("tensorboard")

    def train(trial):
        model = torch.nn.Linear(1, 1)
        for epoch in trial.epochs(5, state={"model": model}):
            if epoch == 3 and trial._attempt == 1:
                raise TrialInterrupted
            trial.report(val_loss=epoch)

    with pytest.raises(KeyboardInterrupt):
        run(train)
    run(train, "tensorboard")
    assert [point.value for point in events(tmp_path / "demo" / "0000").Scalars("val_loss")] == [0, 1, 2, 3, 4]


def test_tensorboard_has_a_line_of_hparams_for_a_trial(run, tmp_path):
    pytest.importorskip("tensorboard")

    def train(trial):
        for _ in trial.epochs(5, state={}):
            trial.report(train_loss=1.0, val_loss=2.0, **{"monitor/lr": 0.1})

    study = run(train, "tensorboard")
    found = hparams(tmp_path / "demo" / "0000")
    columns = found["experiment"].experiment
    assert [each.name for each in columns.hparam_infos] == ["x", "optimizer"]
    assert [each.name.tag for each in columns.metric_infos] == ["val_loss", "train_loss"]
    params = found["session_start_info"].session_start_info.hparams
    assert params["x"].number_value == study.trials()["params.x"].item()
    assert params["optimizer"].string_value == study.trials()["params.optimizer"].item()
    assert found["session_end_info"].session_end_info.status == 1  # success


# ---- MLflow ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mlflow_runs(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    pytest.importorskip("alembic")  # of its database
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)

    def look(experiment="demo"):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'demo' / 'mlflow.db'}")
        found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
        return client, sorted(found, key=lambda run: int(run.data.tags["sweeper.number"]))

    return look


def test_mlflow_has_one_run_for_a_trial_and_each_epoch_once_after_a_kill(run_killed, mlflow_runs, tmp_path):
    study = run_killed(without_state, "mlflow")
    client, (found,) = mlflow_runs()
    history = client.get_metric_history(found.info.run_id, "val_loss")
    assert sorted((point.step, point.value) for point in history) == [(n, 1 / (n + 1)) for n in range(5)]
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "demo-0000"
    assert float(found.data.params["x"]) == study.trials()["params.x"].item()
    assert found.data.tags["sweeper.study"] == "demo"
    assert found.data.tags["sweeper.state"] == "COMPLETE"
    assert json.loads((tmp_path / "demo/0000/mlflow.json").read_text())["run_id"] == found.info.run_id
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("sweeper.db")) == ["demo"]


def test_mlflow_says_how_a_trial_ended(run, mlflow_runs):
    def train(trial):
        for _ in trial.epochs(5, state={}):
            trial.report(val_loss=float("nan") if trial.number else 1.0)

    run(train, {"name": "mlflow", "experiment": "mine", "tags": {"team": "vision"}}, budget=2)
    _, found = mlflow_runs("mine")
    assert [run.info.status for run in found] == ["FINISHED", "FAILED"]
    assert found[1].data.tags["sweeper.failure"] == "diverged"
    assert found[1].data.tags["team"] == "vision"


# ---- W&B -------------------------------------------------------------------------------------------------------------


def wandb_records(file: Path):
    """What W&B keeps offline: records in LevelDB's log format, in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def test_wandb_offline_has_each_epoch_once_after_a_kill(run_killed, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.chdir(tmp_path)
    run_killed(with_state, {"name": "wandb", "project": "digits", "mode": "offline"})
    folder = tmp_path / "demo" / "0000"
    parts = sorted((folder / "wandb").glob("offline-run-*"))
    assert len(parts) == 1
    records = [record for part in parts for file in part.glob("*.wandb") for record in wandb_records(file)]
    begun = [record.run for record in records if record.HasField("run")]
    assert {(run.run_id[:10], run.run_group, run.project) for run in begun} == {("demo-0000-", "demo", "digits")}
    history = [record.history for record in records if record.HasField("history")]
    assert [each.step.num for each in history] == [0, 1, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("sweeper.db")) == ["demo"]
