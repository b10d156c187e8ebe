"""SIGKILL at random moments: the driver, a job, or both."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

from benchmarks.faults.study import Row, Trial, cleared, differences, trained_twice, wait_for

KINDS = ("driver", "job", "both")
PER_STUDY = 15
DEATH_SECONDS = 10.0  # in which jobs must follow their driver


def section(calm: Path, place: Path, chance: Random, *, kills: int, short: bool) -> list[Row]:
    rows = {kind: Row(f"kill {kind}") for kind in KINDS}
    training, number = 0, 0
    while sum(row.tried for row in rows.values()) < kills:
        number += 1
        left = kills - sum(row.tried for row in rows.values())
        with cleared(Trial(place / f"killed-{number}")) as trial:
            found, busy, problems = _study(trial, chance, min(left, kills if short else PER_STUDY))
            problems = problems or differences(calm, trial) + trained_twice(trial)
        training += busy
        for kind, row in rows.items():
            row.add(problems if found[kind] else [], found[kind])
    rows["both"].note = f"{number} studies; {training} of all kills while a job was training or evaluating"
    return list(rows.values())


def _study(trial: Trial, chance: Random, budget: int) -> tuple[Counter[str], int, list[str]]:
    """Launch again and again until the study is complete; kills by kind, those of training jobs, problems."""
    found: Counter[str] = Counter()
    busy, problems, launches, records = 0, [], 0, {}
    while launches < 10 * budget:
        launches += 1
        process = trial.start()
        while process.poll() is None and found.total() < budget:
            began = trial.progress()
            wait_for_progress(trial, chance, process.poll)
            if process.poll() is not None:
                break
            kind, killed_job = _kill(trial, process.pid, chance)
            found[kind] += 1
            busy += killed_job and trial.progress() != began
            problems += rewritten(trial, records)
            if kind != "job":
                process.wait()
                if chance.random() < 0.5 and not wait_for(lambda: not trial.jobs(), DEATH_SECONDS):
                    problems.append("a job outlived its driver")
        code = process.wait()
        problems += rewritten(trial, records)
        if code == 0:
            return found, busy, problems
        if code not in (1, -signal.SIGKILL):
            return found, busy, [f"exit code {code}"]
    return found, busy, [f"not complete after {launches} launches"]


def wait_for_progress(trial: Trial, chance: Random, ended) -> None:
    """Until a random moment: of a launch, or shortly after runs have got further."""
    if chance.random() < 0.4:
        deadline = time.monotonic() + chance.uniform(0.1, 8)
    else:
        began = trial.progress()
        wait_for(lambda: ended() is not None or trial.progress() != began)
        deadline = time.monotonic() + chance.uniform(0, 1.5)
    while ended() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def _kill(trial: Trial, driver: int, chance: Random) -> tuple[str, bool]:
    jobs, kind = trial.jobs(), chance.choice(KINDS)
    if not jobs:
        kind = "driver"
    victims = {"driver": [driver], "both": [driver]}.get(kind, [])
    if kind != "driver":
        victims.append(chance.choice(jobs).pid)
    chance.shuffle(victims)
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return kind, bool(jobs)


def rewritten(trial: Trial, records: dict[Path, bytes]) -> list[str]:
    """Records that have changed since they were first seen, which is never right."""
    problems = []
    for path in trial.folder.glob("runs/*/record.json"):
        content = path.read_bytes()
        if records.setdefault(path, content) != content:
            problems.append(f"{path.parent.name} has a second record")
    return problems
