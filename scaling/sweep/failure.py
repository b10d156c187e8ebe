"""What is written when a job ends without all its records. Every failure tells its reason in error.json."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from scaling.files import write_json
from scaling.store.failure import (
    FULL,
    HUNG,
    LOST,
    LOST_HOST,
    RELIEVED,
    STOPPED,
    Failure,
    Kind,
    is_disk_full,
    is_exhausted,
)
from scaling.store.folder import LOWERING, ResultsFolder
from scaling.store.log import log_tail
from scaling.store.metrics import last_row
from scaling.store.records import read_progress

LAST = 3  # lines of a log that say why a process ended
HINTS: dict[int, str] = {
    signal.SIGKILL: ": often the system was out of memory",
    signal.SIGBUS: ": often a file that it had mapped was cut short, or the disk is full",
}


Mark = tuple[int, int]


def error_marks(results: ResultsFolder, run_ids: Sequence[str]) -> dict[str, Mark | None]:
    """Mark which error.json each run has, to see later whether it has another one."""
    return {run_id: _mark(results, run_id) for run_id in run_ids}


def record_failures(
    results: ResultsFolder,
    job_dir: Path,
    before: Mapping[str, Mark | None],
    status: int | OSError | Kind,
    *,
    only_new: bool = False,
    owned: bool = False,
) -> dict[str, Failure]:
    """Read the errors the job wrote, or write one for the run it was at; returns run_id -> failure.

    Args:
        results: the results folder.
        job_dir: the folder of the job.
        before: :func:`error_marks` at the start, of the runs that still have no record.
        status: exit status of the job (negative: signal), why it could not be started, or a kind that only
            the driver knows of.
        only_new: the job was asked to stop: having no record is no failure.
        owned: another process works on the job: its files are not touched.
    """
    new = [run_id for run_id, old in before.items() if _mark(results, run_id) not in (None, old)]
    if new and not owned:
        return {run_id: error for run_id in new if (error := results.error(run_id))}
    if only_new:
        return {}
    tail = log_tail(job_dir)
    kind, message = _reason(status, tail)
    progress = read_progress(job_dir)
    current = progress.run_id if progress and progress.run_id in before else next(iter(before))
    step = progress.step if progress and progress.run_id == current else None
    row = None if step else last_row(results.run_dir(current) / "metrics.jsonl")
    what = {"kind": kind, "message": message, "step": row["step"] if row else step, "log_tail": tail}
    failure = Failure.after(results.error(current), job_dir, run_id=current, **what)
    if not owned:
        with suppress(OSError):  # a full disk: the event is sent all the same
            write_json(results.run_dir(current) / "error.json", failure.to_json())
    return {current: failure}


def went_smaller(job_dir: Path) -> bool:
    """Tell whether a job has gone over to a smaller lowering since it was started last."""
    with suppress(FileNotFoundError):
        launch, lowering = (job_dir / name for name in ("launch.json", LOWERING))
        return lowering.stat().st_mtime_ns >= launch.stat().st_mtime_ns
    return False


def _reason(status: int | OSError | str, tail: list[str]) -> tuple[Kind, str]:
    last = next((line.strip() for line in reversed(tail) if line.strip()), "the log is empty")
    match status:
        case OSError():
            return ("disk_full" if is_disk_full(status) else "not_started"), f"not started: {status}"
        case "timeout":
            return "timeout", f"killed: no progress for execution.timeout_minutes; last in its log: {last}"
        case _:
            status = int(status)
    if status < 0:
        return "killed", f"killed by {_signal_name(-status)}{HINTS.get(-status, '')}"
    if status == LOST:
        return "lost_lease", "another process took the job over while this one was stalled"
    if status == LOST_HOST:
        return "lost_host", last
    if status == RELIEVED:
        return "out_of_memory", last
    if status == HUNG:
        return (
            "timeout",
            "no progress for execution.timeout_minutes; its log has the stacks of its threads",
        )
    if status == FULL:
        return "disk_full", next(_full_disk_lines(tail), "no space left for what it had to write")
    if status == STOPPED:
        return "killed", "asked to stop by a signal that did not come from its driver"
    if full := next(_full_disk_lines(tail[-LAST:]), None):
        return "disk_full", full
    if any(map(is_exhausted, tail[-LAST:])):
        return "out_of_memory", last
    if status == 0:
        return "exception", f"exited with status 0 and no record: {last}"
    return "exception", f"exited with status {status}: {last}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has none
        return f"signal {number}"


def _full_disk_lines(tail: list[str]) -> Iterator[str]:
    return (line.strip() for line in reversed(tail) if is_disk_full(OSError(line)))


def _mark(results: ResultsFolder, run_id: str) -> Mark | None:
    try:
        stat = (results.run_dir(run_id) / "error.json").stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stat.st_mtime_ns, stat.st_ino
