"""Repeated data (Muennighoff et al. 2023, arXiv:2305.16264): how fast repeated tokens and excess parameters
lose their worth.

Data: github.com/huggingface/datablations at 13701315b163f1c54642b94ad237b2699187c3ee (Apache-2.0), the
printed output of cell 26 of utils/parametric_fit.ipynb as muennighoff/runs.csv: params, tokens (with
repeats), unique_tokens, loss, in_default_fit_182.

Their procedure: A, B, E, alpha = beta from runs of one epoch (not in the repository), then R_D* and R_N*
alone by a sum of Huber with delta 1e-3. Our law ``data-constrained`` calls them RD and RN.

    python experiments/published/muennighoff.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from verdicts import SLACK, Verdict, objective, run

import analysis

STAGE_1 = {
    "A": np.exp(6.255414),
    "B": np.exp(7.3049974),
    "E": np.exp(0.6254804),
    "alpha": 0.3526596,
    "beta": 0.3526596,
}
PUBLISHED = {"RD": 15.387756, "RN": 5.309743}
PUBLISHED_OBJECTIVE = 0.0158259353
BEST_KNOWN = 0.0158046625  # reached here first, by 11 of 128 starts; before it was BEFORE
BEFORE = 0.0158073786
FREE = 0.006565895  # of all seven, from one simplex search; nobody says that it is the least
R2 = {"published": 0.7722, "best known": 0.7872}


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    table = analysis.load(folder / "runs.csv")
    rows = "in_default_fit_182 == 1"
    fit = analysis.fit(
        "data-constrained", table, where=rows, delta=1e-3, fixed=STAGE_1, bootstrap=200, cluster="params"
    )
    theirs, ours = (objective(fit, {**STAGE_1, **p}) for p in (PUBLISHED, fit.solution))
    same = abs(theirs / PUBLISHED_OBJECTIVE - 1) <= SLACK
    rule = f"recomputed at their parameters, to {SLACK:g}"
    yield Verdict("objective, published", f"{PUBLISHED_OBJECTIVE:.9g}", f"{theirs:.9g}", rule, same)
    rule = f"best known {BEST_KNOWN:.9g}, to {SLACK:g}"
    yield Verdict("objective", f"{theirs:.9g}", f"{ours:.9g}", rule, ours <= BEST_KNOWN * (1 + SLACK))
    yield f"best known before, of a search from 48 starts: {BEFORE:.9g}"
    found = fit.identified["RD"]
    shown = ", ".join(f"{side} {bound:.3g}" for side, bound in found.bound.items())
    passed = found["verdict"] == "one_sided" and "lower" in found["bound"]
    yield Verdict(
        "R_D*", f"{PUBLISHED['RD']:.4g}", shown or found["verdict"], "one-sided, from below", passed
    )
    starts = f"{fit.starts.agree} of {fit.starts.n} starts agree"
    yield f"R_D* {fit.solution['RD']:.4g}: {found['reason']}; {starts}"
    low, high = fit.intervals.params.get("RN", (np.nan, np.nan))
    yield f"R_N* {PUBLISHED['RN']:.4g} -> {fit.solution['RN']:.4g}, 90 % {low:.3g} .. {high:.3g}"
    yield from _profile(fit)
    theirs, ours = (_r2(fit, {**STAGE_1, **params}) for params in (PUBLISHED, fit.solution))
    value = R2["published"]
    yield Verdict(
        "R^2, published", f"{value}", f"{theirs:.4f}", "equal to 4 digits", round(theirs, 4) == value
    )
    rule = f"that of the best known before, {R2['best known']}, or more"
    yield Verdict("R^2, ours", f"{value}", f"{ours:.4f}", rule, round(ours, 4) >= R2["best known"])
    yield from _all_free(table, rows)


def _profile(fit: analysis.Fit) -> Iterator[str]:
    """The objective over R_D*, R_N* solved again: two basins, and flat above."""
    profile = fit.profile("RD", simulations=0)
    for value, height in zip(profile.values[::3], profile.objective[::3], strict=True):
        yield f"R_D* {value:7.4g}: objective {height:.7f}"
    if profile.best < fit.objective.value * (1 - SLACK):
        at = profile.values[int(np.argmin(profile.objective))]
        yield f"the profile finds {profile.best:.8g} at R_D* {at:.3g}, lower than all starts did"


def _r2(fit: analysis.Fit, params: Mapping[str, float]) -> float:
    loss = np.array(fit.data["L"])
    left = loss - fit.law.values(params, {x: np.array(fit.data[x]) for x in fit.law.inputs})
    return 1 - float((left**2).sum() / ((loss - loss.mean()) ** 2).sum())


def _all_free(table: pd.DataFrame, rows: str) -> Iterator[str]:
    fit = analysis.fit("data-constrained", table, where=rows, delta=1e-3, bootstrap=0, cluster="params")
    status = f"{fit.status.code}: {fit.status.message}"
    yield f"all seven free: objective {fit.objective.value:.6g}, {status}"
    yield ", ".join(f"{name} {value:.4g}" for name, value in fit.solution.items())
    yield from (
        f"{name}: {v['verdict']}, {v['reason']}"
        for name, v in fit.identified.items()
        if v["verdict"] != "yes"
    )


if __name__ == "__main__":
    run("muennighoff", verdicts)
