"""A command of a user's, under its keeper: started, asked to stop, killed with all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scaling.errors import Complaint, UserError

KEEPER = Path(__file__).with_name("keeper.py")
END_SECONDS = 10.0  # for the keeper to kill what descends from a command


@dataclass(frozen=True)
class Ended:
    """How a command ended: ``status`` is negative for a signal, ``left`` are processes that outlived it."""

    status: int
    left: tuple[str, ...]
    cpu_seconds: float


class Command:
    """A command that runs in ``folder``, with ``environment`` over that of this process.

    Raises:
        UserError: it cannot be started.
    """

    def __init__(self, argv: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]):
        try:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", str(KEEPER), str(log), *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except OSError as error:
            raise _refusal(argv, folder, str(error)) from None
        self.keeper = self._keeper.pid
        self._answers = self._keeper.stdout
        first = self._answer()
        if first is None or "refused" in first:
            self._keeper.communicate()
            reason = first["refused"] if first else "its keeper ended"
            raise _refusal(argv, folder, reason)
        self.pid: int = first["pid"]
        self._ended: Ended | None = None

    def _answer(self) -> dict | None:
        assert self._answers
        line = self._answers.readline()
        return json.loads(line) if line else None

    def poll(self) -> Ended | None:
        """Return how it ended; None while it runs."""
        if self._ended is None and self._keeper.poll() is not None:
            last = self._answer()  # None: the keeper was killed, and the command with it
            self._ended = Ended(**last) if last else Ended(-signal.SIGKILL, (), 0.0)
        return self._ended

    def stop(self) -> None:
        """Send SIGTERM to its process group."""
        self._tell(b"stop\n")

    def kill(self) -> Ended:
        """Kill it, with all that descends from it, and wait until they have ended."""
        assert self._keeper.stdin
        with suppress(OSError):
            self._keeper.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._keeper.wait(END_SECONDS)
        self._keeper.kill()
        self._keeper.wait()
        ended = self.poll()
        assert ended and self._answers
        self._answers.close()
        return ended

    def _tell(self, word: bytes) -> None:
        assert self._keeper.stdin
        with suppress(OSError):  # it has just ended
            self._keeper.stdin.write(word)
            self._keeper.stdin.flush()


def _refusal(argv: Sequence[str], folder: Path, reason: str) -> UserError:
    problem = f"trainer.argv[0] = {argv[0]!r} cannot be started in {str(folder)!r}: {reason}"
    hint = "name a program on PATH, or one by its path; a relative path is of the folder of the spec"
    return UserError(Complaint(problem, hint=hint))
