"""What a plan asks of the device that its jobs will run on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scaling.errors import Complaint, UserError
from scaling.plan.plan import Plan
from scaling.recipe.precision import unmet
from scaling.run import Run


def require_precision(runs: Mapping[str, Run], device: str) -> None:
    """Raises UserError: ``device`` cannot multiply in the precision of a run, by its label."""
    problems = dict[str, Complaint]()
    for label, run in runs.items():
        if needed := unmet(run.precision, device):
            message = f"recipe.precision, of {label}: {needed}, and jobs would train on the {device}"
            hint = "train on a GPU, or use float32 or bfloat16"
            problems.setdefault(run.precision, Complaint(message, hint=hint))
    if problems:
        raise UserError(*problems.values())


def device_notes(plan: Plan, device: str) -> Iterator[str]:
    """Say what a reader of the plan should know of its runs on ``device``."""
    runs, pack = plan.runs, plan.execution.pack
    if pack != "auto" and pack > 1 and device == "cpu":
        yield f"execution.pack = {pack}: on a CPU runs side by side are slower than one after the other"
    rounded = sum(run.built_in.precision == "bfloat16" for run in runs)
    if rounded and device == "cpu":
        yield f"bfloat16 is rounding alone on a CPU, slower than float32 ({rounded} of {len(runs)} runs)"
