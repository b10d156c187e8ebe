"""What is written of a run that failed inside its training process."""

from __future__ import annotations

import json
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from scaling.errors import UserError
from scaling.store.files import write_json
from scaling.store.records import Kind, attempt_after, is_disk_full, reached

SCHEMA = 1
LINES = 20


def kind_of(error: BaseException) -> Kind:
    """In a training process only its data can cause a UserError."""
    if is_disk_full(error):
        return "disk_full"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return "out_of_memory"
    return "data_error" if isinstance(error, UserError) else "exception"


def write_failure(
    folder: Path, job_dir: Path, error: Exception, step: int | None, kind: Kind | None = None
) -> None:
    """Write ``error.json`` of the run in ``folder`` and the traceback to the log. A full disk may refuse
    both: the driver then says what happened, by the exit status."""
    with suppress(OSError):
        traceback.print_exception(error)
    run_id, kind, at = folder.name, kind or kind_of(error), reached(job_dir, folder.name)
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    failure: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": kind,
        "message": message,
        "step": step,
        "run_id": run_id,
        "attempt": attempt_after(_previous(folder), kind, at),
        "reached": at,
        "log_tail": "".join(traceback.format_exception(error)).splitlines()[-LINES:],
    }
    try:
        write_json(folder / "error.json", failure)
    except OSError as refused:
        with suppress(OSError):
            print(f"error.json of {run_id} could not be written: {refused}", flush=True)


def _previous(folder: Path) -> dict[str, Any] | None:
    try:
        value = json.loads((folder / "error.json").read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
