"""Weights & Biases: online where there is a login, else runs written offline for ``wandb sync``."""

from __future__ import annotations

import os
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaling.spec.trackers import WandbTracker
from scaling.trackers.base import Scalar, TrackedRun

# a run's file is a log of LevelDB: blocks of records, whose header is checksum, length, and whether the last
# part of a whole
BLOCK, START, HEADER, LAST = 32768, 7, struct.Struct("<IHB"), (1, 4)


class Wandb:
    """Each launch that has news of a run resumes it under its id; offline that is a folder more, which
    ``wandb sync`` sends in order."""

    def __init__(self, asked: WandbTracker, study: str, folder: Path):
        """``folder`` is that of trackers in the results folder."""
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self.library, self.asked, self.group = wandb, asked, asked.group or study
        self.project = asked.project or os.environ.get("WANDB_PROJECT") or study
        self.mode = self._mode()
        self.folder = Path(asked.dir or os.environ.get("WANDB_DIR") or folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.destination = {"project": self.project, "entity": asked.entity or "", "mode": self.mode}
        self.where = ""

    def _mode(self) -> str:
        if self.asked.mode != "auto":
            return self.asked.mode
        if given := os.environ.get("WANDB_MODE"):
            return given
        try:
            self.library.Api()
        except self.library.errors.UsageError:  # not logged in
            return "offline"
        return "online"

    def open(self, run: TrackedRun) -> WandbCurve:
        last = self._written(run) if self.mode == "offline" else None
        settings = self.library.Settings(
            console="off", disable_code=True, disable_git=True, x_disable_stats=True, x_disable_meta=True
        )
        handle = self.library.init(
            project=self.project,
            entity=self.asked.entity,
            group=self.group,
            id=run.run_id,
            name=run.label,
            job_type=run.role,
            tags=run.tags,
            config=run.config,
            dir=str(self.folder),
            mode=self.mode,  # pyright: ignore[reportArgumentType]
            resume="allow",
            reinit="create_new",
            settings=settings,
        )
        written = self.folder / "wandb"
        files = f"{written}, offline; `wandb sync {shlex.quote(str(written))}/offline-run-*` uploads them"
        self.where = files if self.mode == "offline" else handle.project_url or self.mode
        return WandbCurve(handle, last if self.mode == "offline" else handle.starting_step - 1)

    def _written(self, run: TrackedRun) -> int | None:
        """Return the last step of a run that was written offline for this project; -1 where a process was
        killed before it had written any."""
        files = list(self.folder.glob(f"wandb/offline-run-*-{run.run_id}/run-{run.run_id}.wandb"))
        steps = [step for file in files for step in _steps(file.read_bytes(), self.project)]
        return max(steps, default=-1) if files else None


class WandbCurve:
    def __init__(self, handle: Any, last: int | None):
        self.handle, self.last = handle, last

    def log(self, step: int, values: dict[str, float]) -> None:
        self.handle.log(values, step=step)

    def drop(self) -> bool:
        return False  # steps that go back are ignored

    def flush(self) -> None:
        """Rows are on their way: a process of the library's sends them."""

    def end(self, summary: dict[str, Scalar]) -> None:
        self.handle.summary.update(summary)
        self.handle.finish(exit_code=0)

    def close(self) -> None:
        self.handle.finish(exit_code=1)  # not "finished"; the next launch resumes it


def _steps(raw: bytes, project: str) -> Iterator[int]:
    """Yield the steps in a run's file, unless it is of another project; the last record may be torn."""
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore

    for content in _records(raw):
        try:
            record = Record.FromString(content)
        except DecodeError:
            return
        match record.WhichOneof("record_type"):
            case "run" if record.run.project != project:
                return
            case "history":
                yield record.history.step.num
            case _:
                pass


def _records(raw: bytes) -> Iterator[bytes]:
    at, parts = START, b""
    while at + HEADER.size <= len(raw):
        left = BLOCK - at % BLOCK
        _, length, kind = HEADER.unpack_from(raw, at) if left >= HEADER.size else (0, 0, 0)
        if not kind:  # what is left of a block is padding
            at += left
            continue
        at += HEADER.size + length
        parts += raw[at - length : at]
        if at > len(raw):
            return
        if kind in LAST:
            yield parts
            parts = b""
