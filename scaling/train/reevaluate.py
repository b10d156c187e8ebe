"""Evaluate kept final checkpoints again, on another evaluation set, without training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scaling.data.index import DataIndex
from scaling.errors import Complaint, UserError
from scaling.files import write_json
from scaling.store.failure import STOPPED, write_failure
from scaling.store.lease import Lease
from scaling.store.metrics import CurveLog
from scaling.store.records import JobProgress, JobRun, Record, read
from scaling.train.checkpoint import Checkpoints
from scaling.train.evaluate import Evaluation
from scaling.train.loop import Program
from scaling.train.record import make_result


def reevaluate(
    folder: Path,
    members: Sequence[JobRun],
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
        record = read(Record, place / "record.json", "delete it to train the run again")
        if record is None or record.result.eval_id == index.eval_id:
            continue
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
        if result.loss is not None:
            run, flops = member.run, member.run.flops().flops
            log.append({"step": run.steps, "tokens": run.tokens, "flops": flops, "eval/loss": result.loss})
        log.settle()
        log.close()
        lease.check()
        write_json(place / f"record.{record.result.eval_id}.json", record.to_json())
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        execution = record.execution.model_copy(update={"reevaluated": now})
        new = record.model_copy(update={"result": result, "execution": execution})
        write_json(place / "record.json", new.to_json())
        (place / "error.json").unlink(missing_ok=True)
        print(f"{now} {member.run_id} {result.status} evaluated again: loss {result.loss}", flush=True)
    return 1 if failed else 0


def _progress(folder: Path, member: JobRun, done: int, total: int, lease: Lease) -> None:
    """So that whoever waits sees that something happens."""
    lease.check()
    steps = member.run.steps
    progress = JobProgress(
        run_id=member.run_id, step=steps, steps=steps, job_flops_done=done, job_flops_total=total, loss=None
    )
    write_json(folder / "progress.json", progress.to_json(), durable=False)
