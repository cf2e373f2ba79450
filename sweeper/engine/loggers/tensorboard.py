"""TensorBoard: event files in each trial's folder; `tensorboard --logdir runs/STUDY` shows curves and HParams.

TensorBoard takes the columns of its table from whichever trial it finds first, so each names every parameter of the
space, and the metrics without the details (`monitor/lr`), which have curves alone. A trial that failed, and may have
reported little, names no columns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper.engine.loggers.logger import Backlog, LoggedTrial
from sweeper.words.metrics import is_monitor
from sweeper.words.records import EpochReport, Failure, TrialState

FOLDER = "tensorboard"


class TensorBoard:
    """A trial is one run and one line of the HParams table; its metrics there are those of its last epoch."""

    def __init__(self) -> None:
        self._trial: LoggedTrial | None = None
        self._writer: Any = None
        self._backlog = Backlog(())
        self._metrics: dict[str, None] = {}

    def begin(self, trial: LoggedTrial) -> None:
        self._trial, self._writer = trial, None
        files = list((trial.folder / FOLDER).glob("events.out.*"))
        if not trial.reports:  # a study that was begun anew has left its own
            for file in files:
                file.unlink()
        self._backlog = Backlog(() if files else trial.reports)
        self._metrics = {trial.metric: None}

    def epoch(self, report: EpochReport) -> None:
        for each in [*self._backlog.before(report), report]:
            self._write(_scalars(each), each.epoch)
            self._metrics.update(dict.fromkeys(name for name in each.metrics if not is_monitor(name)))
        self._writer.flush()  # of itself it writes every two minutes, and a kill would leave a gap

    def end(self, state: TrialState, value: float | None, failure: Failure | None) -> None:
        assert self._trial is not None
        if state in (TrialState.PAUSED, TrialState.COMPLETE):
            self._write(_columns(self._trial, list(self._metrics)))
        if state.is_finished:
            self._write(_session_end(state))
        if self._writer is not None:
            self._writer.close()

    def _write(self, summary: Any, epoch: int = 0) -> None:
        """Into a file that begins with this epoch: what an earlier attempt wrote of it and later ones is void."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        assert self._trial is not None
        if self._writer is None:
            folder = self._trial.folder / FOLDER
            _wait_for_the_next_second(folder)
            self._writer = EventFileWriter(str(folder))
            self._writer.add_event(Event(step=epoch, session_log=SessionLog(status=SessionLog.START)))
            self._writer.add_event(Event(wall_time=time.time(), step=epoch, summary=_session_start(self._trial)))
        self._writer.add_event(Event(wall_time=time.time(), step=epoch, summary=summary))


def _wait_for_the_next_second(folder: Path) -> None:
    """TensorBoard reads files by their names, which begin with the second: this one must come last."""
    newest = max((file.name.split(".")[3] for file in folder.glob("events.out.tfevents.*")), default="")
    for _ in range(20):
        if f"{int(time.time()):010d}" > newest:
            return
        time.sleep(0.1)


def _scalars(report: EpochReport) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = {name: math.nan if value is None else value for name, value in report.metrics.items()}
    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])


def _columns(trial: LoggedTrial, metrics: Sequence[str]) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    experiment = Experiment(
        hparam_infos=[HParamInfo(name=each["name"], type=_type(each)) for each in trial.space],
        metric_infos=[MetricInfo(name=MetricName(tag=name)) for name in metrics],
    )
    return _summary("_hparams_/experiment", HParamsPluginData(experiment=experiment, version=0))


def _type(parameter: Mapping[str, Any]) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import DataType

    kinds = {type(choice) for choice in parameter.get("choices", (0.0,))}
    name = "BOOL" if kinds == {bool} else "FLOAT64" if kinds <= {int, float} else "STRING"
    return DataType.Value(f"DATA_TYPE_{name}")


def _session_start(trial: LoggedTrial) -> Any:
    """The trial's line in HParams; trials that repeat another one share its line, with mean metrics."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    group = trial.number if trial.repeats is None else trial.repeats
    session = SessionStartInfo(group_name=f"{group:04d}")
    for name, value in trial.params.items():
        if isinstance(value, bool):
            session.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            session.hparams[name].number_value = value
        else:
            session.hparams[name].string_value = str(value)
    return _summary("_hparams_/session_start_info", HParamsPluginData(session_start_info=session, version=0))


def _session_end(state: TrialState) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = "STATUS_FAILURE" if state is TrialState.FAIL else "STATUS_SUCCESS"
    session = SessionEndInfo(status=Status.Value(status))
    return _summary("_hparams_/session_end_info", HParamsPluginData(session_end_info=session, version=0))


def _summary(tag: str, content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

    data = SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString())
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=data))])
