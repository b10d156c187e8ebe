"""``scaling plan --figure``: the design of a study."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from scaling.cli import say
from scaling.errors import Complaint, UserError
from scaling.plan.plan import Plan

DPI = 150
# no date or version in the file: the same inputs give the same bytes
KINDS = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    ".svg": {"Date": None, "Creator": None},
}


def draw_design(path: Path, plan: Plan, done: Collection[str]) -> None:
    """Draw the runs of a plan, N against D, into a file; its suffix says of which kind it is.

    Args:
        path: of the file.
        plan: the plan.
        done: ids of runs that are done.

    Raises:
        UserError: the file cannot be written, or its suffix is none of :data:`KINDS`.
    """
    if path.suffix not in KINDS:
        problem = f"--figure {path}: files of kind {path.suffix or 'none'} are not drawn"
        raise UserError(Complaint(problem, hint=f"end its name in {', '.join(KINDS)}"))

    import pandas as pd
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from analysis.figures.design import design

    rows = [
        {
            "params": run.params,
            "tokens": run.run.tokens,
            "flops": run.flops,
            "role": run.role,
            "budget": run.budget,
            "done": run.run_id in done,
        }
        for run in plan.runs
    ]
    figure = design(pd.DataFrame(rows)).figure
    assert isinstance(figure, Figure), "it is drawn in a figure of its own"
    try:
        with rc_context({"svg.hashsalt": plan.study}):
            figure.savefig(path, dpi=DPI, metadata=KINDS[path.suffix])
    except OSError as error:
        raise say.unwritable("--figure", error, "name a file in a folder that can be written") from None
