"""Where a run is evaluated along the way: steps at which chunks end, so that training does not change."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.chunks import auto_chunk_steps
from scaling.corpora.evaluation import EMA, Every, LogSpaced, Merge
from scaling.plan.designs import Wanted, flops_per_step
from scaling.plan.plan import Plan, PlannedJob
from scaling.run import AnyRun
from scaling.spec.execution import Execution
from scaling.spec.models import Study
from scaling.spec.source import Finding, Path
from scaling.store.records import RunEMA, RunMerge


def chunk_of(flops_per_step: int, execution: Execution) -> int:
    """Return the steps of one compiled call."""
    return execution.chunk_steps or auto_chunk_steps(flops_per_step)


def evaluation_steps(every: Every, run: AnyRun, chunk: int) -> tuple[int, ...]:
    """Return the steps before its end at which ``run`` is evaluated: multiples of ``chunk``."""
    match every:
        case LogSpaced(log=count):
            exact = [chunk * (run.steps / chunk) ** (i / (count - 1)) for i in range(count - 1)]
        case _:
            gap = every.in_steps(run.steps, run.batch_tokens)
            exact = range(gap, run.steps, gap)
    return on_grid(exact, chunk, run.steps)


def on_grid(exact: Sequence[float], chunk: int, end: int) -> tuple[int, ...]:
    """Return the nearest multiples of ``chunk`` between 0 and ``end``, once each."""
    rounded = {int(step / chunk + 0.5) * chunk for step in exact}
    return tuple(sorted(step for step in rounded if 0 < step < end))


def evaluated_at(plan: Plan, run: AnyRun) -> tuple[int, ...] | None:
    """Return the steps along the way at which a run of a plan is evaluated; None: that was not asked for."""
    if plan.every is None:
        return None
    chunk = 1 if plan.command else chunk_of(run.flops_per_step, plan.execution)
    return evaluation_steps(plan.every, run, chunk)


def evaluations(plan: Plan, job: PlannedJob) -> int:
    """Count the evaluations of a job: on its trunk (once a step), on branches, and at the end of each run.
    Each is of the weights and of their exponential averages, at the end of merges too."""
    runs = [plan.by_id[run_id].run for run_id in job.run_ids]
    at = [(run, evaluated_at(plan, run) or ()) for run in runs]
    trunk = {step for run, steps in at for step in steps if step <= run.branch_step}
    emas = sum(isinstance(average, EMA) for average in plan.averages)
    along = len(trunk) + sum(step > run.branch_step for run, steps in at for step in steps)
    return along * (1 + emas) + len(runs) * (1 + len(plan.averages))


def merged_at(merge: Merge, run: AnyRun, chunk: int) -> tuple[int, ...]:
    """Return the steps after which a merge takes its snapshots, the end of ``run`` the last of them."""
    span = merge.span.in_steps(run.steps, run.batch_tokens)
    exact = [run.steps - span * k / merge.snapshots for k in range(1, merge.snapshots)]
    return *on_grid(exact, chunk, run.steps), run.steps


def averages_of(plan: Plan, run: AnyRun) -> tuple[RunEMA | RunMerge, ...]:
    """Return the averages of a run's weights that are evaluated."""
    resolved, chunk = list[RunEMA | RunMerge](), chunk_of(run.flops_per_step, plan.execution)
    for average in plan.averages:
        match average:
            case EMA():
                resolved.append(RunEMA(kind="ema", name=average.name, decay=average.decay))
            case Merge():
                steps = merged_at(average, run, chunk)
                resolved.append(RunMerge(kind="merge", name=average.name, steps=steps))
    return tuple(resolved)


def open_merges(plan: Plan, job: PlannedJob) -> int:
    """Count the sums of snapshots that a job holds at most at a time, beside its weights: on the trunk, those
    of all runs whose windows are open; on a branch, one for each merge more."""
    runs = [plan.by_id[run_id].run for run_id in job.run_ids]
    windows = [
        (average.steps[0], run.branch_step)
        for run in runs
        for average in averages_of(plan, run)
        if isinstance(average, RunMerge)
    ]
    at = [sum(first <= start <= end for first, end in windows) for start, _ in windows]
    branching = sum(isinstance(average, Merge) for average in plan.averages)
    return max(at, default=0) + branching * any(run.steps > run.branch_step for run in runs)


def finer_than_chunks(study: Study, kept: Sequence[Wanted]) -> list[Finding]:
    """Find what asks for a run's state more often than at the ends of its chunks, or before its start."""
    evaluation, findings = study.evaluation, list[Finding]()
    if evaluation.every is not None:
        gaps = [_gap(evaluation.every, w) for w in kept]
        findings += _finer(study.execution, ("evaluation", "every"), "evaluations", kept, gaps)
    for i, average in enumerate(evaluation.averages):
        if not isinstance(average, Merge):
            continue
        path: Path = ("evaluation", "averages", i, "span")
        spans = [average.span.in_steps(w.steps, w.batch.tokens) for w in kept]
        gaps = [span // average.snapshots for span in spans]
        findings += _finer(study.execution, path, "snapshots", kept, gaps)
        long = [w for w, span in zip(kept, spans, strict=True) if span > w.steps]
        if long:
            message = f"is {average.span}, more than the {long[0].steps} steps of {long[0].label}"
            findings.append(Finding(path, message, "give it in percent, or leave short runs out"))
    return findings


def _gap(every: Every, wanted: Wanted) -> int:
    """Return the steps from one evaluation to the next; spaced by the logarithm, on average."""
    match every:
        case LogSpaced(log=count):
            return wanted.steps // count
        case _:
            return every.in_steps(wanted.steps, wanted.batch.tokens)


def _finer(
    execution: Execution, path: Path, what: str, kept: Sequence[Wanted], gaps: Sequence[int]
) -> list[Finding]:
    """Find gaps smaller than a chunk.

    Args:
        execution: has the size of a chunk, if it was given.
        path: of the field that asks for them.
        what: is asked for so often.
        kept: all runs.
        gaps: of each run, in steps.
    """
    chunks = [chunk_of(flops_per_step(w.shape, w.batch.tokens), execution) for w in kept]
    short = [i for i in range(len(kept)) if gaps[i] < chunks[i]]
    if not short:
        return []
    worst = max(short, key=lambda i: chunks[i] / max(gaps[i], 1))
    more = f" (and in {len(short) - 1} more runs)" if len(short) > 1 else ""
    message = (
        f"{what} of {kept[worst].label} every {gaps[worst]} steps: finer than its chunk of {chunks[worst]}"
    )
    least = min(gaps)
    finer = f"set execution.chunk_steps: {1 << (least.bit_length() - 1)} or less, or " if least else ""
    return [Finding(path, message + more, f"{finer}ask for fewer")]
