"""What ``scaling status`` prints."""

from __future__ import annotations

from scaling.cli.columns import columns
from scaling.cli.status_slurm import allocations_text
from scaling.cli.words import duration
from scaling.errors import plural
from scaling.sweep.status import Status

ALL_ROWS = 60  # a longer study shows what is not done


def status_text(now: Status) -> str:
    """Counts, rows, failures with reasons, and whether somebody is at work."""
    counts = ", ".join(f"{number} {state}" for state, number in now.counts.items() if number)
    parts = [f"study {now.study} in {now.folder}: {plural(len(now.rows), 'run')}: {counts}"]
    rows = [r for r in now.rows if len(now.rows) <= ALL_ROWS or r.state != "done"]
    cells = [
        (
            row.label,
            row.role,
            row.state,
            "" if row.step is None else f"{row.step:,}",
            "" if row.steps is None else f"{row.steps:,}",
            "" if row.loss is None else f"{row.loss:.4f}",
            row.run_id,
        )
        for row in rows
    ]
    if cells:
        parts.append(columns(("run", "role", "state", "step", "of", "loss", "id"), cells, left=3))
    reasons = [f"{row.label}: {row.reason} (log: {row.log})" for row in now.rows if row.reason]
    if reasons:
        parts.append("\n".join(reasons))
    if now.kinds:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(now.kinds.items()))
        left = f"; {now.given_up} are not retried until execution.attempts is raised" if now.given_up else ""
        parts.append(f"{plural(sum(now.kinds.values()), 'failed run')}: {kinds}{left}")
    if now.slurm is not None:
        parts.append(allocations_text(now.slurm))
    if not now.drivers and now.slurm is not None and now.slurm.living:
        parts.append("no driver is running: the study goes on when Slurm starts one")
    elif not now.drivers:
        left = len(now.rows) - now.counts["done"] - now.counts["diverged"] - now.given_up
        parts.append("no driver is running" + (f"; `scaling run {now.folder}` resumes it" if left else ""))
    else:
        who = "a driver is" if len(now.drivers) == 1 else f"{len(now.drivers)} drivers are"
        eta = now.eta_seconds
        left = "" if eta is None or eta < 0.5 else f", about {duration(eta)} left in this phase"
        parts.append(f"{who} at work{left}")
    return "\n\n".join(parts)
