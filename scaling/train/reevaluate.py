"""Evaluate kept final checkpoints again, on another evaluation set, without training."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.errors import Complaint, UserError
from scaling.files import write_json
from scaling.store.failure import STOPPED, write_failure
from scaling.store.records import JobRun, Record, read
from scaling.train.averages import Averages, at_the_end
from scaling.train.cadence import Cadence
from scaling.train.checkpoint import Checkpoints
from scaling.train.record import final_row, make_result
from scaling.train.workbench import Workbench, now


def reevaluate(bench: Workbench, members: Sequence[JobRun]) -> int:
    """Replace the records of ``members`` by those of this evaluation; returns the exit status.

    The result is that of a run trained with this evaluation. The old record stays beside the new one as
    ``record.<eval_id>.json``.

    Raises:
        LostLease: another process works on this job now.
    """
    failed, cadence = 0, Cadence.of(members, bench.index.eval_id)
    checkpoints = Checkpoints(bench.folder / "checkpoints", bench.lease.check)
    for done, member in enumerate(members):
        if bench.stop_asked():
            return STOPPED
        bench.report(member, member.run.steps, done, len(members))
        folder = bench.run_folder(member)
        record = read(Record, folder / "record.json", "delete it to train the run again")
        if record is None or record.result.eval_id == bench.index.eval_id:
            continue
        kept = Averages.of([member]).among(checkpoints.averages(member.run_id, member.run.steps))
        restored = checkpoints.restore(member.run_id, bench.program.abstract, {member.run.steps}, kept)
        if restored is None:
            bench.lease.check()
            hint = "to train the run again, delete its record"
            problem = UserError(Complaint("no whole final checkpoint was kept", hint=hint))
            write_failure(folder, bench.folder, problem, None, "not_started")
            failed += 1
            continue
        averages = at_the_end(member, restored[1], kept) if member.averages else None
        result = make_result(member.run, restored[1].state, bench.windows, bench.evaluate, averages)
        log = bench.curve(member)
        log.restart(cadence.own_rows(log.rows(beyond_damage=True), member))
        if result.loss is not None:
            log.append(final_row(member, result))
        log.settle()
        log.close()
        bench.lease.check()
        write_json(folder / f"record.{record.result.eval_id}.json", record.to_json())
        execution = record.execution.model_copy(update={"reevaluated": now()})
        new = record.model_copy(update={"result": result, "execution": execution})
        write_json(folder / "record.json", new.to_json())
        (folder / "error.json").unlink(missing_ok=True)
        print(f"{now()} {member.run_id} {result.status} evaluated again: loss {result.loss}", flush=True)
    return 1 if failed else 0
