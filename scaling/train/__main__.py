"""``python -m scaling.train JOB_FOLDER [MARK]``: train the runs of one job that have no record yet.

MARK is that of a lease which was seen stalled for long enough: it is taken over if it still is.
Exit codes: 0 every run has a record, 1 some failed, 130 asked to stop (a relaunch resumes), 75 another
process holds the job's lease, 76 another process took the lease over, 77 the disk is full.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from scaling.store.failure import BUSY, FULL, LOST, is_disk_full
from scaling.store.lease import Busy, LostLease, acquire
from scaling.store.records import JobSpec, read
from scaling.train.process import StopRequest, die_with_driver


def main(folder: Path, stale: str = "") -> int:
    try:
        return _main(folder, stale)
    except Exception as error:
        if not is_disk_full(error):
            raise
        _say(f"left: {error}")
        return FULL


def _main(folder: Path, stale: str) -> int:
    die_with_driver()
    stop = StopRequest()
    try:
        lease = acquire(folder, stale)
    except Busy as busy:
        _say(f"not started: {busy} holds the lease of this job")
        return BUSY
    try:
        job = read(JobSpec, folder / "job.json")
        if job is None:
            raise FileNotFoundError(folder / "job.json")
        lease.keep(job.execution.lease_seconds)
        from scaling.train.work import work  # jax: only once it is ours to work

        return work(folder, job, lease, stop)
    except LostLease as lost:
        _say(f"left without writing: {lost}")
        return LOST
    finally:
        lease.release()


def _say(text: str) -> None:
    with suppress(OSError):  # the log is on a full disk
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:3]))
