"""Writing files so that a reader sees the old one or the whole new one; locks among processes; the cache."""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def cache_dir() -> Path:
    """Return ``$SCALING_CACHE``, else ``$XDG_CACHE_HOME/scaling-laws``, else ``~/.cache/scaling-laws``;
    absolute."""
    if given := os.environ.get("SCALING_CACHE"):
        return Path(given).expanduser().absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "scaling-laws"
    return Path("~/.cache").expanduser().absolute() / "scaling-laws"


@contextmanager
def aside(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a name beside ``path`` to write to: renamed to ``path`` at the end, removed when anything fails.

    ``durable``: the content is on the disk before the name is, and the name before this returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    other = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield other
        if durable:
            sync(other)
        os.replace(other, path)
    except BaseException:
        with suppress(OSError):
            other.unlink()
        raise
    if durable:
        sync(path.parent)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace ``path`` by ``text``; see :func:`aside`."""
    with aside(path, durable=durable) as other:
        other.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write as :func:`write_text`; refuse numbers that are not finite."""
    write_text(path, _json(value), durable=durable)


def create_json(path: Path, value: Any) -> bool:
    """Write ``path`` durably if there is no such file yet; whether it was this call that made it."""
    other = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        other.write_text(_json(value), encoding="utf-8")
        sync(other)
        os.link(other, path)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            other.unlink()
    sync(path.parent)
    return True


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError that names no file, as one of ``write`` does not, name this one."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def sync(path: Path) -> None:
    """Wait until ``path``, a file or a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tail(path: Path, size: int) -> bytes:
    """Return the last bytes of a file, at most ``size``."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - size))
        return file.read()


def clear_leftovers(folder: Path) -> None:
    """Remove what writers killed halfway left in ``folder``; only where nobody else writes."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(folder):
            if name.startswith(".") and name.endswith(".tmp"):
                with suppress(OSError):
                    (folder / name).unlink()


@contextmanager
def lock(path: Path, seconds: float) -> Iterator[bool]:
    """Hold the lock of a folder, or of a file that is made for it; wait for at most ``seconds``.

    Yields whether it is held. A file system without locks keeps nobody out: there it counts as held.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor, deadline = os.open(path, flags, 0o666), time.monotonic() + seconds
    try:
        while not (held := _try_lock(descriptor)) and time.monotonic() < deadline:
            time.sleep(0.005)
        yield held
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks
        pass
    return True


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"
