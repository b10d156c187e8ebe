"""One driver at a time in a results folder.

The lock is a ``flock`` on an open file that the driver's jobs inherit: it is held until the last of them is
gone, so a relaunch never trains beside the dying jobs of a killed driver.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from scaling.errors import Problem, UserError
from scaling.sweep.store import Store, read_json

LOCK = "driver.lock"
WAIT_SECONDS = 5.0  # jobs of a killed driver are gone before


@contextmanager
def hold(store: Store) -> Iterator[int]:
    """Hold the folder; yields the lock's descriptor, for jobs to inherit.

    Raises:
        UserError: another driver, or a job that one left, holds it and does not let go within seconds; it is
            not a folder, or cannot be written.
    """
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(store.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        problem = f"results folder {str(store.folder)!r}: {error.strerror}"
        raise UserError(Problem(problem, hint="name a folder that can be written")) from None
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise UserError(_busy(store))
            time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def driver_info(store: Store) -> dict[str, Any] | None:
    """What the driver at work in the folder says of itself; None when no driver holds it."""
    try:
        descriptor = os.open(store.folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if _try_lock(descriptor, fcntl.LOCK_SH):
            return None
    finally:
        os.close(descriptor)
    with suppress(UserError):
        return read_json(store.driver) or {}
    return {}


def _try_lock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy(store: Store) -> Problem:
    info = driver_info(store) or {}
    who = f"process {info['pid']} on {info['host']}" if "pid" in info else "a process"
    hint = f"wait for it, or stop it; `scaling status {store.folder}` shows what it does"
    return Problem(f"another `scaling run` ({who}) is at work in {str(store.folder)!r}", hint=hint)
