"""``python -m scaling.train JOB_FOLDER [MARK]``: train the runs of one job that have no record yet.

MARK is that of a lease which was seen to stand still for long enough: it is taken over if it still does.
Exit codes: 0 every run has a record, 1 some failed, 130 asked to stop (a relaunch goes on), 75 another
process holds the job's lease, 76 another process took the lease over.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from scaling.exits import BUSY, LOST
from scaling.lease import Busy, LostLease, acquire
from scaling.train.process import StopRequest, die_with_driver

BEATS = 5  # in the time after which a lease is taken over


def main(folder: Path, stale: str = "") -> int:
    die_with_driver()
    stop = StopRequest()
    try:
        lease = acquire(folder, stale)
    except Busy as busy:
        print(f"not started: {busy} holds the lease of this job", flush=True)
        return BUSY
    try:
        job = json.loads((folder / "job.json").read_text())
        lease.beat_every(job["execution"].get("lease_seconds", 30.0) / BEATS)
        from scaling.train.work import work  # jax: only once it is ours to work

        return work(folder, job, lease, stop)
    except LostLease as lost:
        print(f"left without writing: {lost}", flush=True)
        return LOST
    finally:
        lease.release()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:3]))
