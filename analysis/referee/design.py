"""Tests of the design: which sizes, lengths, compute and repeats there are."""

from __future__ import annotations

from scipy import stats

from analysis.errors import AnalysisError, Argument
from analysis.fits.bootstrap import FEW
from analysis.fits.identification import proportional
from analysis.referee.outcome import Outcome, judged, unseen
from analysis.referee.subject import Subject, Test
from analysis.tables.levels import count_levels
from analysis.tables.runs import select

LEVELS = 3  # sizes, and token counts, that a power with an offset needs
FARTHEST = 30.0  # times the largest compute, beyond which forecasts of published runs were not scored
MISFIT = 1.5  # times the noise of seeds, from which residuals are more than noise
SURE = 0.01  # p of the test that they are
MEANT = {"N": "size", "D": "token count", "C": "compute budget"}


def _ray(subject: Subject) -> Outcome:
    inputs = {x: v for x, v in subject.rows.inputs.items() if x in MEANT}
    if not inputs or not len(subject.rows.target):
        return unseen("the law has no N, D or C, or no run is left")
    levels = {x: count_levels(v) for x, v in inputs.items()}
    shown = ", ".join(f"{n} {MEANT[x]}{'s' * (n != 1)}" for x, n in levels.items())
    few = [MEANT[x] for x, n in levels.items() if n < LEVELS]
    if not {"N", "D"} <= set(inputs):
        advice = f"train at {LEVELS} {few[0]}s at least, over a wide range" if few else ""
        return judged(bool(few), shown, advice, value=min(levels.values()), measure="distinct values")
    ratio = inputs["D"] / inputs["N"]
    spread = float(ratio.max() / ratio.min())
    sentence = proportional(inputs) if not few else ""
    message = f"{shown}; D/N from {ratio.min():.3g} to {ratio.max():.3g}, a factor {spread:.3g}"
    return judged(
        bool(few or sentence),
        f"{message}; {sentence}" if sentence else message,
        "train several sizes to one token count and one size to several (isoFLOP, or a grid): on one ray N "
        "and D cannot be told apart",
        value=spread,
        measure="largest D/N over the smallest",
    )


def _clusters(subject: Subject) -> Outcome:
    index, by = subject.rows.cluster, subject.rows.by
    groups = int(index.max(initial=-1)) + 1
    return judged(
        groups < FEW,
        f"{len(index)} runs are {groups} clusters by {by}",
        f"with fewer than {FEW} clusters widths of intervals are unreliable: add sizes or seeds; quote "
        "predictions rather than barely identified parameters",
        value=groups,
        measure="clusters",
    )


def _repeats(subject: Subject) -> Outcome:
    noise = subject.fit.noise
    seeds = noise.seeds
    if seeds is None:
        return unseen(
            "no runs that differ by a seed alone: whether the residuals are noise or misfit is not known",
            "train one or two cells, the smallest and one near the frontier, with 3 seeds each (role noise)",
        )
    ratio = noise.sd / max(seeds.sd_log, 1e-300)
    p = float(stats.f.sf(ratio**2, noise.degrees, seeds.degrees))
    return judged(
        ratio > MISFIT and p < SURE,
        f"residuals {noise.sd:.2%}, repeated seeds {seeds.sd_log:.2%} ({seeds.degrees} d.f.): a factor "
        f"{ratio:.2g}, p = {p:.2g} that residuals are seed noise",
        "what the law leaves over is mostly its own error: look at the residuals by size and compute; "
        "forecasts err by more than noise",
        value=ratio,
        measure="sd of residuals over that of seeds",
    )


def _extrapolation(subject: Subject) -> Outcome:
    largest, wanted, what = subject.largest, subject.compute, "asked for"
    span = largest / float(subject.flops.min())
    fitted = f"the fit spans a factor {span:.3g} of compute, up to {largest:.3g} FLOPs"
    if wanted is None:
        try:
            held = select(subject.table, ("holdout",), convention=subject.asked.convention)[0]
        except AnalysisError:  # no run of that role
            held = None
        if held is None or not len(held) or "C" not in held.columns:
            return unseen(
                f"{fitted}; what the law is for is not said",
                ("give the compute it is used at: ", Argument("compute", float(f"{10 * largest:.1g}"))),
            )
        wanted, what = float(held["C"].to_numpy(float).max()), "of the held-out runs"
    ratio = wanted / largest
    return judged(
        ratio > min(span, FARTHEST),
        f"{fitted}; {wanted:.3g} FLOPs {what} lie {ratio:.3g}x beyond"
        if ratio > 1
        else f"{fitted}; {wanted:.3g} FLOPs {what} lie within",
        f"extrapolate no further than the fitted range is wide, and {FARTHEST:g}x at most: train a run in "
        "between and score its forecast first",
        value=ratio,
        measure="compute asked for over the largest fitted",
    )


TESTS = {
    "ray": Test("one ray or one size", _ray),
    "clusters": Test("number of clusters", _clusters),
    "repeats": Test("residuals against repeated seeds", _repeats),
    "extrapolation": Test("extrapolation ratio", _extrapolation),
}
