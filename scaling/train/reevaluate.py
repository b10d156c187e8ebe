"""Evaluate kept final checkpoints again, on another evaluation set, without training."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling.data.index import DataIndex
from scaling.errors import Complaint, UserError
from scaling.store.files import write_json
from scaling.store.lease import Lease
from scaling.store.metrics import CurveLog
from scaling.store.records import STOPPED
from scaling.train.checkpoint import Checkpoints
from scaling.train.evaluate import Evaluation
from scaling.train.failure import write_failure
from scaling.train.job import Member
from scaling.train.loop import Program
from scaling.train.record import make_result

EVAL_ID = re.compile(r"[0-9a-f]{12}")  # it becomes part of a file's name


def reevaluate(
    folder: Path,
    members: list[Member],
    program: Program,
    index: DataIndex,
    evaluate: Callable[[Any], Evaluation],
    lease: Lease,
    stop_asked: Callable[[], bool],
) -> int:
    """Replace the records of ``members`` by those of this evaluation; returns the exit status.

    The result is that of a run trained with this evaluation. The old record stays beside the new one as
    ``record.<eval_id>.json``.

    Raises:
        LostLease: another process works on this job now.
    """
    failed = 0
    checkpoints = Checkpoints(folder / "checkpoints", lease.check)
    for done, member in enumerate(members):
        if stop_asked():
            return STOPPED
        _progress(folder, member, done, len(members), lease)
        place = folder.parent.parent / "runs" / member.run_id
        record = json.loads((place / "record.json").read_text())
        old = record["result"].get("eval_id")
        if old == index.eval_id:
            continue
        if not (isinstance(old, str) and EVAL_ID.fullmatch(old)):
            raise UserError(Complaint(f"record of {member.run_id}: eval_id = {old!r}: must be 12 hex digits"))
        restored = checkpoints.restore(member.run_id, program.abstract, {member.run.steps})
        if restored is None:
            lease.check()
            hint = "to train the run again, delete its record"
            problem = UserError(Complaint("no whole final checkpoint was kept", hint=hint))
            write_failure(place, folder, problem, None, "not_started")
            failed += 1
            continue
        result = make_result(member.run, restored[1], index, evaluate)
        log = CurveLog(place / "metrics.jsonl", lease.check)
        log.restart(log.rows(beyond_damage=True))
        if result["loss"] is not None:
            run, flops = member.run, member.run.flops().flops
            log.append({"step": run.steps, "tokens": run.tokens, "flops": flops, "eval/loss": result["loss"]})
        log.settle()
        log.close()
        lease.check()
        write_json(place / f"record.{old}.json", record)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        execution = record["execution"] | {"reevaluated": now}
        write_json(place / "record.json", record | {"result": result, "execution": execution})
        (place / "error.json").unlink(missing_ok=True)
        print(f"{now} {member.run_id} {result['status']} evaluated again: loss {result['loss']}", flush=True)
    return 1 if failed else 0


def _progress(folder: Path, member: Member, done: int, total: int, lease: Lease) -> None:
    """So that whoever waits sees that something happens."""
    lease.check()
    steps = member.run.steps
    shares = {"job_flops_done": done, "job_flops_total": total, "loss": None}
    told = {"run_id": member.run_id, "step": steps, "steps": steps, **shares}
    write_json(folder / "progress.json", told, durable=False)
