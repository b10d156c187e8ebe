"""Event files of TensorBoard: scalars, one row a step."""

from __future__ import annotations

from typing import Any

from analysis.errors import some
from analysis.readers.documents import frame_of_objects
from analysis.readers.source import Reader, Reading, Source

VERSION = b"brain.Event:"  # in the first record of every event file


def _is_event_file(source: Source) -> bool:
    return VERSION in source.raw[:64]


def _read(source: Source) -> Reading:
    """What one file logged of its run, which is its folder; hyperparameters stand in every row."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # pyright: ignore
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore
        from tensorboard.util.tensor_util import make_ndarray  # pyright: ignore
    except ImportError as error:
        raise source.lacks("tensorboard", "an event file of TensorBoard") from error
    parent = source.path.resolve().parent
    below = parent.relative_to(source.folder.resolve()).as_posix() if source.folder else "."
    run: dict[str, Any] = {"run": parent.name if below == "." else below}
    stated: dict[str, Any] = {}
    steps: dict[int, dict[str, Any]] = {}
    others: set[str] = set()
    for event in EventFileLoader(str(source.path)).Load():  # migrates older ways of writing scalars
        for value in event.summary.value:
            plugin = value.metadata.plugin_data
            if plugin.plugin_name == "scalars":
                row = steps.setdefault(event.step, {"step": event.step})
                row |= {"wall_time": event.wall_time, value.tag: make_ndarray(value.tensor).item()}
            elif plugin.plugin_name == "hparams":
                given = HParamsPluginData.FromString(plugin.content).session_start_info.hparams
                stated |= {name: getattr(member, member.WhichOneof("kind")) for name, member in given.items()}
            else:
                others.add(value.tag)
    if not steps:
        raise source.refusal(
            "is an event file of TensorBoard without scalars", "give the file that has the losses"
        )
    notes = [f"{len(steps)} steps with scalars; column 'run' is the folder of the file"]
    if others:
        notes.append(f"tags that are no scalars left out: {some(sorted(others))}")
    logged = {name for row in steps.values() for name in row}
    run |= {name: value for name, value in stated.items() if name not in logged}
    frame = frame_of_objects([{**run, **row} for row in steps.values()])
    return Reading(frame, tuple(notes), "event file of TensorBoard")


EVENT_FILE = Reader(_is_event_file, _read)
