"""Checkpoints of a job's trunk and of its branches: written aside by Orbax, summed, renamed into place.

A checkpoint is a folder ``<line>/<step>`` with ``state`` (Orbax) and ``manifest.json``: size and sha256 of
every file. What has no manifest, or does not agree with it, is passed over for the one before.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from scaling.files import sync, write_json
from scaling.train.loop import TrainState

KEPT = 2
SPARE = 1.05  # Orbax's own files and the manifest, beside the arrays
SPARE_BYTES = 1 << 20
SCHEMA = 1


class Damaged(Exception):
    """A checkpoint's files are not what was written."""


class Checkpoints:
    """The last :data:`KEPT` states of each *line* of a job: ``trunk``, or the run id of a branch.

    ``guard`` is called before anything is committed or removed; it raises when this process may not.
    """

    def __init__(self, folder: Path, guard: Callable[[], None], say: Callable[[str], None] = print):
        self.folder, self.guard, self.say = folder.resolve(), guard, say
        guard()
        for left in self.folder.glob("*/.*.tmp"):  # of a process killed while it saved
            shutil.rmtree(left, ignore_errors=True)

    def save(self, line: str, step: int, state: TrainState) -> None:
        """Nothing happens where that step is saved whole: equal steps of a line are equal states.

        Raises:
            OSError: ENOSPC when there is less room than the state needs, seen before anything is written.
        """
        place = self.folder / line / str(step)
        if self._is_whole(place):
            return
        self.guard()
        place.parent.mkdir(parents=True, exist_ok=True)
        _require_room(place.parent, state)
        aside = place.with_name(f".{step}.{uuid.uuid4().hex}.tmp")
        try:
            aside.mkdir()
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as orbax:
                orbax.save(aside / "state", args=ocp.args.StandardSave(state._asdict()))
            write_json(aside / "manifest.json", _manifest(aside, durable=True))
            self.guard()
            if place.exists():  # a damaged one of the same step
                shutil.rmtree(place)
            os.rename(aside, place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        sync(place.parent)
        self._prune(line, step)

    def _prune(self, line: str, step: int) -> None:
        """Keep the last ones up to ``step``, and whole ones beyond it: of a trunk that went further before,
        for longer runs. Damaged ones beyond it would hide these."""
        steps = self.steps(line)
        before, beyond = [s for s in steps if s <= step], [s for s in steps if s > step]
        kept = [s for s in beyond if self._is_whole(self.folder / line / str(s))][-KEPT:]
        for old in {*steps} - {*before[-KEPT:], *kept}:
            shutil.rmtree(self.folder / line / str(old), ignore_errors=True)

    def steps(self, line: str) -> list[int]:
        """Steps of a line's checkpoints in ascending order, whole or not."""
        try:
            names = os.listdir(self.folder / line)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def restore(
        self, line: str, abstract: TrainState, among: Collection[int]
    ) -> tuple[int, TrainState] | None:
        """The newest whole (step, state) of a line at a step in ``among``, with the shapes and shardings of
        ``abstract``; None: there is none. Says what it passes over."""
        for step in reversed(self.steps(line)):
            place = self.folder / line / str(step)
            if step not in among:
                self.say(f"checkpoint {line}/{step} passed over: the curve does not reach it")
                continue
            try:
                _verify(place)
            except Damaged as damage:
                self.say(f"checkpoint {line}/{step} passed over: {damage}")
                continue
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as orbax:
                restored = orbax.restore(place / "state", args=ocp.args.StandardRestore(abstract._asdict()))
            return step, TrainState(**restored)
        return None

    def keep_only(self, line: str, step: int) -> None:
        """Remove the others of a line."""
        self.guard()
        for old in self.steps(line):
            if old != step:
                shutil.rmtree(self.folder / line / str(old), ignore_errors=True)

    def drop(self, line: str) -> None:
        self.guard()
        shutil.rmtree(self.folder / line, ignore_errors=True)

    def _is_whole(self, place: Path) -> bool:
        try:
            _verify(place)
        except Damaged:
            return False
        return True


def state_bytes(state: TrainState) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(state))


def _require_room(folder: Path, state: TrainState) -> None:
    need, free = int(SPARE * state_bytes(state)) + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < need:
        text = f"No space left on device: a checkpoint needs {need:,} bytes and {free:,} are free"
        raise OSError(errno.ENOSPC, text, str(folder))


def _files(folder: Path) -> list[Path]:
    found = [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if path != folder / "manifest.json")


def _manifest(folder: Path, *, durable: bool) -> dict[str, Any]:
    """Sizes and sums of all files; ``durable``: of what is on the disk."""
    files = {}
    for path in _files(folder):
        if durable:
            sync(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    return {"schema": SCHEMA, "files": files}


def _verify(folder: Path) -> None:
    try:
        wanted = json.loads((folder / "manifest.json").read_text())
        files, schema = wanted["files"], wanted["schema"]
    except FileNotFoundError:
        raise Damaged("it has no manifest") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"its manifest cannot be read ({error})") from None
    if schema != SCHEMA or not isinstance(files, dict):
        raise Damaged(f"its manifest is of schema {schema}, not {SCHEMA}")
    try:
        found = _manifest(folder, durable=False)["files"]
    except OSError as error:
        raise Damaged(str(error)) from None
    for name in sorted(files.keys() | found.keys()):
        if files.get(name) != found.get(name):
            state = "is missing" if name not in found else "was changed" if name in files else "is foreign"
            raise Damaged(f"{name} {state}")
