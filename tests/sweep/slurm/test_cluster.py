"""What commands of Slurm print, as recorded from Slurm 22.05.8."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from scaling.sweep.slurm import cluster
from scaling.sweep.slurm.cluster import SlurmError, SlurmMissing, accounted_rows, call, queue_rows

SQUEUE = """\
18|18|N/A|CANCELLED|4294901750|JobArrayTaskLimit|2026-11-30T02:28:53|2026-11-30T02:29:15|3:00||study-a
19|18|0|CANCELLED|4294901750|None|2026-11-30T02:28:53|2026-11-30T02:28:53|2:38|n3|study-a
22|22|3|PENDING|4294901750|JobArrayTaskLimit|2026-11-30T02:30:47|N/A|3:00||study-a
24|24|N/A|PENDING|4294901750|BeginTime|2026-11-30T02:30:47|2026-11-30T02:35:47|UNLIMITED||study-a
25|25|N/A|PENDING|4294901750|Resources|2026-11-30T02:30:47|2026-11-30T02:33:47|UNLIMITED||study-a
23|23|N/A|PENDING|0|JobHeldUser|2026-11-30T02:30:47|2026-11-30T02:35:47|UNLIMITED||study-a
26|22|0|RUNNING|4294901750|None|2026-11-30T02:30:47|2026-11-30T02:30:47|2:57|n1|study-a
13|12|1|RUNNING|4294901750|None|2026-11-30T02:25:52|2026-11-30T02:25:53|364-23:58:43|n[1-2]|study-a
10|10|N/A|TIMEOUT|4294901750|TimeLimit|2026-11-30T02:25:52|2026-11-30T02:25:53|INVALID|n1|study-a
"""
SACCT = """\
18|18_[3-9%3]|PENDING|JobArrayTaskLimit|2026-11-30T02:28:53|Unknown|None assigned|study-a
19|18_0|CANCELLED by 0|None|2026-11-30T02:28:53|2026-11-30T02:28:53|n3|study-a
"""


def tool(folder: Path, name: str, *lines: str) -> None:
    """Put a program of this name there, which runs these lines of shell."""
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def test_the_queue_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(cluster, "call", lambda *argv: asked.append(argv) or SQUEUE)
    rows = {row.slurm_id: row for row in queue_rows(["study-a", "study-b"])}
    assert "study-a,study-b" in asked[0]
    assert [row.label for row in rows.values()] == [
        "18",
        "18_0",
        "22_3",
        "24",
        "25",
        "23",
        "22_0",
        "12_1",
        "10",
    ]
    assert {row.slurm_id for row in rows.values() if not row.living} == {"18", "19", "10"}
    assert {row.slurm_id for row in rows.values() if row.pending} == {"22", "23", "24", "25"}
    assert [row.slurm_id for row in rows.values() if row.held] == ["24", "23"]
    assert rows["26"].left == 177 and rows["26"].node == "n1" and rows["26"].reason == ""
    assert rows["13"].left == (364 * 24 + 23) * 3600 + 58 * 60 + 43
    assert rows["24"].left is None and rows["22"].start is None
    assert rows["24"].start == datetime(2026, 11, 30, 2, 35, 47, tzinfo=UTC)


def test_the_accounting_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "call", lambda *argv: SACCT)
    waiting, cancelled = list(accounted_rows(["study-a"]) or [])
    assert (waiting.job, waiting.task, waiting.node, waiting.pending) == ("18", None, "", True)
    assert (cancelled.label, cancelled.state, cancelled.living) == ("18_0", "CANCELLED", False)


def test_nothing_is_asked_of_no_names() -> None:
    assert queue_rows([]) == [] == accounted_rows([])


def test_a_machine_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmMissing, match="this machine has no squeue"):
        queue_rows(["study-a"])
    assert accounted_rows(["study-a"]) is None


def test_a_command_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    tool(tmp_path, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    with pytest.raises(SlurmError, match="sacct failed: Slurm accounting storage is disabled"):
        call("sacct")
    assert accounted_rows(["study-a"]) is None


def test_a_command_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(cluster, "COMMAND_SECONDS", 0.2)
    tool(tmp_path, "squeue", "exec sleep 5")
    with pytest.raises(SlurmError, match="squeue gave no answer"):
        call("squeue")


def test_times_are_asked_for_in_utc_and_filters_of_the_user_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SQUEUE_PARTITION", "other")
    tool(tmp_path, "squeue", 'echo "$TZ,$SLURM_TIME_FORMAT,$SQUEUE_PARTITION"')
    assert call("squeue") == "UTC,standard,\n"
