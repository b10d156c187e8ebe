"""Jobs of an external run, whose command is a few lines of Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from scaling.run import ExternalRun, run_id
from scaling.store.records import JobSpec

RUN = ExternalRun.model_validate(
    {
        "trainer": {"version": 1},
        "size": {
            "name": "tiny",
            "params": 1000,
            "flops_per_token": 6000,
            "context": 8,
            "config": {"width": 4},
        },
        "data": {"tokens": 100_000},
        "recipe": {"learning_rate": 0.01, "anything": "else"},
        "batch_sequences": 2,
        "steps": 40,
        "seed": 3,
    }
)
ID = run_id(RUN)
DATA = {
    "corpus": "external",
    "tokenizer": "external",
    "context": 8,
    "eval_documents": 0,
    "eval_tokens": 0,
    "fingerprint": RUN.data.fingerprint,
    "eval_id": "0123456789ab",
}
HEAD = """
import json, os, signal, sys, time
asked = json.load(open(sys.argv[1]))
paths = asked["paths"]
def row(**fields):
    with open(paths["metrics"], "a") as file:
        print(json.dumps(fields), file=file)
def result(**fields):
    with open(paths["result"], "w") as file:
        json.dump({"run_id": asked["run_id"], "loss": 2.5} | fields, file)
"""


def write_job(
    folder: Path, script: str, *, resume: bool = False, grace: float = 5.0, argv: list[str] | None = None
) -> Path:
    """Write a results folder with one job, whose command is ``script`` below :data:`HEAD`."""
    program = folder / "train.py"
    folder.mkdir(parents=True, exist_ok=True)
    program.write_text(HEAD + textwrap.dedent(script))
    job_dir = folder / "jobs" / ID
    job_dir.mkdir(parents=True, exist_ok=True)
    command = {
        "argv": argv or [sys.executable, "-I", "train.py", "{run}", "--out={out}"],
        "directory": str(folder),
        "resume": resume,
        "grace_seconds": grace,
    }
    job = {
        "study": "test",
        "job_id": ID,
        "data": DATA,
        "branch_steps": [0],
        "runs": [{"run_id": ID, "label": "tiny", "run": RUN, "flops_spent": 1}],
        "execution": {
            "checkpoint_seconds": 60.0,
            "keep_final": False,
            "lease_seconds": 30.0,
            "threads": 1,
            "command": command,
        },
    }
    spec = JobSpec[ExternalRun].model_validate(job)
    (job_dir / "job.json").write_text(json.dumps(spec.to_json()))
    return job_dir


def start(job_dir: Path, *mark: str) -> subprocess.Popen[bytes]:
    """Start the supervisor of a job, as a driver does."""
    with open(job_dir / "log.txt", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "scaling.supervisor", str(job_dir), *mark],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )


def wait_for(what, seconds: float = 20.0):
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (seen := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return seen


def alive(pid: int) -> bool:
    """Whether a process runs: a zombie has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def run_dir(job_dir: Path) -> Path:
    return job_dir.parent.parent / "runs" / ID


def read_json(path: Path):
    return json.loads(path.read_text())


def rows(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]
