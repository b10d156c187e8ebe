"""A results folder that a test writes row by row, as runs write it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from scaling.files import write_json
from scaling.store.folder import ResultsFolder
from scaling.store.metrics import CurveLog, up_to
from tests.store.test_records import RECORD
from tests.sweep.plans import make_plan


def row(step: int, **values: float | None) -> dict[str, Any]:
    return {"step": step, "tokens": 64 * step, "flops": 1e8 * step, "train/loss": 3 - 0.1 * step, **values}


class Study:
    """``ids`` are those of its runs, in the order of the plan."""

    def __init__(self, folder: Path, *steps: int, **execution: Any):
        self.results = ResultsFolder(folder)
        self.plan = make_plan([(8, count) for count in steps], **execution)
        write_json(self.results.plan, self.plan)
        self.ids: list[str] = [run["run_id"] for run in self.plan["runs"]]

    def curve(self, run_id: str) -> Path:
        return self.results.run_dir(run_id) / "metrics.jsonl"

    def train(self, run_id: str, *steps: int) -> None:
        """Append rows."""
        self.curve(run_id).parent.mkdir(parents=True, exist_ok=True)
        with open(self.curve(run_id), "a") as file:
            file.writelines(json.dumps(row(step)) + "\n" for step in steps)

    def resume(self, run_id: str, step: int) -> None:
        """Truncate the curve as a job does that starts again from a checkpoint."""
        log = CurveLog(self.curve(run_id), lambda: None)
        log.restart(up_to(log.rows(), step))
        log.close()

    def end(self, run_id: str, step: int, **result: Any) -> None:
        """Write the evaluation at the end, and the record."""
        loss = 2 + 1e-3 * step
        with open(self.curve(run_id), "a") as file:
            file.write(json.dumps({"step": step, "tokens": 64 * step, "eval/loss": loss}) + "\n")
        changed = {"loss": loss, "tokens": 64 * step, "steps": step, **result}
        record = RECORD | {"run_id": run_id, "result": RECORD["result"] | changed}
        write_json(self.results.run_dir(run_id) / "record.json", record)


def offline(folder: Path, **more: str) -> dict[str, str]:
    """An environment of a user who is logged in nowhere."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "TRACKIO", "HF_"))}
    return kept | {"HOME": str(folder), "HF_HUB_OFFLINE": "1", **more}
