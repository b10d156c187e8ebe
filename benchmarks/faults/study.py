"""The study that is broken, and what is compared at its end with the same study left in peace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from analysis import ledger

SPEC = Path(__file__).with_name("study.yaml")
ROOT = SPEC.parents[2]
INJECTED = SPEC.with_name("injected")
LIMIT = 600.0  # seconds of one launch


@dataclass
class Row:
    """One kind of fault: how often it was tried, and how often the study came out as it must."""

    fault: str
    tried: int = 0
    survived: int = 0
    problems: list[str] = field(default_factory=list)
    note: str = ""

    def add(self, problems: list[str], times: int = 1) -> None:
        self.tried += times
        self.survived += 0 if problems else times
        self.problems += problems


@dataclass(frozen=True)
class Seen:
    """A living process of a study."""

    pid: int
    parent: int
    kind: Literal["driver", "job"]
    job: str | None

    @property
    def stopped(self) -> bool:
        return _fields(self.pid)[:1] == ["T"]


def _fields(pid: int) -> list[str]:
    """State, parent, ... of a process; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass
class Trial:
    """A results folder, and the launches of the study in it. Standard error of all goes to one file."""

    folder: Path
    spec: Path = SPEC
    options: tuple[str, ...] = ()
    launched: list[subprocess.Popen[bytes]] = field(default_factory=list)
    said: Path | None = None

    @property
    def stderr(self) -> Path:
        return self.said or self.folder.with_name(f"{self.folder.name}.stderr")

    def heard(self) -> str:
        return self.stderr.read_text(errors="replace") if self.stderr.exists() else ""

    def start(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "scaling.cli", "run", str(self.spec), "--results", str(self.folder)]
        paths = [str(INJECTED)] * bool(environment) + [str(ROOT), os.environ.get("PYTHONPATH", "")]
        known = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | environment
        with open(self.stderr, "ab") as file:
            process = subprocess.Popen(
                [*command, *self.options, *options], stdout=subprocess.DEVNULL, stderr=file, env=known
            )
        self.launched.append(process)
        return process

    def run(self, *options: str, **environment: str) -> tuple[int, str]:
        """One launch to its end: exit code and what it said on standard error."""
        before = len(self.heard())
        code = self.start(*options, **environment).wait(LIMIT)
        return code, self.heard()[before:]

    def finish(self, launches: int = 4, **environment: str) -> list[str]:
        """Launch until the study is complete; problems where it is not after so many."""
        code, said = 0, ""
        for _ in range(launches):
            code, said = self.run(**environment)
            if code == 0:
                return []
        return [f"exit code {code} after {launches} undisturbed launches: {said.strip()[-300:]}"]

    def processes(self) -> list[Seen]:
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            fields = _fields(int(name))
            if not fields or fields[0] in "ZX" or not words[0]:
                continue
            if str(self.folder) in words:
                found.append(Seen(int(name), int(fields[1]), "driver", None))
            with suppress(OSError):  # a process that serves jobs writes to the log of the one at work
                log = os.readlink(f"/proc/{name}/fd/2")
                if log.startswith(f"{self.folder}/jobs/"):
                    found.append(Seen(int(name), int(fields[1]), "job", Path(log).parent.name))
        return found

    def jobs(self) -> list[Seen]:
        return [process for process in self.processes() if process.kind == "job"]

    def status(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "scaling.cli", "status", str(self.folder), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=ROOT)
        return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr}

    def progress(self) -> int:
        """Grows while runs are trained."""
        found = 0
        for path in (*self.folder.glob("jobs/*/trunk.jsonl"), *self.folder.glob("runs/*/metrics.jsonl")):
            found += size(path)
        return found


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def wait_for(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first truth, or the last falsehood."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@contextmanager
def cleared(trial: Trial) -> Iterator[Trial]:
    """Whatever happens, none of its processes stays."""
    try:
        yield trial
    finally:
        for process in trial.launched:
            if process.poll() is None:
                process.kill()
                process.wait()


def results(folder: Path) -> dict[str, Any]:
    records = [json.loads(path.read_text()) for path in folder.glob("runs/*/record.json")]
    return {record["run_id"]: record["result"] for record in records}


def curves(folder: Path) -> dict[str, list[Any]]:
    found = {}
    for path in folder.glob("runs/*/metrics.jsonl"):
        rows = map(json.loads, path.read_text().splitlines())
        found[path.parent.name] = [{k: v for k, v in row.items() if k != "wall_time"} for row in rows]
    return found


def differences(calm: Path, trial: Trial) -> list[str]:
    """Problems of a finished study: in results, curves, forecasts or fit; or a traceback."""
    problems, (one, other) = [], (results(calm), results(trial.folder))
    for run_id in sorted(one.keys() | other.keys()):
        if one.get(run_id) != other.get(run_id):
            problems.append(f"result of {run_id} differs: {_short(one, run_id)} -> {_short(other, run_id)}")
    one, other = curves(calm), curves(trial.folder)
    for run_id in sorted(one.keys() | other.keys()):
        if one.get(run_id) != other.get(run_id):
            steps = [row["step"] for row in other.get(run_id, [])]
            problems.append(f"curve of {run_id} differs: steps {steps}")
    held_out = {f.target["run_id"] for f, _ in ledger.standing(calm / "forecasts")}
    standing = [(f.target["run_id"], origin) for f, origin in ledger.standing(trial.folder / "forecasts")]
    if sorted(standing) != sorted((run_id, "frozen") for run_id in held_out):
        problems.append(f"forecasts that stand: {standing}")
    law = "fits/chinchilla.json"
    if (calm / law).read_bytes() != (trial.folder / law).read_bytes():
        problems.append("the fit differs")
    return problems + tracebacks(trial)


def _short(found: dict[str, Any], run_id: str) -> str:
    return f"loss {found[run_id]['loss']!r}" if run_id in found else "none"


def tracebacks(trial: Trial) -> list[str]:
    said = trial.heard()
    place = said.find("Traceback")
    return [f"a traceback on standard error: ...{said[-400:]}"] if place >= 0 else []


def trained_twice(trial: Trial) -> list[str]:
    """Runs whose training process said more than once that it has written the record."""
    said = [path.read_text(errors="replace") for path in trial.folder.glob("jobs/*/log.txt")]
    lines = [line.split() for text in said for line in text.splitlines()]
    ends = [words[1] for words in lines if len(words) > 3 and words[2] in ("ok", "diverged")]
    twice = sorted({run_id for run_id in ends if ends.count(run_id) > 1})
    return [f"{run_id} was trained to its end twice" for run_id in twice]
