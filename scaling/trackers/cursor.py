"""How far each run was sent: what lets another process continue."""

from __future__ import annotations

import time
from pathlib import Path

from scaling.errors import UserError
from scaling.files import write_json
from scaling.recipe.quantities import Frozen
from scaling.store.documents import Document, Id, read

SAVE_SECONDS = 1.0


class Sent(Frozen):
    """``step`` is the last one that was sent, -1: none; ``ended``: the run's record too."""

    step: int = -1
    ended: bool = False


class CursorFile(Document):
    """``trackers/state/KIND/cursor.json``."""

    destination: dict[str, str]
    runs: dict[Id, Sent]


class Cursor:
    """What was sent to one destination; a file about another one, or a damaged one, counts as none."""

    def __init__(self, folder: Path, destination: dict[str, str], *, again: bool = False):
        self.path, self.destination = folder / "cursor.json", destination
        self.runs = dict[str, Sent]()
        self._saved, self._changed = time.monotonic(), False
        try:
            kept = None if again else read(CursorFile, self.path)
        except UserError:
            kept = None
        if kept is not None and kept.destination == destination:
            self.runs |= kept.runs

    def of(self, run_id: str) -> Sent:
        return self.runs.get(run_id, Sent())

    def put(self, run_id: str, sent: Sent) -> None:
        """Write the file, unless that was done less than a second ago."""
        self._changed |= self.runs.get(run_id) != sent
        self.runs[run_id] = sent
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        if self._changed:
            write_json(self.path, CursorFile(destination=self.destination, runs=self.runs).to_json())
            self._saved, self._changed = time.monotonic(), False
