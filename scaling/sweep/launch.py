"""A script between driver and job: pins the process, ties its life to the driver's, becomes the job.

``python -I -S launch.py PARENT_PID CORES|any COMMAND...``. It is a process of its own because neither step is
safe between fork and exec in a driver that has threads. Standard library only; imports nothing of ours.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, cores: str, command: list[str]) -> None:
    if cores != "any":
        os.sched_setaffinity(0, set(map(int, cores.split(","))))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
