from __future__ import annotations

import os
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.sweep.events import Event, Progress
from scaling.sweep.status import Status, logs, status
from tests.sweep.plans import behave, by_label, make_plan, open_tiny

CELLS = [(8, 50), (8, 100), (16, 50), (24, 50), (32, 50)]


def test_counts_rows_and_reasons(tmp_path: Path) -> None:
    behave(tmp_path, w8_s50="crash", w16_s50="diverge", w24_s50="crash once")
    plan = make_plan(CELLS, holdout=[(8, 200)])
    with open_tiny(tmp_path, plan) as sweep:
        sweep.run_jobs({"fit"})
    now = status(tmp_path)
    assert now.drivers == () and now.eta_seconds is None and now.study == "tiny"
    assert {state: n for state, n in now.counts.items() if n} == {
        "done": 2,
        "diverged": 1,
        "failed": 1,
        "pending": 2,
    }
    rows = {row.label: row for row in now.rows}
    assert list(rows) == [run["label"] for run in plan["runs"]]
    assert rows["w32-s50"].loss == 2.5 and rows["w32-s50"].step == rows["w32-s50"].steps == 50
    assert rows["w8-s50"].reason.startswith("exception: ") and rows["w8-s50"].failures == 2
    assert rows["w8-s50"].step == 2 and now.failures == (rows["w8-s50"],)
    assert rows["w8-s100"].reason == "its job stopped at w8-s50"
    assert rows["w16-s50"].reason == "loss not finite at step 7" and rows["w16-s50"].loss is None
    assert rows["w24-s50"].state == "done" and not rows["w24-s50"].reason


def test_while_it_runs(tmp_path: Path) -> None:
    behave(tmp_path, w8_s50="hang")
    seen: list[Status] = []

    def watch(event: Event) -> None:
        if isinstance(event, Progress) and any(row.step for row in event.snapshot.running):
            seen.append(status(tmp_path))
            if seen[-1].counts["running"]:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_tiny(tmp_path, make_plan(CELLS[:1])) as sweep:
        sweep.run_jobs({"fit"}, on_event=watch)
    (row,) = seen[-1].rows
    assert (row.state, row.step, row.steps, row.loss) == ("running", 2, 50, 2.8)
    assert seen[-1].drivers[0].process.pid == os.getpid()
    after = status(tmp_path)
    assert after.drivers == () and after.rows[0].state == "half-done" and after.rows[0].step == 2


def test_logs(tmp_path: Path) -> None:
    plan = make_plan(CELLS[:3])
    with open_tiny(tmp_path, plan) as sweep:
        with pytest.raises(UserError, match="has not been started"):
            logs(tmp_path, "w16-s50")
        sweep.run_jobs({"fit"})
    run = by_label(plan, "w8-s100")
    for name in ("w8-s100", run["run_id"], run["run_id"][:8], run["job_id"]):
        assert "training w8-s100" in logs(tmp_path, name).read_text()
    for name in ("w9", "", "../../etc/passwd"):
        with pytest.raises(UserError, match="names no run or job"):
            logs(tmp_path, name)


def test_not_a_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no study"):
        status(tmp_path)
    (tmp_path / "plan.json").write_text('{"schema": 1}')
    with pytest.raises(UserError, match="study: Field required"):
        status(tmp_path)
