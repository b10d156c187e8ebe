from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.store.folder import ResultsFolder
from scaling.store.metrics import last_row, read_metrics
from tests.store.test_records import RECORD

RUN = "0123456789ab"


@pytest.mark.parametrize(
    ("text", "steps", "skipped"),
    [
        ("", [], 0),
        ('{"step": 1}\n{"step": 2}\n', [1, 2], 0),
        ('{"step": 1}\n{"st', [1], 1),
        ('{"step": 1}\n{"step": 2}', [1], 1),  # whole, but its writer has not ended the line
        ('{"step": 1}\nnoise\n{"step": 2}\n', [1, 2], 1),
        ('{"step": 1}\n{"step": 2}, {"step": 3}\n', [1], 1),
        ('{"step": 1}\n7\n', [1], 1),
    ],
)
def test_torn_and_damaged_lines_are_skipped_and_counted(
    tmp_path: Path, text: str, steps: list[int], skipped: int
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    metrics = read_metrics(path)
    assert ([row["step"] for row in metrics.rows], metrics.skipped) == (steps, skipped)
    assert (last_row(path) or {}).get("step") == (steps[-1] if steps else None)


def test_last_row_of_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in range(2000)))
    assert last_row(path) == {"step": 1999}
    assert last_row(tmp_path / "none") is None and read_metrics(tmp_path / "none").rows == ()


def test_state_is_what_files_exist(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path)
    folder = results.run_dir(RUN)
    assert results.run_state(RUN).state == "pending"
    folder.mkdir(parents=True)
    assert results.run_state(RUN).state == "pending"
    (folder / "run.json").write_text("{}")
    assert results.run_state(RUN).state == "half-done"
    (folder / "error.json").write_text('{"kind": "killed", "message": "x", "attempt": 1}')
    assert results.run_state(RUN).state == "failed"
    record = RECORD | {"run_id": RUN}
    (folder / "record.json").write_text(json.dumps(record))
    state = results.run_state(RUN)
    assert state.state == "done" and state.record and state.record.to_json() == record
    assert state.error and (state.error.kind, state.error.attempt) == ("killed", 1)
    record["result"] = RECORD["result"] | {"status": "diverged"}
    (folder / "record.json").write_text(json.dumps(record))
    assert results.run_state(RUN).state == "diverged"
    assert results.recorded() == {RUN}


@pytest.mark.parametrize("text", ["", "[]", json.dumps(RECORD | {"run_id": "0123456789ac"}), "{}"])
def test_a_record_that_cannot_be_this_runs_is_a_failure_with_advice(tmp_path: Path, text: str) -> None:
    results = ResultsFolder(tmp_path)
    results.run_dir(RUN).mkdir(parents=True)
    (results.run_dir(RUN) / "record.json").write_text(text)
    state = results.run_state(RUN)
    assert state.state == "failed" and state.error and "delete it" in state.error.message
    with pytest.raises(UserError):
        results.record(RUN)
