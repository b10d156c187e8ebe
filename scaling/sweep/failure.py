"""What is written when a job ends without all its records. Every failure tells its reason in error.json."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.files import write_json
from scaling.sweep.executor import log_tail
from scaling.sweep.progress import read_progress
from scaling.sweep.store import Store

STOPPED = 130  # exit status of a job that wrote a checkpoint and left because it was asked to


@dataclass(frozen=True)
class Before:
    """A run's error.json before a start: which file it was, and how often the run had failed."""

    mark: tuple[int, int] | None
    attempts: int


def look(store: Store, run_ids: Sequence[str]) -> dict[str, Before]:
    return {run_id: Before(_mark(store, run_id), _attempts(store, run_id)) for run_id in run_ids}


def record_failures(
    store: Store, job_dir: Path, before: dict[str, Before], status: int | str, *, only_new: bool = False
) -> dict[str, dict[str, Any]]:
    """Complete the errors the job wrote, or write one for the run it was at; returns run_id -> error.

    Args:
        before: :func:`look` at the start, of the runs that still have no record.
        status: exit status of the job (negative: signal), or why it could not be started.
        only_new: the job was asked to stop: having no record is no failure.
    """
    new = [run_id for run_id, old in before.items() if _mark(store, run_id) not in (None, old.mark)]
    tail = log_tail(job_dir)
    if new:
        found = {run_id: store.error(run_id) or {} for run_id in new}
    elif only_new:
        return {}
    else:
        kind, message = _reason(status, tail)
        progress = read_progress(job_dir)
        current = progress.run_id if progress and progress.run_id in before else next(iter(before))
        step = progress.step if progress and progress.run_id == current else None
        found = {current: {"kind": kind, "message": message, "step": step}}
    errors = {}
    for run_id, error in found.items():
        errors[run_id] = {
            "schema": 1,
            "kind": error.get("kind", "unknown"),
            "message": error.get("message", ""),
            "step": error.get("step"),
            "run_id": run_id,
            "attempt": before[run_id].attempts + 1,
            "log_tail": error.get("log_tail") or tail,
        }
        write_json(store.run_dir(run_id) / "error.json", errors[run_id])
    return errors


def _reason(status: int | str, tail: list[str]) -> tuple[str, str]:
    last = next((line.strip() for line in reversed(tail) if line.strip()), "the log is empty")
    if isinstance(status, str):
        return "not started", status
    if status < 0:
        name = signal.Signals(-status).name
        likely = ": often the system was out of memory" if -status == signal.SIGKILL else ""
        return "killed", f"killed by {name}{likely}"
    if status == STOPPED:
        return "killed", "asked to stop by a signal that did not come from its driver"
    if status == 0:
        return "exception", f"exited with status 0 and no record: {last}"
    return "exception", f"exited with status {status}: {last}"


def _mark(store: Store, run_id: str) -> tuple[int, int] | None:
    try:
        stat = (store.run_dir(run_id) / "error.json").stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def _attempts(store: Store, run_id: str) -> int:
    attempt = (store.error(run_id) or {}).get("attempt")
    return attempt if isinstance(attempt, int) else 0
