"""Where the runs lie: tokens against parameters, with lines of equal compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.errors import AnalysisError
from analysis.fits.result import Fit
from analysis.reporting.charts.chart import Chart, Trace, axis, line, runs_at, short, words
from analysis.reporting.charts.compute import IDENTIFIED, OUTCOME
from analysis.reporting.runs import FITTED, Runs
from analysis.reporting.words import Waiting

LINES = 7  # of equal compute
AIR = 0.12  # decades beside the runs


def design(runs: Runs, fit: Fit, waiting: Sequence[Waiting] = (), *, name: str = "design") -> Chart | None:
    """Every run of the table by role; None where N or D is not known.

    Args:
        runs: rows of the page.
        fit: a law, whose best N and D are drawn where it has them.
        waiting: runs held out and not trained.
        name: the anchor.
    """
    if not runs.has("N", "D"):
        return None
    known = np.isfinite(runs["N"]) & np.isfinite(runs["D"])
    role = runs.text("role")
    fitted, held = runs.text("use") == FITTED, role == "holdout"
    noise = (role == "noise") & ~fitted & ~held
    groups = (
        ("not in the fit", ~fitted & ~held & ~noise, {"symbol": "circle-open", "color": "@muted"}),
        ("fitted", fitted, {"color": "@at:0.35", "opacity": 0.85}),
        ("repeated seeds", noise, {"symbol": "x-thin", "line": {"width": 1.4, "color": "@muted"}}),
        ("held out", held, OUTCOME),
    )
    across = _range(np.append(runs["N"][known], [run.params for run in waiting]))
    up = _range(np.append(runs["D"][known], [run.tokens for run in waiting]))
    traces = _equal_compute(across, up)
    best = _best(fit)
    traces += best
    for label, chosen, marker in groups:
        if (chosen & known).any():
            traces.append(runs_at(np.flatnonzero(chosen & known), "N", "D", label, **marker))
    traces += [_waiting(waiting)] if waiting else []
    caption = (
        f"The {int(known.sum()):,} runs of the table, {int((fitted & known).sum()):,} of them fitted; "
        "thin lines are of equal compute, 6 N D in FLOPs"
        + (
            ", the bold one is the best N and D by the law, dashed beyond the trained compute."
            if best
            else "."
        )
    )
    layout = {
        "xaxis": axis("parameters N", "count", range=across),
        "yaxis": axis("training tokens D", "count", range=up),
    }
    return Chart(name, "The design", caption, tuple(traces), layout, 450)


def _waiting(runs: Sequence[Waiting]) -> Trace:
    return {
        "mode": "markers", "x": short([run.params for run in runs]), "y": short([run.tokens for run in runs]),
        "name": "held out, not trained", "text": [words(run.label) for run in runs],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {**OUTCOME, "symbol": "star-open", "line": {"width": 1.4}},
    }  # fmt: skip


def _range(values: np.ndarray) -> list[float]:
    return [float(np.log10(values.min()) - AIR), float(np.log10(values.max()) + AIR)]


def _equal_compute(across: list[float], up: list[float]) -> list[Trace]:
    """Lines of one power of ten of 6 N D each, named where they enter the figure; ranges in decades."""
    low, high = np.log10(6) + across[0] + up[0], np.log10(6) + across[1] + up[1]
    step = max(1, int(np.ceil((high - low) / LINES)))
    traces = []
    for power in range(int(np.ceil(low)), int(np.floor(high)) + 1, step):
        total = power - np.log10(6)  # log N + log D
        ends = np.array([max(across[0], total - up[1]), min(across[1], total - up[0])])
        points = ends[0] + np.diff(ends) * np.array([0, 0.04, 1])
        drawn = line(10**points, 10 ** (total - points), colour="@edge", width=1)
        name = {"mode": "lines+text", "text": ["", f"10<sup>{power}</sup>", ""], "textposition": "top right"}
        traces.append({**drawn, **name, "textfont": {"size": 10.5, "color": "@muted"}})
    return traces


def _best(fit: Fit) -> list[Trace]:
    if not fit.usable or fit.status.code not in IDENTIFIED:
        return []
    compute = np.array(fit.data.get("C", ()))
    try:
        inside = fit.optimal(np.geomspace(compute.min(), compute.max(), 30))
        beyond = fit.optimal(np.geomspace(compute.max(), 10 * compute.max(), 12))
    except (AnalysisError, ValueError):
        return []
    return [
        line(inside["N"], inside["D"], "best N and D by the law"),
        line(beyond["N"], beyond["D"], dash="dash"),
    ]
