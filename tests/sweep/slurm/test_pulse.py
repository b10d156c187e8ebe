"""Whether a submission serves its jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scaling.files import write_json
from scaling.store.folder import ResultsFolder
from scaling.store.process import Process
from scaling.sweep.slurm import pulse as module
from scaling.sweep.slurm.cluster import QueueRow
from scaling.sweep.slurm.pulse import Pulse
from scaling.sweep.slurm.submission import PilotNote, note_file
from tests.sweep.plans import make_plan
from tests.sweep.slurm.submitted import make_submission


def row(task: int, state: str, reason: str = "", *, held: bool = False) -> QueueRow:
    return QueueRow("100", task, f"{100 + task}", "name", state, reason, held=held)


@pytest.mark.parametrize(
    ("rows", "serves"),
    [
        ((row(0, "PENDING", "Resources"),), True),
        ((row(0, "RUNNING"),), True),  # its pilot has written nothing yet
        ((row(0, "FAILED"), row(1, "PENDING", "BeginTime", held=True)), True),
        ((row(0, "PENDING", "JobHeldUser", held=True),), True),
        ((row(0, "PENDING", "JobHeldAdmin", held=True), row(1, "FAILED")), False),
        ((), True),  # it is being submitted
    ],
)
def test_by_the_queue(tmp_path: Path, rows: tuple[QueueRow, ...], serves: bool) -> None:
    one = make_submission(tmp_path, make_plan([(8, 50)]))
    assert Pulse().serves(ResultsFolder(tmp_path), one, rows) == serves


def test_a_pilot_that_writes_no_more_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, now = ResultsFolder(tmp_path), datetime.now(UTC)
    one, pulse, clock = make_submission(tmp_path, make_plan([(8, 50)])), Pulse(), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    def write(updated: datetime) -> None:
        note = PilotNote(
            submission=one.id, task=0, job="100", slurm_id="100", node="n1", restarts=0,
            process=Process.here(), began=now, updated=updated, state="running",
        )  # fmt: skip
        write_json(note_file(results, one.id, 0), note.to_json())

    seen = list[bool]()
    for seconds, updated in ((0, -1000), (100, -1000), (110, 5), (220, 5), (240, 5), (250, 6)):
        clock[0] = seconds
        write(now + timedelta(seconds=updated))
        seen.append(pulse.serves(results, one, [row(0, "RUNNING")]))
    assert seen == [True, True, True, True, False, True]
