"""Several drivers on one folder, one of them, its job or both stopped for longer than a lease lasts."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from benchmarks.faults.study import LIMIT, Row, Seen, Trial, cleared, differences, trained_twice, wait_for
from scaling.store.lease import look

PAUSE_SECONDS = 7.0  # the study's leases last 2
OWN = ("log.txt", "launch.json", "job.json")  # what its driver writes in a job's folder, or it says itself


def section(calm: Path, place: Path, chance: Random, *, short: bool) -> list[Row]:
    rows = []
    for count in (2,) if short else (2, 4):
        for who in ("job",) if short else ("job", "driver", "driver and job"):
            row = Row(f"{count} drivers, {who} stopped for {PAUSE_SECONDS:.0f} s")
            with cleared(Trial(place / f"drivers-{count}-{who.replace(' ', '-')}")) as trial:
                row.add(_shared(trial, calm, count, who, chance, row))
            rows.append(row)
    return rows


def _shared(trial: Trial, calm: Path, count: int, who: str, chance: Random, row: Row) -> list[str]:
    drivers = [trial.start("--workers", "1") for _ in range(count)]
    problems = []
    chosen = wait_for(lambda: _training(trial, chance), 120)
    if not chosen:
        return ["no job was seen training"]
    victims = {"job": [chosen.pid], "driver": [chosen.parent], "driver and job": [chosen.parent, chosen.pid]}[
        who
    ]
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    stopped, folder = time.monotonic(), trial.folder / "jobs" / str(chosen.job)
    if who == "driver":
        time.sleep(PAUSE_SECONDS)
        row.note = "its job went on"
    else:
        if not wait_for(lambda: _owner(folder) != chosen.pid, 120):
            problems.append("nobody took the job over")
        if stopped + PAUSE_SECONDS > time.monotonic():
            time.sleep(stopped + PAUSE_SECONDS - time.monotonic())
        problems += _woken_writes_nothing(trial, chosen, folder)
        if not problems:
            row.note = f"taken over, resumed after {time.monotonic() - stopped:.0f} s: left without writing"
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    codes = [process.wait(LIMIT) for process in drivers]
    if set(codes) != {0}:
        problems.append(f"exit codes {codes}")
        problems += trial.finish()
    return problems + differences(calm, trial) + trained_twice(trial)


def _training(trial: Trial, chance: Random) -> Seen | None:
    """A job that holds its lease and has trained a little, while other drivers have jobs too."""
    jobs = [job for job in trial.jobs() if _owner(trial.folder / "jobs" / str(job.job)) == job.pid]
    begun = [job for job in jobs if (trial.folder / "jobs" / str(job.job) / "trunk.jsonl").exists()]
    return chance.choice(begun) if begun else None


def _owner(folder: Path) -> int | None:
    seen = look(folder)
    return seen.owner.pid if seen and seen.owner else None


def _woken_writes_nothing(trial: Trial, job: Seen, folder: Path) -> list[str]:
    """Hold its successor still, wake it, and look at all files it could write to."""
    holders = [other.pid for other in trial.jobs() if other.job == job.job and other.pid != job.pid]
    for pid in holders:
        os.kill(pid, signal.SIGSTOP)
    before = _files(trial.folder, folder)
    os.kill(job.pid, signal.SIGCONT)
    left = wait_for(lambda: "left without writing" in (folder / "log.txt").read_text(), 10)
    changed = sorted({path for path, *_ in before ^ _files(trial.folder, folder)})
    for pid in holders:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    problems = [] if left else ["the job that was woken did not say why it left"]
    if changed:
        problems.append(f"{len(changed)} files changed after the job was woken: {changed[:3]}")
    return problems


def _files(study: Path, job: Path) -> set[tuple[str, int, int, int]]:
    """All files of a job and of its runs: path, size, time of change, inode."""
    names = [job, *(study / "runs" / run for run in _runs(study, job))]
    found = set()
    for folder in names:
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in OWN:
                stat = path.stat()
                found.add((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return found


def _runs(study: Path, job: Path) -> list[str]:
    return [entry["run_id"] for entry in json.loads((job / "job.json").read_text())["runs"]]
