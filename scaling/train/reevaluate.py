"""Evaluate kept final checkpoints again, on another evaluation set, without training."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling.data.index import DataIndex
from scaling.errors import Problem, UserError
from scaling.files import write_json
from scaling.lease import Lease
from scaling.train.checkpoint import Checkpoints
from scaling.train.curve import CurveLog
from scaling.train.evaluate import Evaluation
from scaling.train.failure import write_failure
from scaling.train.job import Member
from scaling.train.loop import Program
from scaling.train.record import make_result


def reevaluate(
    folder: Path,
    members: list[Member],
    program: Program,
    index: DataIndex,
    evaluate: Callable[[Any], Evaluation],
    lease: Lease,
) -> int:
    """Replace the records of ``members`` by those of this evaluation; returns the exit status.

    The result is that of a run trained with this evaluation. The old record stays beside the new one as
    ``record.<eval_id>.json``.

    Raises:
        LostLease: another process works on this job now.
    """
    failed = 0
    checkpoints = Checkpoints(folder / "checkpoints", lease.check)
    for member in members:
        place = folder.parent.parent / "runs" / member.run_id
        record = json.loads((place / "record.json").read_text())
        old = record["result"]["eval_id"]
        if old == index.eval_id:
            continue
        restored = checkpoints.restore(member.run_id, program.abstract, {member.run.steps})
        if restored is None:
            lease.check()
            hint = "to train the run again, delete its record"
            problem = Problem("no whole final checkpoint was kept", hint=hint)
            write_failure(place, member.run_id, UserError(problem), None)
            failed += 1
            continue
        result = make_result(member.run, restored[1], index, evaluate)
        log = CurveLog(place / "metrics.jsonl", lease.check)
        log.restart(log.rows())
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
        print(f"{now} {member.run_id} {result['status']} evaluated again: loss {result['loss']}", flush=True)
    return 1 if failed else 0
