"""Whether pilots are alive: by what they write, as a queue may show jobs of a node that lost them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from scaling.store.folder import ResultsFolder
from scaling.sweep.slurm.cluster import LATER, QueueRow
from scaling.sweep.slurm.submission import PilotNote, Submission, pilot_notes

SILENT_SECONDS = 120.0  # after which a pilot that writes every two seconds is not expected to write again
ON_PURPOSE = "JobHeldUser"  # the reason of a job that somebody holds


@dataclass
class Pulse:
    """When the note of each pilot last changed, by the clock of whoever looks."""

    heard: dict[tuple[str, int], tuple[datetime, float]] = field(
        default_factory=dict[tuple[str, int], tuple[datetime, float]]
    )

    def serves(self, results: ResultsFolder, one: Submission, rows: Sequence[QueueRow]) -> bool:
        """Tell whether a submission has a task that works, or will: one of which nobody knows counts."""
        notes = {note.task: note for note in pilot_notes(results, one.id)}
        living = [row for row in rows if row.living]
        alive = [self._alive(notes.get(row.task or 0), row) for row in living]
        return any(alive) or not living

    def _alive(self, note: PilotNote | None, row: QueueRow) -> bool:
        if row.pending:
            return not row.held or row.reason in (LATER, ON_PURPOSE)
        if note is None or note.state != "running":  # of its start before, or it is ending
            return True
        key, now = (note.submission, note.task), time.monotonic()
        updated, since = self.heard.get(key, (None, now))
        if updated != note.updated:
            since = now
        self.heard[key] = note.updated, since
        return now - since < SILENT_SECONDS
