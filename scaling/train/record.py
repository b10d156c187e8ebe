"""What is written of a run when it has ended: its result, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from scaling.counts.lowering import MeshSizes
from scaling.counts.params import ParameterCounts, count_parameters
from scaling.counts.shape import parameter_table
from scaling.data.index import coverage
from scaling.data.store import Windows
from scaling.files import create_json
from scaling.model.roles import Params
from scaling.run import Run
from scaling.store.lease import LostLease
from scaling.store.log import now
from scaling.store.metrics import CurveLog, is_evaluation
from scaling.store.records import JobRun, Provenance, Record, Result
from scaling.train.averages import Averages, Carried, at_the_end
from scaling.train.curve import final_row
from scaling.train.evaluate import Evaluation
from scaling.train.peak import peak_flops
from scaling.train.step import TrainState
from scaling.train.workbench import Workbench


def make_result(
    run: Run,
    state: TrainState,
    data: Windows,
    evaluate: Callable[[Params], Evaluation],
    averages: Iterable[tuple[str, Params]] | None = None,
) -> Result:
    """Evaluate the final state of a run, where it has one, and count what was trained.

    Args:
        run: the run.
        state: its state after the last step, or at the last good one.
        data: what it was trained on.
        evaluate: parameters to losses.
        averages: of its weights, by name, where that is asked for.
    """
    index = data.index
    unique, epochs = coverage(run.tokens, index)
    reason = None if state.ok else _divergence(state)
    evaluation = evaluate(state.params) if state.ok else None
    if evaluation is not None and not math.isfinite(evaluation.loss):
        reason, evaluation = f"evaluation not finite after step {int(state.step)}", None
    seen = data.seen(run.order_seed, run.steps * run.batch_sequences)
    used = {source.name: source.used for source in index.sources}
    mixed = len(seen) > 1
    result = Result(
        status="diverged" if reason else "ok",
        status_reason=reason,
        loss=evaluation.loss if evaluation else None,
        loss_se_eval=evaluation.loss_se if evaluation else None,
        bits_per_byte=evaluation.bits_per_byte if evaluation else None,
        eval_tokens=evaluation.tokens if evaluation else None,
        eval_id=index.eval_id,
        train_loss=float(state.smooth_loss) if evaluation else None,
        steps=run.steps,
        tokens=run.tokens,
        unique_tokens=unique,
        epochs=epochs,
        params=_measured_counts(run, state.params),
        document_losses=evaluation.document_losses if evaluation else None,
        set_losses=(evaluation.set_losses or None) if evaluation else None,
        loss_floor=index.floor,
        source_tokens={name: windows * index.context for name, windows in seen.items()} if mixed else None,
        source_epochs={name: windows / used[name] for name, windows in seen.items()} if mixed else None,
    )
    if averages is None:
        return result
    losses = _finite_losses(averages, evaluate) if evaluation else None
    return result.model_copy(update={"average_losses": losses})


def _finite_losses(
    averages: Iterable[tuple[str, Params]], evaluate: Callable[[Params], Evaluation]
) -> dict[str, float]:
    """Return the losses of averages that are finite."""
    losses = ((name, evaluate(params).loss) for name, params in averages)
    return {name: loss for name, loss in losses if math.isfinite(loss)}


def provenance(bench: Workbench, run: Run, wall: float | None, pack: int) -> Provenance:
    """Return what the process of a job knows of how it trained a run.

    Args:
        bench: of the job.
        run: the run.
        wall: seconds of its training; None where it was not trained, or not to its end.
        pack: runs that were trained side by side, at most.
    """
    program = bench.program
    mesh = MeshSizes(**program.mesh.shape)
    peak = peak_flops(run.precision, bench.execution.threads)
    of_run = mesh.devices // mesh.run  # devices
    return Provenance(
        tokens_per_second=run.tokens / wall if wall else None,
        mfu=run.flops().flops / wall / (of_run * peak) if wall and peak else None,
        compile_seconds=program.compile_seconds,
        peak_memory_bytes=bench.memory.most(),
        lowering=replace(program.blueprint.lowering, mesh=mesh if mesh.devices > 1 else None, pack=pack),
        **bench.environment.model_dump(exclude_unset=True),
    )


def write_record(
    bench: Workbench,
    member: JobRun,
    carried: Carried,
    log: CurveLog,
    pack: int,
    seen: Callable[[], Mapping[str, Any]],
) -> None:
    """Evaluate a run that has ended, and write its record, last.

    Args:
        bench: of its job.
        member: the run.
        carried: after its last step.
        log: its curve.
        pack: runs that were trained side by side, at most.
        seen: says what else stands in the execution, once the run is evaluated.

    Raises:
        LostLease: another process works on it now, or has recorded it.
    """
    run = member.run
    times = [row["wall_time"] for row in log.rows() if not is_evaluation(row)]
    wall = times[-1] if times else None
    averages = at_the_end(member, carried, Averages.of([member])) if member.averages else None
    result = make_result(run, carried.state, bench.windows, bench.evaluate, averages)
    if result.loss is not None:
        log.append(final_row(member, result))
    known = provenance(bench, run, wall if result.status == "ok" else None, pack)
    more = dict(
        wall_seconds=wall, flops_spent=member.flops_spent, finished=now(), lease_token=bench.lease.token
    )
    rules = {"rules": member.rules} if member.rules else {}
    execution = known.model_copy(update={**seen(), **more, **rules})
    log.settle()
    log.close()
    bench.lease.check()
    record = Record(run_id=member.run_id, result=result, execution=execution)
    folder = bench.run_folder(member)
    if not create_json(folder / "record.json", record.to_json()):
        raise LostLease(f"run {member.run_id} was recorded by another process")
    (folder / "error.json").unlink(missing_ok=True)
    print(f"{now()} {member.run_id} {result.status} loss {result.loss}", flush=True)


def _divergence(state: TrainState) -> str:
    """Say where; the state stays at the last good step, so it has the step and the smoothed loss before."""
    step, loss = int(state.step), float(state.smooth_loss)
    before = f"; averaged loss before it {loss:.4f}" if step else ""
    return f"loss or gradient not finite at step {step + 1}{before}"


def _measured_counts(run: Run, params: Params) -> ParameterCounts:
    """Count parameters, asserted array by array against those that were trained."""
    declared = {name: parameter.dims for name, parameter in parameter_table(run.shape).items()}
    trained = {name: array.shape for name, array in params.items()}
    if trained != declared:
        raise AssertionError(f"declared {declared}, trained {trained}")
    return count_parameters(run.shape)
