"""A process as others can recognise it, and whether it has certainly ended."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process as others can recognise it: ``machine`` covers host name, boot and process namespace."""

    host: str
    machine: str
    pid: int
    started: str

    @staticmethod
    def here() -> Process:
        return Process.of(os.getpid())

    @staticmethod
    def of(pid: int) -> Process:
        """Return a process of this machine."""
        return Process(socket.gethostname(), _machine(), pid, _started(pid) or "")

    @property
    def gone(self) -> bool:
        """Whether it has certainly ended: never said of a process of another machine."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            return _started(self.pid) != self.started
        except psutil.AccessDenied:
            return False

    @property
    def runs_here(self) -> bool:
        """Whether it is a living process of this machine, for certain."""
        return bool(self.machine) and self.machine == _machine() and not self.gone


@cache
def _machine() -> str:
    """Return a hash of host, boot and process namespace; empty where process ids cannot be checked."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return hashlib.sha256(f"{socket.gethostname()} {boot} {space}".encode()).hexdigest()[:16]


def _started(pid: int) -> str | None:
    """Start time of a living process in clock ticks since boot; None when it has ended.

    Seconds since the epoch would move with the clock of the machine, so the time of boot, which moves alike,
    is taken off again.
    """
    try:
        process = psutil.Process(pid)
        while True:
            boot = psutil.boot_time()
            seconds = process.create_time() - boot
            if psutil.boot_time() == boot:  # else the clock was set in between
                break
            process = psutil.Process(pid)
        return None if process.status() in ENDED else str(round(seconds * TICKS))
    except psutil.NoSuchProcess:
        return None
