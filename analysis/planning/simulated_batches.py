"""Studies of the critical batch simulated at what is assumed, and fitted as any table is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.hyperparameters.criticalbatch import CRITICAL, find
from analysis.planning.batches import ExpectedBatch, ExpectedBatches
from analysis.planning.simulate import Seen, Simulated, summed

VERDICTS = {"yes": "identified", "one_sided": "bounded", "no": "not_identified"}
ERROR = "error"
WORSE = (*VERDICTS.values(), ERROR)


def simulate_batches(
    expected: ExpectedBatches, studies: int, *, seed: int = 0, bootstrap: int = 199
) -> Simulated:
    """Simulate studies and fit them; the status of a study is that of its worst group.

    Args:
        expected: the groups, with the critical batch and the noise of steps that are assumed.
        studies: how many.
        seed: of the noise.
        bootstrap: replicates of each fit.
    """
    rng, seen, worst = np.random.default_rng(seed), list[Seen](), [WORSE[0]] * studies
    for one in expected.found:
        rows = list[tuple[float, float, float, bool]]()
        for study in range(studies):
            verdict, row = _fitted(one, rng, study, bootstrap)
            worst[study] = max(worst[study], verdict, key=WORSE.index)
            if row is not None:
                rows.append(row)
        if rows:
            seen.append(summed(f"Bcrit({one.group.name})", rows, one.critical, log=True))
    reason = None if seen else expected.found[0].verdict.reason
    return Simulated("critical-batch", studies, dict(Counter(worst)), tuple(seen), reason)


def _fitted(
    one: ExpectedBatch, rng: np.random.Generator, seed: int, bootstrap: int
) -> tuple[str, tuple[float, float, float, bool] | None]:
    """The verdict on one study of a group; estimate, ends of the interval and whether it is identified."""
    batches = one.group.batches
    steps = (1 + one.critical / batches) * np.exp(rng.normal(0, one.noise, len(batches)))
    table = pd.DataFrame({"batch_tokens": batches, "steps": 1e3 * steps})
    try:
        found = find(table, by=(), on=(), bootstrap=bootstrap, seed=seed)
    except AnalysisError:
        return ERROR, None
    cell = found.cells.iloc[0]
    verdict = VERDICTS[cell["verdict"]]
    if not found.fits[0].usable:
        return verdict, None
    low, high = (float(cell[f"{CRITICAL}_{end}"]) for end in ("low", "high"))
    value = float(cell["Emin"] / cell["Smin"]) if cell["Smin"] > 0 else np.inf
    ends = np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=np.inf)
    return verdict, (value, float(ends[0]), float(ends[1]), cell["verdict"] == "yes")
