"""The benchmark of accelerators, on a CPU: rows as they are measured, failures as rows, the table."""

from __future__ import annotations

import json
import os
import sys

import pytest

from benchmarks import train_step_gpu as benchmark
from benchmarks.train_step_gpu import finished, launched, rows_of, table

AT = {"at": "2026-11-29T12:00:00+00:00"}


@pytest.mark.slow
def test_a_size_is_measured_and_tabled(monkeypatch):
    (row,) = rows_of("ours", "tiny", "cpu", seconds=0.01)
    done = finished({"item": "tiny", "contestant": "ours", **AT, **row})
    assert done["tokens_per_second"] == pytest.approx(64 / row["seconds_per_step"])
    assert done["layout"].startswith("blocked, remat none") and done["mfu"] is None
    monkeypatch.setattr(benchmark, "parameters", lambda case: 1_234)
    on_gpu = finished({"item": "tiny", "contestant": "ours", **AT, **row, "device": "NVIDIA H200"})
    flops = benchmark.step_flops(benchmark.CASES["tiny"])
    assert on_gpu["mfu"] == pytest.approx(flops / row["seconds_per_step"] / 989.4e12)
    assert "| tiny | ours | 1,234 | 64 |" in table([on_gpu])


def test_a_pack_is_compared_with_a_run_alone():
    facts = {"item": "pack-tiny", "contestant": "ours", "batch": 2, "layout": "", "device": "cpu", **AT}
    facts |= {"versions": {}}
    rows = [finished({**facts, "pack": pack, "seconds_per_step": 0.1}) for pack in (1, 4)]
    last = table(rows).splitlines()[-1]
    assert last.startswith("| pack-tiny | ours, K = 4 |") and "4.00x" in last


def test_out_of_memory_tries_the_next_way_and_says_so(monkeypatch):
    made = []

    def full(case):
        made.append(case.lowering.remat)
        if case.lowering.remat == "none":
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 byte")
        return benchmark.Trainer(lambda steps: None, {})

    monkeypatch.setitem(benchmark.CONTESTANTS, "ours", full)
    rows = list(rows_of("ours", "tiny", "cpu", seconds=0.0))
    assert made == ["none", "none", "block"]
    assert [row.get("failed") for row in rows] == ["out of memory", "out of memory", None]


def test_a_process_that_fails_or_hangs_ends_in_a_row():
    fails = "print('{\"pack\": 1}', flush=True); raise SystemExit('no device')"
    rows = list(launched([sys.executable, "-c", fails], dict(os.environ), limit=20))
    assert rows == [{"pack": 1}, {"failed": "no device"}]
    hangs = "import time; time.sleep(60)"
    (row,) = launched([sys.executable, "-c", hangs], dict(os.environ), limit=0.2)
    assert row["failed"].startswith("not done within")


@pytest.mark.slow
def test_all_of_it_runs_on_a_cpu(tmp_path, capsys):
    """torch is no requirement of the package: where it is missing, its row says so."""
    out = tmp_path / "rows.jsonl"
    benchmark.main(["--items", "tiny", "pack-tiny", "--seconds", "0.01", "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    tiny, other, *packs = rows
    assert tiny["tokens_per_second"] > 0 and (other["contestant"], other["item"]) == ("torch.compile", "tiny")
    assert "failed" in other or other["tokens_per_second"] > 0
    assert [row["pack"] for row in packs] == [1, 2] and all(row["tokens_per_second"] > 0 for row in packs)
    assert "| pack-tiny | ours, K = 2 |" in capsys.readouterr().out
