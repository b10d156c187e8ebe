"""A process between the supervisor and a command: starts it, and leaves nothing of it behind.

``python -I keeper.py LOG ARGV...``. The command gets a session of its own; what it prints goes to LOG. On
standard input come lines of one word: ``stop`` sends SIGTERM to the command's process group. The end of that
input, so also the death of the supervisor, or a SIGUSR1 to this process, kills the command and everything
that descends from it, daemons too: on Linux, processes whose parents have ended become children of this one.
SIGTERM is not for this process: Slurm sends it to all of a job, whose command then has time to save.

Answers on standard output, a line of JSON each: ``{"pid": ...}`` once it runs or ``{"refused": reason}``, and
at the end ``{"status", "left", "cpu_seconds"}``, where ``left`` names processes that outlived the command.
Standard library and psutil; imports nothing of ours.
"""

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
KILL = signal.SIGUSR1
SHOWN = 3  # processes that are named
ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def main(log: str, argv: list[str]) -> None:
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    asked_to_kill: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(KILL, lambda number, _: asked_to_kill.append(number))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # which, unlike SIG_IGN, the command does not inherit
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def tie() -> None:  # this process has one thread, so this is safe between fork and exec
        if libc:
            libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    try:
        with open(log, "ab") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=tie,
            )
    except OSError as error:
        say(refused=f"{error.strerror}: {error.filename}")
        return
    say(pid=process.pid)
    while process.poll() is None and not asked_to_kill:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            reap(process.pid)
        if 0 in ready:
            words = os.read(0, 4096)
            if not words:
                break
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGTERM)
    left = [] if process.poll() is None else descendants()
    names = [f"{shown(one)} (process {one.pid})" for one in left[:SHOWN]]
    process.kill()
    status = process.wait()  # before others collect it
    kill_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    say(status=status, left=names, cpu_seconds=used.ru_utime + used.ru_stime)


def descendants() -> list[psutil.Process]:
    """Return what descends from this process and has not ended."""
    living = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if one.status() not in ENDED:
                living.append(one)
    return living


def kill_all() -> None:
    """Kill descendants until there are none: between two looks they may have had children."""
    while living := descendants():
        for one in living:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                one.kill()
        psutil.wait_procs(living, timeout=0.5)


def reap(command: int) -> None:
    """Collect descendants that ended here; the command itself is waited for by its own object."""
    for one in psutil.Process().children():
        with suppress(ChildProcessError, psutil.NoSuchProcess):
            if one.pid != command and one.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(one.pid, os.WNOHANG)


def shown(one: psutil.Process) -> str:
    try:
        return " ".join(one.cmdline())[:80]
    except psutil.Error:
        return "?"


def say(**facts: object) -> None:
    with suppress(OSError):  # nobody listens any more
        os.write(1, json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
