"""``python -m scaling.train JOB_FOLDER [MARK]``: train the runs of one job that have no record yet.

MARK is that of a lease which was seen to stand still for long enough: it is taken over if it still does.
Exit codes: 0 every run has a record, 1 some failed, 130 asked to stop (a relaunch goes on), 75 another
process holds the job's lease, 76 another process took the lease over, 77 the disk is full.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from scaling.store.lease import Busy, LostLease, acquire
from scaling.store.records import BUSY, FULL, LOST, is_disk_full
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
        job = json.loads((folder / "job.json").read_text())
        lease.keep(job["execution"].get("lease_seconds", 30.0))
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
