"""Every split of a set forecast: one row per split and run, with the parts of ours and the ends of
references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import analysis
from analysis.errors import AnalysisError
from analysis.fits.allocation import values
from analysis.fits.discrepancy import FULL
from analysis.fits.result import Fit
from analysis.forecasting import backtest
from analysis.optimal_size.isoflop import Minimum, minima
from forecasting.sets import Set
from forecasting.splits import Split, bucket, splits

LAW, LEVEL, REPLICATES = "chinchilla", 0.9, 200
LOW, HIGH = 0.5 - LEVEL / 2, 0.5 + LEVEL / 2


def pairs(one: Set) -> pd.DataFrame:
    """Columns family, set, split, anchor, reach, far, bucket; y, log of the measured loss; of ours
    ``centre`` (log, before the mean of the discrepancy is taken off), ``law, run, unscaled`` (standard
    deviations of log loss, the last of the discrepancy at kappa = 1, by what the fit itself promises),
    ``stated`` (as forecasts have it: no less than with a power law where a fit is not settled), ``lean``
    (its mean at kappa = 1 and mean = 1); and of each reference ``<name>_low, <name>_high`` (log): predict,
    freeze, pairs. Splits that cannot be fitted are left out."""
    parts = []
    for number, split in enumerate(splits(one.runs)):
        try:
            rows = _split(split)
        except AnalysisError as error:
            print(f"{one.family}/{one.name}, split {number}: left out, {error}")
            continue
        parts.append(rows.assign(split=number, anchor=split.anchor, reach=split.reach))
    if not parts:
        return pd.DataFrame()
    return pd.concat(parts, ignore_index=True).assign(family=one.family, set=f"{one.family}/{one.name}")


def _split(split: Split) -> pd.DataFrame:
    fit = analysis.fit(LAW, split.train, bootstrap=REPLICATES)
    fit.need("forecast")
    n, d, c = (split.test[x].to_numpy() for x in ("params", "tokens", "flops"))
    far = c / split.train["flops"].max()
    ours = _parts(fit, {"N": n, "D": d, "C": c})
    out = pd.DataFrame({
        "y": np.log(split.test["loss"].to_numpy()), "far": far, "bucket": bucket(far), **ours,
    })  # fmt: skip
    for name, (low, high) in _references(fit, split.train, n, d, far).items():
        out[f"{name}_low"], out[f"{name}_high"] = low, high
    return out


def _parts(fit: Fit, asked: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """centre, law, run, unscaled, stated and lean of forecasts of the runs ``asked``, N, D, C (m,) each."""
    said, group = fit.predict(asked).frame, np.zeros(len(asked["C"]), int)
    outlook = fit.forecast()
    used, one = outlook.at(asked, group), replace(outlook, constants=outlook.constants.unscaled)
    stated, unit = one.at(asked, group), replace(one, least=None).at(asked, group)
    share = np.minimum(1.0, used.above / np.log(FULL))  # of the way from the law to the refit
    return {
        "centre": np.log(said["forecast"].to_numpy()) + share * used.lean,
        "lean": share * unit.lean,
        "law": said["se_law"].to_numpy(),
        "run": said["se_run"].to_numpy(),
        "unscaled": unit.discrepancy,
        "stated": stated.discrepancy,
    }


def _references(
    fit: Fit, train: pd.DataFrame, n: np.ndarray, d: np.ndarray, far: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Ends of intervals of log loss: of a new run as :meth:`Fit.predict` gave it at c9265ab, of a frozen
    forecast there, whose back-test widened it, and of a pairs bootstrap with residuals added."""
    band = fit.band(N=n, D=d).frame
    log_loss, run, t = np.log(band["loss"].to_numpy()), fit.noise.sd, stats.t.ppf(HIGH, fit.intervals.degrees)
    alone = np.hypot(band["se_log"].to_numpy(), run)
    tested = backtest.run(LAW, train, bootstrap=0)
    grown = np.zeros(len(n))
    if tested.rms is not None and tested.bias is not None:
        beyond = np.sqrt(max(tested.rms**2 - run**2, tested.bias**2))
        grown = beyond * np.maximum(1.0, np.log(far) / np.log(max(tested.extrapolation, 1.01)))
    frozen = np.hypot(alone, grown)
    case = analysis.fit(LAW, train, bootstrap=REPLICATES, method="case")
    draws = np.log(values(case.problem, case.draws, {"N": n, "D": d}))
    noise = np.random.default_rng(0).choice(case.residuals, draws.shape)
    low, high = np.quantile(draws + noise, [LOW, HIGH], axis=0)
    return {
        "predict": (log_loss - t * alone, log_loss + t * alone),
        "freeze": (log_loss - t * frozen, log_loss + t * frozen),
        "pairs": (low, high),
    }


def at_minima(one: Set) -> Iterator[dict[str, Any]]:
    """At isoFLOP minima that were measured: the power law with offset through the minima of the training
    runs, with its t interval, against ours of the same run; rows as of :func:`pairs`."""
    measured = [m for m in minima(one.runs).minima if m.interior]
    for number, split in enumerate(splits(one.runs)):
        most = split.train["flops"].max()
        known = [m for m in measured if m.budget <= 1.02 * most]
        targets = [m for m in measured if 0.7 * split.anchor <= m.budget <= 1.02 * split.anchor]
        if len(known) < 5 or not targets:
            continue
        yield from _at(split, number, known, targets, one)


def _at(
    split: Split, number: int, known: list[Minimum], targets: list[Minimum], one: Set
) -> Iterator[dict[str, Any]]:
    table = pd.DataFrame({"flops": [m.budget for m in known], "loss": [m.loss for m in known]})
    line = analysis.fit("power-offset", table, bootstrap=0)
    fit = analysis.fit(LAW, split.train, bootstrap=REPLICATES)
    if not (line.usable and fit.usable):
        return
    t = stats.t.ppf(HIGH, max(len(known) - 3, 1))
    for m in targets:
        assert m.N is not None and m.D is not None and m.loss is not None  # interior
        theirs = line.band(C=m.budget).frame.iloc[0]
        reach = t * np.hypot(theirs["se_log"], line.noise.sd)
        far = m.budget / split.train["flops"].max()
        ours = _parts(fit, {x: np.array([value]) for x, value in {"N": m.N, "D": m.D, "C": m.budget}.items()})
        yield {
            "family": one.family, "set": f"{one.family}/{one.name}", "split": number, "y": np.log(m.loss),
            **{name: float(value[0]) for name, value in ours.items()},
            "far": far,
            "envelope_low": np.log(theirs["loss"]) - reach, "envelope_high": np.log(theirs["loss"]) + reach,
        }  # fmt: skip
