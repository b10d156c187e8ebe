"""Checkpoints of a job's trunk and of its branches: written aside by Orbax, summed, renamed into place.

A checkpoint is a folder ``<line>/<step>`` with ``state`` (Orbax) and ``manifest.json``: size and sha256 of
every file. What has no manifest, or does not agree with it, is passed over for the one before. Training waits
until a state is copied to the host; the rest is done by a thread meanwhile.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from scaling.files import sync
from scaling.train.averages import Averages, Carried
from scaling.train.hosts import ALONE, Hosts
from scaling.train.manifest import damage, manifest_of, seal
from scaling.train.saved import averages_at, carried_in, require_same, tree_of
from scaling.train.step import TrainState

KEPT = 2
SPARE = 1.05  # Orbax's own files and the manifest, beside the arrays
SPARE_BYTES = 1 << 20


class Checkpoints:
    """The last :data:`KEPT` states of each *line* of a job: ``trunk``, or the run id of a branch.

    Where several hosts train the job, all of them call the same methods in the same order; each writes and
    reads its part of the arrays, and the first one does and decides the rest.

    ``guard`` is called before anything is committed or removed; it raises when this process may not.
    ``earlier_devices`` trained what was restored, and are of another kind than this process's.
    """

    def __init__(
        self,
        folder: Path,
        guard: Callable[[], None],
        say: Callable[[str], None] = print,
        hosts: Hosts = ALONE,
    ):
        self.folder, self.guard, self.say, self.hosts = folder.resolve(), guard, say, hosts
        self.device, self.earlier_devices = jax.local_devices()[0].device_kind, set[str]()
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None
        if hosts.leads:
            guard()
            for left in self.folder.glob("*/.*.tmp"):  # of a process killed while it saved
                shutil.rmtree(left, ignore_errors=True)

    def save(self, line: str, step: int, carried: Carried, averages: Averages) -> None:
        """Begin to save a state, which may be donated as soon as this returns.

        Nothing happens where that step is saved whole: equal steps of a line are equal states.

        Args:
            line: ``trunk`` or a run id.
            step: steps done.
            carried: the state after them, with sums of snapshots.
            averages: that it has.

        Raises:
            OSError: ENOSPC when there is less room than the state needs, seen before anything is written.
            Exception: of the save before, which could not be committed.
        """
        self.settle()
        averages = averages.by(step)
        if not carried.state.ok:  # no snapshots are taken of a diverged run
            averages = Averages(averages.decays)
        tree = tree_of(carried.state, [carried.sums[key] for key in averages.merges])
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
        place = self.folder / line / str(step)
        aside = self.hosts.agree(lambda: self._make_aside(place, averages, size), Path | None)
        if aside is None:
            return
        orbax = ocp.AsyncCheckpointer(ocp.StandardCheckpointHandler())
        try:
            orbax.save(aside / "state", args=ocp.args.StandardSave(tree))
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        self._pending = self._thread.submit(self._commit, orbax, aside, place, averages)

    def settle(self) -> None:
        """Wait until what was begun to be saved is in place.

        Raises:
            Exception: it could not be committed.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def wait(self) -> None:
        """Wait until nothing is written any more, whether it could be committed or not."""
        if self._pending is not None:
            wait([self._pending])

    def _make_aside(self, place: Path, averages: Averages, size: int) -> Path | None:
        """Make the folder to write to; None where that step is saved whole."""
        if damage(place) is None and averages.within(averages_at(place)):
            return None
        self.guard()
        place.parent.mkdir(parents=True, exist_ok=True)
        _require_room(place.parent, size)
        aside = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
        aside.mkdir()
        return aside

    def _commit(self, orbax: ocp.AsyncCheckpointer, aside: Path, place: Path, averages: Averages) -> None:
        try:
            with orbax:
                orbax.wait_until_finished()
            if not self.hosts.leads:
                return
            seal(aside, averages, {self.device, *self.earlier_devices})
            self.guard()
            if place.exists():  # a damaged one of the same step
                shutil.rmtree(place)
            os.rename(aside, place)
        finally:
            if self.hosts.leads:
                shutil.rmtree(aside, ignore_errors=True)
        sync(place.parent)
        self._prune(place.parent.name, int(place.name))

    def _prune(self, line: str, step: int) -> None:
        """Keep the last ones up to ``step``, and whole ones beyond it: of a trunk that went further before,
        for longer runs. Damaged ones beyond it would hide these."""
        steps = self.steps(line)
        before, beyond = [s for s in steps if s <= step], [s for s in steps if s > step]
        kept = [s for s in beyond if damage(self.folder / line / str(s)) is None][-KEPT:]
        self._remove(line, {*steps} - {*before[-KEPT:], *kept})

    def _remove(self, line: str, steps: Collection[int]) -> None:
        for step in steps:
            shutil.rmtree(self.folder / line / str(step), ignore_errors=True)

    def steps(self, line: str) -> list[int]:
        """Return the steps of a line's checkpoints in ascending order, whole or not."""
        try:
            names = os.listdir(self.folder / line)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def averages(self, line: str, step: int) -> Averages:
        """Return what a checkpoint averages; nothing, where there is no whole one."""
        self.settle()
        return self.hosts.agree(lambda: averages_at(self.folder / line / str(step)), Averages)

    def restore(
        self, line: str, abstract: TrainState, among: Collection[int], averages: Averages
    ) -> tuple[int, Carried] | None:
        """Return the newest whole (step, state) of a line; None: there is none. Says what it passes over.

        Args:
            line: ``trunk`` or a run id.
            abstract: shapes and shardings of a state.
            among: steps that will do.
            averages: that it must have; others are left out.

        Raises:
            UserError: it is one of another program; the arrays that differ are named.
        """
        self.settle()
        newest = self.hosts.agree(lambda: self._newest(line, among, averages), tuple[int, Averages] | None)
        if newest is None:
            return None
        step, kept = newest
        described = abstract._replace(emas=(abstract.params,) * len(kept.decays))
        tree = tree_of(described, [abstract.params] * len(kept.merges))
        place = self.folder / line / str(step)
        require_same(place, tree)
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as orbax:
            restored = orbax.restore(place / "state", args=ocp.args.StandardRestore(tree))
        return step, carried_in(restored, kept, averages)

    def _newest(self, line: str, among: Collection[int], averages: Averages) -> tuple[int, Averages] | None:
        for step in reversed(self.steps(line)):
            place = self.folder / line / str(step)
            if step not in among:
                self.say(f"checkpoint {line}/{step} passed over: the curve does not reach it")
                continue
            if how := damage(place):
                self.say(f"checkpoint {line}/{step} passed over: {how}")
                continue
            manifest = manifest_of(place)
            assert manifest is not None, "it is whole"
            if not averages.by(step).within(manifest.averages):
                self.say(f"checkpoint {line}/{step} passed over: it has other averages of the weights")
                continue
            if others := manifest.other_versions:
                self.say(f"checkpoint {line}/{step} was written by {others}: results may differ in last bits")
            self.earlier_devices |= {*manifest.devices} - {self.device}
            return step, manifest.averages
        return None

    def keep_only(self, line: str, step: int) -> None:
        """Remove the others of a line."""
        self.settle()
        if self.hosts.leads:
            self.guard()
            self._remove(line, {*self.steps(line)} - {step})

    def drop(self, line: str) -> None:
        self.settle()
        if self.hosts.leads:
            self.guard()
            shutil.rmtree(self.folder / line, ignore_errors=True)


def _require_room(folder: Path, size: int) -> None:
    need, free = int(SPARE * size) + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < need:
        text = f"No space left on device: a checkpoint needs {need:,} bytes and {free:,} are free"
        raise OSError(errno.ENOSPC, text, str(folder))
