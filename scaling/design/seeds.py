"""What the runs of a plan that differ by seeds alone will say of noise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.planning.seeds import ExpectedNoise, expect_noise
from scaling.plan.plan import Plan, PlannedRun


def noise_of_plan(plan: Plan) -> ExpectedNoise | None:
    """Say how well noise will be known; None where no runs differ by seeds alone."""
    runs = plan.with_roles(("fit", "noise"))
    documents = plan.data.eval_documents if plan.data.content is not None else None
    return expect_noise(_table(runs), documents) if runs else None


def _table(runs: Iterable[PlannedRun]) -> pd.DataFrame:
    """The columns of runs by which their table will tell settings and seeds apart."""
    return pd.DataFrame([_row(run) for run in runs])


def _row(run: PlannedRun) -> dict[str, Any]:
    corpus = " ".join(map(str, run.run.data_key))
    return {
        "label": run.label,
        "role": run.role,
        "variant": run.variant,
        "corpus": corpus,
        "params": run.params,
        "tokens": run.run.tokens,
        "unique_tokens": run.unique_tokens,
        "flops": run.flops,
        "batch_tokens": run.run.batch_tokens,
        "learning_rate": run.run.learning_rate,
        "trunk_id": run.trunk_id,
        "seed": run.run.seed,
        "seed_order": run.run.order_seed,
        **run.values,
    }
