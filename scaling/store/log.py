"""The log of a job: ``log.txt``, with a line from each start before what its processes print."""

from __future__ import annotations

import time
from pathlib import Path

from scaling.files import tail


def now() -> str:
    """Return the time as logs and records say it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def log_tail(folder: Path, lines: int = 20, window: int = 16384) -> list[str]:
    """Return the last lines of a job's log, of its last start only."""
    try:
        text = tail(folder / "log.txt", window).decode(errors="replace")
    except OSError:
        return []
    text = text[text.rfind("\n=== start ") + 1 :] if "\n=== start " in text else text
    return [line for line in text.splitlines() if not line.startswith("=== start ")][-lines:]
