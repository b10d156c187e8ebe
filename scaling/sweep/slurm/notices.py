"""What whoever watches a study at Slurm should know beside what its runs do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from scaling.store.folder import ResultsFolder
from scaling.sweep.slurm.allocations import MEANINGS
from scaling.sweep.slurm.cluster import QueueRow
from scaling.sweep.slurm.submission import Submission, log_file, pilot_notes

LONG_SECONDS = 60.0  # after which it is said why tasks wait


def notices(
    results: ResultsFolder,
    there_are: Sequence[Submission],
    rows: Mapping[str, Sequence[QueueRow]],
    since: datetime,
) -> Iterator[str]:
    """Say why tasks wait, where they wait for long, and why pilots could not work.

    Args:
        results: the folder.
        there_are: its submissions.
        rows: what Slurm knows of them.
        since: when the launch began of whose pilots it is said.
    """
    for one in there_are:
        yield from _waits(one, rows.get(one.id, ()))
        if one.kind == "pilots" and one.since >= since:
            yield from _failures(results, one, rows.get(one.id, ()))


def _waits(one: Submission, rows: Sequence[QueueRow]) -> Iterator[str]:
    long_ago = datetime.now(UTC).timestamp() - LONG_SECONDS
    waiting = [
        row.reason
        for row in rows
        if row.pending and row.reason and row.submitted and row.submitted.timestamp() < long_ago
    ]
    for reason in sorted({*waiting}):
        meaning = f": {MEANINGS[reason]}" if reason in MEANINGS else ""
        number = waiting.count(reason)
        yield f"Slurm job {one.job}: {number} of {one.tasks} tasks wait ({reason}{meaning})"


def _failures(results: ResultsFolder, one: Submission, rows: Sequence[QueueRow]) -> Iterator[str]:
    notes = pilot_notes(results, one.id)
    for note in notes:
        if note.state == "ended" and note.message is not None and note.exit_code in (1, 2):
            yield f"a pilot on {note.node} could not work: {note.message}"
    began = {note.task for note in notes}
    for row in rows:
        task = 0 if row.task is None else row.task
        if not row.living and row.state not in ("COMPLETED", "CANCELLED") and task not in began:
            why = f"{row.state}, {row.reason}" if row.reason else row.state
            log = log_file(results, one.id, task)
            yield f"Slurm job {row.label} ended before its pilot began ({why}): see {log}"
