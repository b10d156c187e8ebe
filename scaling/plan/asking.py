"""Questions to a process that may import jax: JSON to its standard input, JSON from its output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

TIMEOUT_SECONDS = 900


class ProbeFailed(Exception):
    """There is no answer; the message says why. A plan is good without it."""


def ask(module: str, name: str, question: Mapping[str, Any], environment: Mapping[str, str] | None) -> str:
    """Return what a module prints.

    Args:
        module: to be run.
        name: for people.
        question: for its standard input.
        environment: of the process; this one's if None.

    Raises:
        ProbeFailed: it took too long, or failed.
    """
    command = [sys.executable, "-m", module]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise ProbeFailed(f"the {name} took more than {TIMEOUT_SECONDS} s") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ProbeFailed(f"the {name} exited with code {done.returncode}: {last[0]}")
    return done.stdout
