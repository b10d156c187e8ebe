"""Checkpoints of a job's trunk and of its branches: written aside by Orbax, summed, renamed into place.

A checkpoint is a folder ``<line>/<step>`` with ``state`` (Orbax) and ``manifest.json``: size and sha256 of
every file. What has no manifest, or does not agree with it, is passed over for the one before.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from scaling.counts.shape import Shape, parameter_table
from scaling.errors import Complaint, UserError
from scaling.files import sync, write_json
from scaling.recipe.quantities import Frozen
from scaling.store.folder import MANIFEST
from scaling.store.records import Document, read
from scaling.train.loop import TrainState

KEPT = 2
SPARE = 1.05  # Orbax's own files and the manifest, beside the arrays
SPARE_BYTES = 1 << 20


class FileSum(Frozen):
    """What a file holds."""

    bytes: int
    sha256: str


class Manifest(Document):
    """``manifest.json``: size and sha256 of every other file of a checkpoint, by its name."""

    files: dict[str, FileSum]


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
        if _damage(place) is None:
            return
        self.guard()
        place.parent.mkdir(parents=True, exist_ok=True)
        _require_room(place.parent, state)
        aside = place.with_name(f".{step}.{uuid.uuid4().hex}.tmp")
        try:
            aside.mkdir()
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as orbax:
                orbax.save(aside / "state", args=ocp.args.StandardSave(state._asdict()))
            for path in _files(aside):
                sync(path)
            write_json(aside / MANIFEST, Manifest(files=_sums(aside)).to_json())
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
        kept = [s for s in beyond if _damage(self.folder / line / str(s)) is None][-KEPT:]
        for old in {*steps} - {*before[-KEPT:], *kept}:
            shutil.rmtree(self.folder / line / str(old), ignore_errors=True)

    def steps(self, line: str) -> list[int]:
        """Return the steps of a line's checkpoints in ascending order, whole or not."""
        try:
            names = os.listdir(self.folder / line)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def restore(
        self, line: str, abstract: TrainState, among: Collection[int]
    ) -> tuple[int, TrainState] | None:
        """Return the newest whole (step, state) of a line at a step in ``among``, with the shapes and
        shardings of ``abstract``; None: there is none. Says what it passes over."""
        for step in reversed(self.steps(line)):
            place = self.folder / line / str(step)
            if step not in among:
                self.say(f"checkpoint {line}/{step} passed over: the curve does not reach it")
                continue
            if damage := _damage(place):
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


def weights_of(place: Path, shape: Shape) -> dict[str, np.ndarray]:
    """Return the parameters in a checkpoint, on the host; nothing else of it is read into memory.

    Raises:
        UserError: it is damaged.
    """
    if damage := _damage(place):
        raise UserError(Complaint(f"damaged checkpoint: {damage}", str(place), "train the run again"))
    item = {"params": dict.fromkeys(parameter_table(shape), 0)}
    kinds = {"params": {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in item["params"]}}
    args = ocp.args.PyTreeRestore(item=item, restore_args=kinds, partial_restore=True)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as orbax:
        return orbax.restore(place / "state", args=args)["params"]


def _require_room(folder: Path, state: TrainState) -> None:
    arrays = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    need, free = int(SPARE * arrays) + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < need:
        text = f"No space left on device: a checkpoint needs {need:,} bytes and {free:,} are free"
        raise OSError(errno.ENOSPC, text, str(folder))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def _sums(folder: Path) -> dict[str, FileSum]:
    sums = {}
    for path in _files(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sums[path.relative_to(folder).as_posix()] = FileSum(bytes=path.stat().st_size, sha256=digest)
    return sums


def _damage(folder: Path) -> str | None:
    """Say how the files of a checkpoint are not what was written; None where they are."""
    try:
        manifest, present = read(Manifest, folder / MANIFEST), _sums(folder)
    except (UserError, OSError) as error:
        return str(error)
    if manifest is None:
        return "it has no manifest"
    written = manifest.files
    for name in sorted(written.keys() | present.keys()):
        if written.get(name) != present.get(name):
            how = "is missing" if name not in present else "was changed" if name in written else "is foreign"
            return f"{name} {how}"
    return None
