"""What the jobs of a test do in the queue, and what may happen to them there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scaling.store.folder import ResultsFolder
from scaling.sweep.slurm.submission import submissions
from tests.slurm import cluster


@dataclass(frozen=True)
class QueuedJob:
    """A job, or a task of an array, as the queue shows it; an ended one for five minutes."""

    id: str
    """Number of a job; for a task of an array, of the array with the task's: 7_3."""
    number: str
    """Number that its processes know."""
    name: str
    state: str
    reason: str
    node: str

    @property
    def ended(self) -> bool:
        return self.state not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED")


def slurm(*command: str) -> str:
    """Run a command of Slurm's; what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()


def queue(*names: str) -> list[QueuedJob]:
    """All jobs of these names, tasks of arrays one by one."""
    lines = slurm(
        "squeue", "--noheader", "--array", "--states=all", "--format=%i|%A|%j|%T|%r|%N"
    ).splitlines()
    jobs = [QueuedJob(*line.split("|")) for line in lines]
    return [job for job in jobs if job.name in names]


def of_study(results: Path) -> list[QueuedJob]:
    """All jobs that were submitted for a results folder."""
    return queue(*(submission.name for submission in submissions(ResultsFolder(results))))


def processes(job: QueuedJob) -> list[int]:
    """Processes of a running job."""
    return _processes_marked(f"SLURM_JOB_ID={job.number}", f"SLURMD_NODENAME={job.node}")


def kill_step(job: QueuedJob) -> None:
    """Kill all processes of a running job at once, where it runs."""
    _kill(processes(job))


def preempt(job: QueuedJob) -> None:
    """Have a short job of the partition `urgent` take the node of a job, which Slurm requeues."""
    wanted = ["--partition=urgent", f"--nodelist={job.node}", "--exclusive", "--job-name=urgent"]
    slurm("sbatch", "--wait", *wanted, "--output=/dev/null", "--wrap=true")


def requeue(job: QueuedJob) -> None:
    """Have Slurm end a running job and start it again later."""
    slurm("scontrol", "requeue", job.id)


def start_held(job: QueuedJob) -> None:
    """Start a requeued job now that Slurm holds for a while (reason BeginTime). Not within the second of its
    requeue: its node would take the new credential for the revoked one, and the job would fail."""
    time.sleep(2)
    subprocess.run(
        ["scontrol", "update", f"JobId={job.id}", "StartTime=now"], capture_output=True, timeout=60
    )


@contextmanager
def dead_node(node: str) -> Iterator[None]:
    """Kill a node at once, with all that runs there; start it again at the end."""
    kill_node(node)
    try:
        yield
    finally:
        cluster.start_node(node)


def kill_node(node: str) -> None:
    """Kill a node's daemons, then all that they started."""
    log = str(cluster.FOLDER / f"{node}.log")
    _kill([*_processes_with(log), *_processes_marked(f"SLURMD_NODENAME={node}")])


def _kill(processes: list[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes_with(log: str) -> list[int]:
    """Processes that write to a log: a node's slurmd, and what watches over each step there."""
    writers = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            files = [os.readlink(link) for link in Path(f"/proc/{name}/fd").iterdir()]
            writers += [int(name)] * (log in files)
    return writers


def _processes_marked(*marks: str) -> list[int]:
    """Processes with such lines in the environment they were started with."""
    wanted = {mark.encode() for mark in marks}
    members = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if wanted <= set(Path(f"/proc/{name}/environ").read_bytes().split(b"\0")):
                members.append(int(name))
    return sorted(members)


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is true; fail the test with its name if it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
