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
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from pydantic import Field

from scaling.counts.shape import Shape, parameter_table
from scaling.errors import Complaint, UserError
from scaling.files import sync, write_json
from scaling.model.roles import Params
from scaling.recipe.quantities import Frozen
from scaling.store.folder import MANIFEST
from scaling.store.records import Document, JobRun, read
from scaling.train.averages import Averages, Carried, at_the_end
from scaling.train.step import TrainState

KEPT = 2
SPARE = 1.05  # Orbax's own files and the manifest, beside the arrays
SPARE_BYTES = 1 << 20


class FileSum(Frozen):
    """What a file holds."""

    bytes: int
    sha256: str


class Manifest(Document):
    """``manifest.json``: size and sha256 of every other file of a checkpoint, by its name; the decays of its
    exponential averages, and the snapshots in each of its merges."""

    files: dict[str, FileSum]
    decays: tuple[float, ...] = ()
    merges: dict[str, tuple[int, ...]] = Field(default_factory=dict)

    @property
    def averages(self) -> Averages:
        return Averages(self.decays, self.merges)


class Checkpoints:
    """The last :data:`KEPT` states of each *line* of a job: ``trunk``, or the run id of a branch.

    ``guard`` is called before anything is committed or removed; it raises when this process may not.
    """

    def __init__(self, folder: Path, guard: Callable[[], None], say: Callable[[str], None] = print):
        self.folder, self.guard, self.say = folder.resolve(), guard, say
        guard()
        for left in self.folder.glob("*/.*.tmp"):  # of a process killed while it saved
            shutil.rmtree(left, ignore_errors=True)

    def save(self, line: str, step: int, carried: Carried, averages: Averages) -> None:
        """Nothing happens where that step is saved whole: equal steps of a line are equal states.

        Args:
            line: ``trunk`` or a run id.
            step: steps done.
            carried: the state after them, with sums of snapshots.
            averages: that it has.

        Raises:
            OSError: ENOSPC when there is less room than the state needs, seen before anything is written.
        """
        place, averages = self.folder / line / str(step), averages.by(step)
        if not carried.state.ok:  # no snapshots are taken of a diverged run
            averages = Averages(averages.decays)
        if _damage(place) is None and averages.within(self.averages(line, step)):
            return
        self.guard()
        place.parent.mkdir(parents=True, exist_ok=True)
        tree = _tree(carried.state, [carried.sums[key] for key in averages.merges])
        _require_room(place.parent, tree)
        aside = place.with_name(f".{step}.{uuid.uuid4().hex}.tmp")
        try:
            aside.mkdir()
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as orbax:
                orbax.save(aside / "state", args=ocp.args.StandardSave(tree))
            for path in _files(aside):
                sync(path)
            asked = {"decays": averages.decays, "merges": averages.merges}
            manifest = Manifest(files=_sums(aside), **{name: some for name, some in asked.items() if some})
            write_json(aside / MANIFEST, manifest.to_json())
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

    def averages(self, line: str, step: int) -> Averages:
        """Return what a checkpoint averages; nothing, where there is no whole one."""
        try:
            return _averages_at(self.folder / line / str(step))
        except UserError:
            return Averages()

    def restore(
        self, line: str, abstract: TrainState, among: Collection[int], averages: Averages
    ) -> tuple[int, Carried] | None:
        """Return the newest whole (step, state) of a line; None: there is none. Says what it passes over.

        Args:
            line: ``trunk`` or a run id.
            abstract: shapes and shardings of a state.
            among: steps that will do.
            averages: that it must have; others are left out.
        """
        for step in reversed(self.steps(line)):
            place = self.folder / line / str(step)
            if step not in among:
                self.say(f"checkpoint {line}/{step} passed over: the curve does not reach it")
                continue
            if damage := _damage(place):
                self.say(f"checkpoint {line}/{step} passed over: {damage}")
                continue
            kept = self.averages(line, step)
            if not averages.by(step).within(kept):
                self.say(f"checkpoint {line}/{step} passed over: it has other averages of the weights")
                continue
            described = abstract._replace(emas=(abstract.params,) * len(kept.decays))
            tree = _tree(described, [abstract.params] * len(kept.merges))
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as orbax:
                restored = orbax.restore(place / "state", args=ocp.args.StandardRestore(tree))
            return step, _carried(restored, kept, averages)
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


def _tree(state: TrainState, sums: Sequence[Params]) -> dict[str, Any]:
    """Return what is written: the fields of a state, and where there are any, averages by their places."""
    tree = state._asdict()
    parts = {"emas": tree.pop("emas"), "sums": sums}
    return tree | {name: {str(i): p for i, p in enumerate(part)} for name, part in parts.items() if part}


def _carried(tree: dict[str, Any], kept: Averages, wanted: Averages) -> Carried:
    """Invert :func:`_tree`; averages that are not wanted are left out."""
    emas, sums = tree.pop("emas", {}), tree.pop("sums", {})
    state = TrainState(**tree, emas=tuple(emas[str(kept.decays.index(decay))] for decay in wanted.decays))
    by_key = {key: sums[str(i)] for i, key in enumerate(kept.merges)}
    return Carried(state, {key: total for key, total in by_key.items() if key in wanted.merges})


def weights_of(place: Path, shape: Shape) -> dict[str, np.ndarray]:
    """Return the parameters in a checkpoint, on the host; nothing else of it is read into memory.

    Raises:
        UserError: it is damaged.
    """
    _require_whole(place)
    return _on_host(place, shape, Averages())["params"]


def averages_in(place: Path, member: JobRun) -> dict[str, Params]:
    """Return the averages of a run's weights that its final checkpoint has, by name.

    Raises:
        UserError: it is damaged.
    """
    _require_whole(place)
    kept = _averages_at(place)
    tree = _on_host(place, member.run.shape, kept)
    tree |= {"moments": (), "step": member.run.steps, "ok": True, "smooth_loss": 0.0}
    return dict(at_the_end(member, _carried(tree, kept, kept), kept))


def _averages_at(place: Path) -> Averages:
    manifest = read(Manifest, place / MANIFEST)
    return manifest.averages if manifest else Averages()


def _require_whole(place: Path) -> None:
    if damage := _damage(place):
        raise UserError(Complaint(f"damaged checkpoint: {damage}", str(place), "train the run again"))


def _on_host(place: Path, shape: Shape, averages: Averages) -> dict[str, Any]:
    """Read weights and ``averages`` of them, and nothing else, as they lie in :func:`_tree`."""
    names = dict.fromkeys(parameter_table(shape), 0)
    item: dict[str, Any] = {"params": names}
    for part, count in (("emas", len(averages.decays)), ("sums", len(averages.merges))):
        item |= {part: {str(i): names for i in range(count)}} if count else {}
    kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
    args = ocp.args.PyTreeRestore(item=item, restore_args=kinds, partial_restore=True)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as orbax:
        return orbax.restore(place / "state", args=args)


def _require_room(folder: Path, tree: dict[str, Any]) -> None:
    arrays = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
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
