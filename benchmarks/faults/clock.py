"""Clocks that jump by days, and files whose times lie in the future or the past."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from benchmarks.faults.study import LIMIT, Row, Trial, cleared, differences, trained_twice

DAYS = 3
LEASE = ("--set", "execution.lease_seconds=15")  # a busy machine alone must not make a job look dead


def section(calm: Path, place: Path, chance: Random, *, short: bool) -> list[Row]:
    rows = []
    for count in (1, 2):
        row = Row(f"wall clock jumps within 2 days, {count} driver{'s' * (count > 1)}; file times too")
        with cleared(Trial(place / f"clock-{count}", options=LEASE)) as trial:
            row.add(_jumping(trial, count, chance) or differences(calm, trial) + trained_twice(trial))
            row.note = "no living lease was taken over"
        rows.append(row)
    return rows


def _jumping(trial: Trial, count: int, chance: Random) -> list[str]:
    workers = ("--workers", "1") if count > 1 else ()
    started = [trial.start(*workers, CHAOS_CLOCK=str(chance.randrange(10**6))) for _ in range(count)]
    deadline = time.monotonic() + LIMIT
    while any(process.poll() is None for process in started) and time.monotonic() < deadline:
        _touch(trial.folder, chance)
        time.sleep(0.1)
    codes = [process.wait(1) for process in started]
    if set(codes) != {0}:
        return [f"exit codes {codes}: {trial.heard()[-300:]}"]
    tokens = {
        path.parent.name: json.loads(path.read_text())["execution"]["lease_token"]
        for path in trial.folder.glob("runs/*/record.json")
    }
    taken = sorted(run_id for run_id, token in tokens.items() if token != 1)
    return [f"leases of {taken} were taken over"] if taken else []


def _touch(folder: Path, chance: Random) -> None:
    """Give some file another time."""
    with suppress(OSError):  # it may vanish meanwhile
        files = [path for path in folder.rglob("*") if path.is_file()]
        moment = time.time() + chance.uniform(-DAYS, DAYS) * 86400
        if files:
            os.utime(chance.choice(files), (moment, moment))
