"""What ``scaling plan`` prints."""

from __future__ import annotations

from typing import Any

from scaling.cli.columns import columns
from scaling.cli.words import count, duration, flops, plural, size
from scaling.plan.cost import Space, Time
from scaling.plan.plan import Plan
from scaling.plan.probe import Probe

HEADER = ("run", "role", "N body", "N", "D", "D/N", "epochs", "steps", "FLOPs", "spent")


def plan_text(plan: Plan, time: Time | None, probe: Probe | None, space: Space, workers: int) -> str:
    """Every run, what is left out and why, and totals."""
    spent = {run_id: work for job in plan.jobs for run_id, work in job.flops_spent.items()}
    rows = [
        (
            run.label,
            run.role,
            count(run.params_body),
            count(run.params),
            count(run.run.tokens),
            f"{run.run.tokens / run.params:.3g}",
            f"{run.epochs:.2f}",
            f"{run.run.steps:,}",
            f"{run.flops:.3g}",
            f"{spent[run.run_id]:.3g}",
        )
        for run in plan.runs
    ]
    parts = [f"study {plan.study}: {plan.data.corpus}, {plan.data.tokenizer}, context {plan.data.context}"]
    parts.append(columns(HEADER, rows, left=2))
    if plan.excluded:
        left_out = columns(("left out", "why"), [(e.label, e.reason) for e in plan.excluded], left=2)
        parts.append(left_out)
    parts += [f"note: {note}" for note in plan.notes]
    parts.append(_totals(plan, time, probe, space, workers))
    return "\n\n".join(parts)


def _totals(plan: Plan, time: Time | None, probe: Probe | None, space: Space, workers: int) -> str:
    totals = plan.totals
    roles = ", ".join(f"{number} {role}" for role, number in totals.by_role.items())
    params = [run.params for run in plan.runs if run.role == "fit"]
    final = ", and the final one of every run" if plan.execution.keep_final else ""
    lines = [
        f"{plural(totals.runs, 'run')} ({roles}) in {plural(totals.jobs, 'job')}; "
        f"N {count(min(params))} to {count(max(params))} ({max(params) / min(params):.0f}x)",
        f"{flops(totals.flops)} if each were trained alone, {flops(totals.flops_spent)} as planned: "
        f"sharing trunks saves {totals.saved:.0%}",
        f"{count(totals.tokens)} tokens ({sum(r.epochs for r in plan.runs):.3g} epochs) in "
        f"{sum(r.run.steps for r in plan.runs):,} steps, as if each were trained alone",
        f"memory of the largest process about {size(space.memory_bytes)}",
        f"a checkpoint every {duration(plan.execution.checkpoint_seconds)} of each process; keeps the last 2 "
        f"per trunk and active run{final}: at most {size(space.checkpoint_bytes)} on disk, "
        f"{size(space.kept_bytes)} in the end",
    ]
    if time is None or probe is None:
        lines.append("time: not estimated (no speed measured for these shapes on this machine)")
    else:
        after = f", of which {duration(time.holdout_wall_seconds)} after the forecast is frozen"
        lines.append(
            f"about {duration(time.wall_seconds)} with {plural(workers, 'worker')} on {probe.device}"
            f"{after if time.holdout_wall_seconds else ''} (speed measured at "
            f"{plural(len(probe.points), 'shape')}; training {duration(time.training_seconds)}, "
            f"compiling {duration(time.compile_seconds)}, evaluation {duration(time.evaluation_seconds)}, "
            f"starting {duration(time.start_seconds)} of work)"
        )
    return "\n".join(lines)


def plan_json(plan: Plan, time: Time | None, space: Space) -> dict[str, Any]:
    totals = plan.totals
    return {
        **plan.to_json(),
        "totals": vars(totals),
        "time": None if time is None else vars(time),
        "space": vars(space),
    }
