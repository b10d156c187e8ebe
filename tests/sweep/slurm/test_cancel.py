"""What a cancellation ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from scaling.errors import UserError
from scaling.files import write_json
from scaling.store.folder import ResultsFolder
from scaling.store.process import Process
from scaling.sweep.guard import DriverNote
from scaling.sweep.slurm import cancel as module
from scaling.sweep.slurm.cancel import cancel, last_cancel
from scaling.sweep.slurm.cluster import SlurmError
from scaling.sweep.slurm.submission import PilotNote, note_file, submissions
from tests.sweep.plans import make_plan
from tests.sweep.slurm.stand_in import Slurm
from tests.sweep.slurm.submitted import make_submission

PLAN = make_plan([(8, 50)], kind="slurm")
WAIT = [
    sys.executable,
    "-c",
    "import signal; signal.signal(2, signal.SIG_DFL); print(flush=True); signal.pause()",
]


@pytest.fixture
def program():
    """Processes that end by SIGINT, as others see them."""
    started = list[subprocess.Popen[bytes]]()

    def start() -> tuple[subprocess.Popen[bytes], Process]:
        process = subprocess.Popen(WAIT, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout and process.stdout.readline()
        ticks = round((psutil.Process(process.pid).create_time() - psutil.boot_time()) * 100)
        here = Process.here()
        return process, Process(here.host, here.machine, process.pid, str(ticks))

    yield start
    for process in started:
        process.kill()
        process.communicate()


def write_driver(folder: Path, process: Process) -> None:
    (folder / "drivers").mkdir(exist_ok=True)
    now = datetime.now(UTC)
    note = DriverNote(process=process, began=now, updated=now)
    write_json(folder / "drivers" / f"{process.machine}-{process.pid}.json", note.to_json())


def states(folder: Path) -> dict[str, str]:
    return {one.name: one.state for one in submissions(ResultsFolder(folder))}


def test_jobs_end_with_checkpoints_and_what_depends_on_them_first(tmp_path: Path, slurm: Slurm) -> None:
    old, pilots = make_submission(tmp_path, PLAN, state="ended"), make_submission(tmp_path, PLAN)
    analysis = make_submission(tmp_path, PLAN, kind="analysis", after=("200",))
    unsure = make_submission(tmp_path, PLAN, state="intended", job=None, made=datetime.now(UTC))
    for one in (pilots, analysis):
        slurm.add(one.name, state="RUNNING")
    done = cancel(ResultsFolder(tmp_path))
    assert done.jobs == (analysis.job, pilots.job) and not done.problems and not done.processes
    assert slurm.cancelled[0] == (analysis.name,)
    polite = ("--state=RUNNING", "--batch", "--signal=USR2")
    assert slurm.cancelled[1:] == [
        (pilots.name, "--state=PENDING"), (unsure.name, "--state=PENDING"),
        (pilots.name, *polite), (unsure.name, *polite),
    ]  # fmt: skip
    assert states(tmp_path) == {old.name: "ended"} | dict.fromkeys(
        (pilots.name, analysis.name, unsure.name), "cancelled"
    )
    first = last_cancel(ResultsFolder(tmp_path))
    again = cancel(ResultsFolder(tmp_path))
    assert not (again.jobs or again.processes or again.problems)
    assert first and last_cancel(ResultsFolder(tmp_path)) not in (None, first)


def test_what_does_not_end_is_killed(tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    pilots = make_submission(tmp_path, PLAN)
    slurm.add(pilots.name, state="RUNNING")
    (row,) = slurm.rows[pilots.name]
    monkeypatch.setattr(module, "queue_rows", lambda names: [row])
    monkeypatch.setattr(module, "MARGIN_SECONDS", -1000)
    cancel(ResultsFolder(tmp_path))
    assert slurm.cancelled[-1] == (pilots.name,)


def test_drivers_of_this_machine_are_asked_to_stop_and_pilots_are_not(
    tmp_path: Path, slurm: Slurm, program
) -> None:
    (driver, known), (pilot, noted) = program(), program()
    submission, now = make_submission(tmp_path, PLAN, state="ended"), datetime.now(UTC)
    for process in (known, noted, Process("other", "another machine", known.pid, "1")):
        write_driver(tmp_path, process)
    note = PilotNote(
        submission=submission.id, task=0, job="100", slurm_id="100", node="n1", restarts=0,
        process=noted, began=now, updated=now, state="running",
    )  # fmt: skip
    write_json(note_file(ResultsFolder(tmp_path), submission.id, 0), note.to_json())
    assert cancel(ResultsFolder(tmp_path)).processes == (known.pid,)
    assert driver.wait(10) == -signal.SIGINT and pilot.poll() is None


def test_one_that_fails_says_so_and_leaves_it_open(
    tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(names: object, *options: str) -> None:
        raise SlurmError("scancel failed: Access denied")

    pilots = make_submission(tmp_path, PLAN)
    slurm.add(pilots.name)
    monkeypatch.setattr(module, "scancel", fail)
    done = cancel(ResultsFolder(tmp_path))
    assert done.jobs == () and done.problems == ("scancel failed: Access denied",)
    assert states(tmp_path) == {pilots.name: "submitted"}


def test_a_folder_without_a_study_has_nothing_to_cancel(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no study"):
        cancel(ResultsFolder(tmp_path))
