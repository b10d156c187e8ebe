"""TensorBoard: a folder of event files for each run, hyperparameters and exact scalars in it."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # pyright: ignore
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # pyright: ignore
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo  # pyright: ignore
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from scaling.spec.trackers import TensorBoardTracker
from scaling.trackers.base import Scalar, TrackedRun, numbers

SCALAR = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))


class TensorBoard:
    def __init__(self, asked: TensorBoardTracker, study: str, folder: Path):
        """``folder`` is that of trackers in the results folder."""
        self.folder = Path(asked.dir) if asked.dir else folder / "tensorboard"
        self.destination = {"dir": asked.dir or ""}

    @property
    def where(self) -> str:
        return f"{self.folder}; `tensorboard --logdir {shlex.quote(str(self.folder))}` shows them"

    def open(self, run: TrackedRun) -> TensorBoardCurve:
        earlier = sorted(self.folder.glob(f"*-{run.run_id}"))  # its label may have changed
        return TensorBoardCurve(earlier[0] if earlier else self.folder / run.name, run)


class TensorBoardCurve:
    def __init__(self, folder: Path, run: TrackedRun):
        self.last = last_step(folder)
        self.writer = EventFileWriter(str(folder))
        if self.last < 0:
            self._add(0, _hyperparameters(run))

    def _add(self, step: int, summary: Summary) -> None:
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def log(self, step: int, values: dict[str, float]) -> None:
        self._add(step, Summary(value=[_scalar(name, value) for name, value in values.items()]))
        self.last = step

    def drop(self) -> bool:
        """Readers leave out what stands before a session that starts at step 0."""
        start = SessionLog(status=SessionLog.START)
        self.writer.add_event(Event(wall_time=time.time(), step=0, session_log=start))
        self.last = -1
        return True

    def flush(self) -> None:
        self.writer.flush()

    def end(self, summary: dict[str, Scalar]) -> None:
        self._add(self.last, Summary(value=[_scalar(*item) for item in numbers(summary).items()]))
        self.close()

    def close(self) -> None:
        self.writer.close()


def last_step(folder: Path) -> int:
    """Return the last step in the event files of a run that no later launch went back from; -1: none."""
    last = -1
    for file in sorted(folder.glob("*.tfevents.*")):
        for event in EventFileLoader(str(file)).Load():
            if event.session_log.status == SessionLog.START:
                last = min(last, event.step - 1)
            elif any(value.metadata.plugin_data.plugin_name == "scalars" for value in event.summary.value):
                last = max(last, event.step)
    return last


def _scalar(name: str, value: float) -> Summary.Value:
    tensor = TensorProto(double_val=[value], dtype="DT_DOUBLE")
    return Summary.Value(tag=name, tensor=tensor, metadata=SCALAR)


def _hyperparameters(run: TrackedRun) -> Summary:
    start = SessionStartInfo(group_name=run.run_id, start_time_secs=time.time())
    for name, value in run.settings.items():
        match value:
            case bool():
                start.hparams[name].bool_value = value
            case str():
                start.hparams[name].string_value = value
            case _:
                start.hparams[name].number_value = value
    content = HParamsPluginData(session_start_info=start, version=metadata.PLUGIN_DATA_VERSION)
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString())
    named = Summary.Value(tag=metadata.SESSION_START_INFO_TAG, metadata=SummaryMetadata(plugin_data=plugin))
    return Summary(value=[named])
