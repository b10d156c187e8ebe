"""What takes the disk in a results folder, and the part of it that nothing needs any more.

Removed are whole checkpoints, logs and files of killed writers, each under the lease of its job. Records,
curves, plans, tables, fits and forecasts are no kind that is ever removed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from scaling.errors import Complaint, UserError
from scaling.files import cache_dir
from scaling.plan.plan import Plan, load_plan
from scaling.run import AnyRun
from scaling.store.documents import read
from scaling.store.folder import ID, TRUNK, ResultsFolder
from scaling.store.lease import Busy, acquire
from scaling.store.records import JobSpec
from scaling.sweep.guard import drivers

Fate = Literal["removed", "with --all", "kept"]
OLD_DAYS = 30.0


@dataclass(frozen=True)
class Kind:
    """Files of one sort, what becomes of them, and why or at what price."""

    what: str
    fate: Fate
    why: str


KINDS = {
    "trunk": Kind(
        "trunks of finished jobs", "removed", "longer runs added later train theirs again from the start"
    ),
    "stale": Kind("earlier checkpoints of finished runs", "removed", "they have records"),
    "leftover": Kind("half-written files of killed processes", "removed", "nothing reads them"),
    "final": Kind(
        "final checkpoints of finished runs", "with --all", "--reevaluate, export and init_from need them"
    ),
    "earlier": Kind(
        "checkpoints of runs that the plan no longer has", "with --all", "asked for again, they would resume"
    ),
    "log": Kind("logs of finished jobs", "with --all", "`scaling logs` shows them"),
    "unfinished": Kind("checkpoints of unfinished jobs", "kept", "their runs resume from them"),
    "rest": Kind("plan, records, curves, tables, fits, forecasts, figures", "kept", "the results"),
    "programs": Kind(
        f"compiled programs not used for {OLD_DAYS:g} days",
        "removed",
        "of any study; compiled again if needed",
    ),
    "cache": Kind("prepared text, tokenizers, compiled programs", "kept", "of every study on this machine"),
}


@dataclass(frozen=True)
class Item:
    """A file or folder of one of :data:`KINDS`."""

    kind: str
    path: Path
    bytes: int


@dataclass(frozen=True)
class Cleaned:
    """``bytes`` that were removed; ``busy`` jobs, whose lease another process holds, were not touched."""

    bytes: int
    busy: tuple[str, ...]


def survey(results: ResultsFolder) -> list[Item]:
    """List what takes the disk, in the results folder and in the cache.

    Raises:
        UserError: the folder holds no study, or its plan.json is damaged.
    """
    disk = _Disk(results, load_plan(results))
    items = [item for job_id in disk.jobs() for item in disk.of_job(job_id)]
    whole, programs = _bytes(results.path), _old_programs()
    items.append(Item("rest", results.path, whole - sum(item.bytes for item in items)))
    kept = _bytes(cache_dir()) - sum(item.bytes for item in programs)
    return [*items, *programs, Item("cache", cache_dir(), kept)]


def goes(kind: str, everything: bool) -> bool:
    """Tell whether files of a kind are removed; ``everything``: with ``--all``."""
    return KINDS[kind].fate == "removed" or (everything and KINDS[kind].fate == "with --all")


def clean(results: ResultsFolder, everything: bool = False) -> Cleaned:
    """Remove what nothing needs, job by job, each under its lease.

    Raises:
        UserError: no study, or ``everything`` was asked for while a driver is running.
    """
    if everything and drivers(results):
        hint = "wait until it has ended, or clean without --all, which it does not notice"
        raise UserError(Complaint("a driver is running in this folder", str(results.path), hint))
    disk, removed, busy = _Disk(results, load_plan(results)), 0, list[str]()

    def chosen(job_id: str) -> list[Item]:
        return [item for item in disk.of_job(job_id) if goes(item.kind, everything)]

    for job_id in disk.jobs():
        if chosen(job_id):
            try:
                removed += _clean_job(disk, job_id, chosen)
            except Busy:
                busy.append(job_id)
    for item in _old_programs():
        item.path.unlink(missing_ok=True)
        removed += item.bytes
    return Cleaned(removed, tuple(busy))


def _clean_job(disk: _Disk, job_id: str, chosen: Callable[[str], list[Item]]) -> int:
    """Remove the ``chosen`` items of a job; returns their bytes. Raises Busy: nothing was touched."""
    folder = disk.results.job_dir(job_id)
    lease = acquire(folder)
    try:
        lease.keep(disk.plan.execution.lease_seconds)
        disk.forget()
        items = chosen(job_id)  # by what the files say now that nobody else writes
        for item in items:
            lease.check()
            if item.path.is_dir():
                shutil.rmtree(item.path)
            else:
                item.path.unlink()
        _drop_empty(folder / "checkpoints")
        return sum(item.bytes for item in items)
    finally:
        lease.release()


class _Disk:
    """A results folder as its files say; ``finished`` is remembered until :meth:`forget`."""

    def __init__(self, results: ResultsFolder, plan: Plan):
        self.results, self.plan = results, plan
        self.members = {job.job_id: job.run_ids for job in plan.jobs}
        self.forget()

    def forget(self) -> None:
        self.finished = cache(self._finished)

    def _finished(self, run_id: str) -> int | None:
        """Return the steps of a run that has a whole record, else None."""
        record = self.results.run_state(run_id).record
        return None if record is None else record.result.steps

    def jobs(self) -> list[str]:
        folder = self.results.path / "jobs"
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(name for name in names if ID.fullmatch(name))

    def of_job(self, job_id: str) -> Iterator[Item]:
        """List the files of a job that are of a kind of their own."""
        folder, run_ids = self.results.job_dir(job_id), self._runs_of(job_id)
        done = bool(run_ids) and all(self.finished(run_id) for run_id in run_ids)
        for place in folder.glob("checkpoints/*/*"):
            yield Item(self._kind(job_id, place, done), place, _bytes(place))
        runs = (self.results.run_dir(run_id) for run_id in run_ids)
        for path in (path for place in (folder, *runs) for path in place.glob(".*.tmp")):
            if not path.name.startswith(".lease"):
                yield Item("leftover", path, _bytes(path))
        log = folder / "log.txt"
        if done and log.exists():
            yield Item("log", log, _bytes(log))

    def _kind(self, job_id: str, place: Path, done: bool) -> str:
        """Say of which kind a checkpoint is."""
        line = place.parent.name
        if place.name.startswith("."):
            return "leftover"
        if line == TRUNK:
            waiting = "unfinished" if job_id in self.members else "earlier"
            return "trunk" if done else waiting
        steps = self.finished(line) if ID.fullmatch(line) else None
        if steps is not None:
            return "final" if place.name == str(steps) else "stale"
        return "unfinished" if line in self.plan.by_id else "earlier"

    def _runs_of(self, job_id: str) -> Collection[str]:
        """Return the runs of a job by the plan; of one of an earlier plan by its job.json."""
        if job_id in self.members:
            return self.members[job_id]
        try:
            job = read(JobSpec[AnyRun], self.results.job_dir(job_id) / "job.json")
        except UserError:
            return ()
        return [] if job is None else [run.run_id for run in job.runs]


def _old_programs() -> list[Item]:
    """List compiled programs that were neither written nor read for :data:`OLD_DAYS`."""
    before, items = time.time() - OLD_DAYS * 86_400, list[Item]()
    for path in (cache_dir() / "xla").glob("*"):
        info = path.stat()
        if path.is_file() and max(info.st_atime, info.st_mtime) < before:
            items.append(Item("programs", path, info.st_size))
    return items


def _drop_empty(checkpoints: Path) -> None:
    for line in (*checkpoints.glob("*"), checkpoints):
        if line.is_dir() and not any(line.iterdir()):
            line.rmdir()


def _bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; of what is just vanishing none."""
    if not path.is_dir():
        return path.lstat().st_size if path.exists() else 0
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(path)
        for name in names
        if os.path.lexists(os.path.join(folder, name))
    )
