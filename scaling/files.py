"""Writing files so that a reader sees the old one or the whole new one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write aside and rename. ``durable``: on the disk before the name is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(aside, path)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """As :func:`write_text`; refuses numbers that are not finite."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n", durable=durable)
