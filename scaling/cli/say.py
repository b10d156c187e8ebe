"""What the command prints: data on standard output, remarks on standard error."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import Any

from scaling.errors import Complaint, UserError


def data(value: Any) -> None:
    """One JSON object."""
    print(json.dumps(value, indent=1, allow_nan=False))


def colours() -> bool:
    """Whether standard output takes escape sequences: a terminal, and NO_COLOR is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def next_command(*command: object) -> None:
    print(f"\nnext: {shlex.join(['scaling', *map(str, command)])}")


def set_again(overrides: list[str] | None) -> list[str]:
    """Return the ``--set`` options of a command, for the next one."""
    return [part for text in overrides or [] for part in ("--set", text)]


def unwritable(option: str, error: OSError, hint: str) -> UserError:
    """Return the error of an ``option`` that names what cannot be written."""
    return UserError(Complaint(f"{option}: cannot be written ({error.strerror or error})", hint=hint))
