"""Curves on disk, as those read them who follow a writer."""

from __future__ import annotations

import json
from pathlib import Path

from scaling.store.metrics import Appended, CurveLog, Row, up_to


def rows(*steps: int) -> list[Row]:
    return [{"step": step, "train/loss": 1.0} for step in steps]


def test_what_is_appended_is_read_once(tmp_path: Path) -> None:
    appended = Appended(tmp_path / "metrics.jsonl")
    assert appended.rows() == ([], False), "there is no file yet"
    log = CurveLog(tmp_path / "metrics.jsonl", lambda: None)
    log.restart(rows(1, 2))
    assert appended.rows() == (rows(1, 2), True)
    assert appended.rows() == ([], False)
    log.append(rows(3)[0])
    torn = json.dumps(rows(4)[0]) + "\n"
    with open(log.path, "a") as file:
        file.write(torn[:9])
    assert appended.rows() == (rows(3), False)
    with open(log.path, "a") as file:
        file.write(torn[9:] + "damaged\n")
    assert appended.rows() == (rows(4), False)
    log.restart(up_to(log.rows(), 2))
    log.append(rows(5)[0])
    assert appended.rows() == (rows(1, 2, 5), True)
    log.close()
    log.path.write_text("")  # as somebody else's trainer may
    assert appended.rows() == ([], True)
