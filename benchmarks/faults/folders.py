"""Folders that are deleted or made read-only, while a study runs and between two launches."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from benchmarks.faults.study import LIMIT, Row, Trial, cleared, differences, wait_for

DELETED = ("runs/*", "jobs/*", "jobs/*/checkpoints", "runs", "jobs", "drivers", "")
READ_ONLY = ("", "runs", "jobs", "runs/*", "jobs/*", "jobs/*/checkpoints")


def section(calm: Path, place: Path, chance: Random, *, short: bool) -> list[Row]:
    with cleared(Trial(place / "deleted")) as trial:
        rows = [_deleted(trial, pattern, chance) for pattern in DELETED]
        end = Row("launched again after all deletions", note="results, curves, forecast, fit of the calm one")
        end.add(trial.finish() or differences(calm, trial))
    try:
        return [*rows, end, *(_read_only(calm, place, pattern, chance) for pattern in READ_ONLY)]
    except PermissionError as refused:
        return [*rows, end, Row("read-only folders", note=f"skipped: {refused}")]


def _deleted(trial: Trial, pattern: str, chance: Random) -> Row:
    """Delete it between two launches, then while one runs: that ends by itself, with a reason or complete."""
    row = Row(f"deleted: {pattern or 'the whole folder'}")
    if pattern and (path := _one(trial.folder, pattern, chance)):
        _remove(path)
        row.note = "between launches and while it runs"
    process, before = trial.start(), len(trial.heard())
    began = trial.progress()
    wait_for(lambda: process.poll() is not None or trial.progress() > began, 120)
    wait_for(lambda: process.poll() is not None, chance.uniform(0, 2))
    path = wait_for(lambda: _one(trial.folder, pattern, chance), 5) if pattern else trial.folder
    if path is not None and process.poll() is None:
        _remove(path)
    row.add(_ended(trial, process, before, row.fault))
    if not pattern:
        shutil.rmtree(trial.folder, ignore_errors=True)
    return row


def _ended(trial: Trial, process: subprocess.Popen[bytes], before: int, fault: str) -> list[str]:
    code, problems = process.wait(LIMIT), []
    said = trial.heard()[before:]
    if code not in (0, 1, 2) or "Traceback" in said or (code and not said.strip()):
        problems.append(f"{fault}: exit code {code}: ...{said[-300:]}")
    if wait_for(lambda: not trial.processes(), 10) is False:
        problems.append(f"{fault}: processes were left")
    return problems


def _one(folder: Path, pattern: str, chance: Random) -> Path | None:
    found = sorted(path for path in folder.glob(pattern) if path.is_dir())
    return chance.choice(found) if found else None


def _remove(path: Path) -> None:
    """Writers may put files into it meanwhile."""
    for _ in range(100):
        with suppress(OSError):
            shutil.rmtree(path)
            return
    raise OSError(f"{path} cannot be removed")


def _read_only(calm: Path, place: Path, pattern: str, chance: Random) -> Row:
    """A launch while it becomes read-only, and one while it is, end by themselves; afterwards all is well."""
    row = Row(f"read-only: {pattern or 'the whole folder'}")
    with cleared(Trial(place / f"read-only-{READ_ONLY.index(pattern)}")) as trial:
        process = trial.start()
        wait_for(lambda: process.poll() is not None or _one(trial.folder, pattern or "jobs/*", chance), 120)
        wait_for(lambda: process.poll() is not None, chance.uniform(0, 3))
        path = _one(trial.folder, pattern, chance) if pattern else trial.folder
        if path is None:
            row.add([f"{row.fault}: there is none"])
            return row
        with read_only(path):
            problems = _ended(trial, process, 0, row.fault)
            before, process = len(trial.heard()), trial.start()
            problems += _ended(trial, process, before, row.fault)
        row.note = f"exit codes {[p.returncode for p in trial.launched]}, then complete"
        row.add(problems + (trial.finish() or differences(calm, trial)), 2)
    return row


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """For root, who may write everywhere, by the immutable attribute; raises PermissionError without it."""
    if os.geteuid():
        path.chmod(0o555)
        undo = lambda: path.chmod(0o755)  # noqa: E731
    else:
        done = subprocess.run(["chattr", "+i", str(path)], capture_output=True, text=True)
        if done.returncode:
            raise PermissionError(f"root, and chattr says: {done.stderr.strip()}")
        undo = lambda: subprocess.run(["chattr", "-i", str(path)], check=True)  # noqa: E731
    try:
        yield
    finally:
        undo()
