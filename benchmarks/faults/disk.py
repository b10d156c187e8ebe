"""A disk that is full at each kind of write, and a limit of file size."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from benchmarks.faults.study import Row, Trial, cleared, differences

MEGABYTES = 24
REASONS = ("No space left", "File too large", "disk_full")
# What the disk is filled before, in the order in which a study comes to it; see benchmarks/faults/injected.
WRITES = {
    "driver.lock": r"write .*/driver\.lock",
    "study.yaml": r"write .*/\.study\.yaml\.",
    "plan.json": r"write .*/\.plan\.json\.",
    "drivers/*.json": r"write .*/drivers/",
    "job.json": r"write .*/\.job\.json\.",
    "launch.json": r"write .*/\.launch\.json\.",
    "log.txt": r"write .*/log\.txt",
    "lease": r"write .*/\.lease\.",
    "env.json": r"write .*/\.env\.json\.",
    "run.json": r"write .*/\.run\.json\.",
    "trunk.jsonl, first rows": r"write .*/\.trunk\.jsonl\.",
    "checkpoint, before it": r"mkdir .*/checkpoints/[^/]*$",
    "checkpoint, its arrays": r"mkdir .*/checkpoints/.*/\.[0-9]+\.[0-9a-f]+\.tmp$",
    "checkpoint, its manifest": r"write .*/\.manifest\.json\.",
    "metrics.jsonl, first rows": r"write .*/\.metrics\.jsonl\.",
    "progress.json": r"write .*/\.progress\.json\.",
    "record.json": r"write .*/\.record\.json\.",
    "runs.csv": r"write .*/\.runs\.csv\.",
    "curves.parquet": r"rename .*/\.runs\.csv\.",
    "forecasts/*.status.json": r"write .*/forecasts/",
    "forecasts/*.json": r"link .*/forecasts/.*",
    "fits/*.json": r"write .*/fits/",
    "summary.txt": r"write .*/study/\.new-",
    "figures": r"write .*/figures/",
}
SHORT = ("plan.json", "checkpoint, its arrays", "record.json", "fits/*.json")
# Rows of curves are appended to open files: only training processes are limited, which save no checkpoints.
APPENDED = {"CHAOS_FILE_BYTES": "3000"}


def section(calm: Path, place: Path, chance: Random, *, short: bool) -> list[Row]:
    mount = place / "small"
    try:
        with small_disk(mount):
            rows = _section(calm, place, mount, chance, short)
    except PermissionError as refused:
        return [Row("disk full", note=f"skipped: {refused}")]
    return rows


def _section(calm: Path, place: Path, mount: Path, chance: Random, short: bool) -> list[Row]:
    rows = [Row(f"disk full at {name}") for name in (SHORT if short else WRITES)]
    given_back = Row("space is given back", note="results, curves, forecast and fit of the undisturbed study")
    with cleared(Trial(mount / "study", said=place / "small.stderr")) as trial:
        _fill(trial, rows)
        given_back.add(trial.finish() or differences(calm, trial))
    if not short:
        with cleared(Trial(mount / "other", said=place / "other.stderr")) as trial:
            rows += [_appended(trial), _random(trial, chance, times=10)]
            given_back.add(trial.finish() or differences(calm, trial))
    return [*rows, given_back]


@contextmanager
def small_disk(mount: Path) -> Iterator[None]:
    """Raises PermissionError where a file system may not be mounted."""
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "chaos", str(mount)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(f"tmpfs cannot be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def _fill(trial: Trial, rows: list[Row]) -> None:
    """Launch once for each kind of write; all launches go on with the same study."""
    ballast = trial.folder.with_name("ballast")
    for row in rows:
        pattern = WRITES[row.fault.removeprefix("disk full at ")]
        code, said = trial.run(CHAOS_FILL=pattern, CHAOS_BALLAST=str(ballast))
        if not ballast.exists():
            row.add([f"{row.fault}: the disk was never filled (exit code {code})"])
            continue
        row.add(_reported(row.fault, trial, code, said))
        row.note = f"exit code {code}"
        ballast.unlink()


def _reported(fault: str, trial: Trial, code: int, said: str) -> list[str]:
    """Problems of how a launch on a full disk ended; status is asked while it is still full."""
    problems = []
    if code not in (1, 2):
        problems.append(f"{fault}: exit code {code}")
    if "Traceback" in said:
        problems.append(f"{fault}: a traceback: ...{said[-500:]}")
    status = trial.status() if trial.folder.joinpath("plan.json").exists() else {}
    if not any(reason in f"{said} {status}" for reason in REASONS):
        problems.append(f"{fault}: no reason given: ...{said[-500:]}")
    return problems


def _appended(trial: Trial) -> Row:
    row = Row("file size limit at metrics.jsonl, trunk.jsonl, log.txt")
    code, said = trial.run("--set", "execution.checkpoint_seconds=1000", **APPENDED)
    row.add(_reported(row.fault, trial, code, said))
    return row


def _random(trial: Trial, chance: Random, times: int) -> Row:
    """Full but for some pages, some time after the start."""
    row, ballast = Row("disk full at a random moment"), trial.folder.with_name("ballast")
    for _ in range(times):
        before, process = len(trial.heard()), trial.start()
        try:
            process.wait(chance.uniform(3, 8))
        except subprocess.TimeoutExpired:
            _grow(ballast, leave=chance.choice((0, 0, 1, 4, 16, 64)))
        code = process.wait()
        full = ballast.exists()
        if full and code != 0:  # it may have ended with the pages that were left
            row.add(_reported(row.fault, trial, code, trial.heard()[before:]))
        ballast.unlink(missing_ok=True)
        if code == 0:
            break
    return row


def _grow(ballast: Path, leave: int) -> None:
    """Take all pages of the file system but ``leave``."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - 4096 * leave))
    finally:
        os.close(descriptor)
