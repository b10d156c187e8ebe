"""What the runs of a plan that differ by seeds alone will say of noise."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.planning.seeds import ExpectedNoise, expect_noise
from scaling.design.tables import table_of
from scaling.plan.plan import Plan, PlannedRun


def noise_of_plan(plan: Plan) -> ExpectedNoise | None:
    """Say how well noise will be known; None where no runs differ by seeds alone."""
    runs = plan.with_roles(("fit", "noise"))
    documents = plan.data.eval_documents if plan.data.content is not None else None
    return expect_noise(_table(runs), documents) if runs else None


def _table(runs: Sequence[PlannedRun]) -> pd.DataFrame:
    """The table of runs with the columns by which it tells settings and seeds apart."""
    return table_of(runs).assign(
        role=[run.role for run in runs],
        variant=[run.variant for run in runs],
        corpus=[" ".join(map(str, run.run.data_key)) for run in runs],
        batch_tokens=[run.run.batch_tokens for run in runs],
        learning_rate=[run.run.learning_rate for run in runs],
        seed_order=[run.run.order_seed for run in runs],
    )
