"""Evaluate kept final checkpoints again, on another evaluation set, without training."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.data.index import adds_to
from scaling.errors import Complaint, UserError
from scaling.files import write_json
from scaling.store.documents import read
from scaling.store.failure import STOPPED, write_failure
from scaling.store.log import now
from scaling.store.metrics import is_evaluation
from scaling.store.records import JobRun, Record, Result
from scaling.train.averages import Averages, at_the_end
from scaling.train.cadence import Cadence
from scaling.train.curve import final_row
from scaling.train.record import make_result
from scaling.train.workbench import Workbench


def reevaluate(bench: Workbench, members: Sequence[JobRun]) -> int:
    """Replace the records of ``members`` by those of this evaluation; returns the exit status.

    The result is that of a run trained with this evaluation; where it only adds sets, losses that were there
    stay as they are, and so does the curve. The old record stays beside the new one as
    ``record.<eval_id>.json``.

    Raises:
        LostLease: another process works on this job now.
    """
    failed, cadence = 0, Cadence.of(members, bench.index.eval_id)
    checkpoints = bench.checkpoints()
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
        rows = log.rows(beyond_damage=True)
        if adds_to(bench.index, record.result.eval_id, record.result.set_losses or ()):
            result = _with_earlier(result, record.result)
            rows = [row for row in rows if not is_evaluation(row) or row["step"] < member.run.steps]
        else:
            rows = cadence.own_rows(rows, member)
        log.restart(rows)
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


def _with_earlier(new: Result, old: Result) -> Result:
    """Keep every loss that was measured before, of which ``new`` has more sets."""
    kept = {name: getattr(old, name) for name in ("loss", "loss_se_eval", "bits_per_byte", "eval_tokens")}
    if old.average_losses is not None:
        kept["average_losses"] = old.average_losses
    if new.set_losses is not None and old.set_losses is not None:
        kept["set_losses"] = new.set_losses | old.set_losses
    return new.model_copy(update=kept)
