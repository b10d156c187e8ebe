"""Studies simulated at a prior and fitted as any table is: what intervals and verdicts come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits.fitting import fit
from analysis.fits.result import Fit
from analysis.planning.information import Information
from analysis.planning.prior import Prior
from analysis.planning.target import Target
from analysis.results import Part

QUANTILES = (0.05, 0.95)


@dataclass(frozen=True)
class Seen(Part):
    """Of one quantity over simulated studies: half of the 5 to 95 % range of its estimates (``spread``), the
    median half-width of its intervals, both of its logarithm with ``log``; how often the interval holds the
    ``truth`` (``covered``), and how often it is identified."""

    name: str
    truth: float
    spread: float
    half_width: float
    covered: float
    identified: float
    log: bool


@dataclass(frozen=True)
class Simulated:
    """``studies`` that were simulated, how many of them have each ``status``, and what is ``seen``: nothing
    where no study has a usable fit, with the usual ``reason``."""

    law: str
    studies: int
    status: dict[str, int]
    seen: tuple[Seen, ...]
    reason: str | None = None

    def __getitem__(self, name: str) -> Seen:
        return next(one for one in self.seen if one.name == name)

    def to_dict(self) -> dict[str, Any]:
        rows = [{k: v if v == v else None for k, v in vars(one).items()} for one in self.seen]
        return {"law": self.law, "studies": self.studies, "status": self.status, "quantities": rows,
                "reason": self.reason}  # fmt: skip


def simulate(
    prior: Prior,
    runs: pd.DataFrame,
    targets: Sequence[Target] = (),
    studies: int = 100,
    *,
    seed: int = 0,
    bootstrap: int = 199,
    convention: str = "total",
) -> Simulated:
    """Simulate studies and fit them.

    Args:
        prior: the law that is true, and its noise.
        runs: as :meth:`Information.of` takes them.
        targets: where losses, and N* of compute alone, are looked at.
        studies: how many.
        seed: of the noise.
        bootstrap: replicates of each fit.
        convention: which N and C.
    """
    known, rng = Information.of(prior, runs, convention=convention), np.random.default_rng(seed)
    frame, losses = known.frame.drop(columns="L").assign(role="fit"), known.frame["L"].to_numpy()
    noise, rows = prior.noise, dict[str, list[tuple[float, float, float, bool]]]()
    status, reasons = Counter[str](), Counter[str]()
    for _ in range(studies):
        shift = (
            rng.normal(0, noise.run, len(frame)) + rng.normal(0, noise.shared, known.clusters)[known.cluster]
        )
        made = fit(
            prior.law, frame.assign(loss=losses * np.exp(shift)), bootstrap=bootstrap, cells="all",
            convention=convention,
        )  # fmt: skip
        status[made.status.code] += 1
        reasons[made.status.message] += 1
        for name, row in _estimates(made, targets).items():
            rows.setdefault(name, []).append(row)
    exact = fit(prior.law, frame.assign(loss=losses), bootstrap=0, cells="all", convention=convention)
    truth = {name: row[0] for name, row in _estimates(exact, targets).items()} | dict(prior.params)
    seen = tuple(summed(name, found, truth[name], _in_logs(prior, name)) for name, found in rows.items())
    reason = None if seen else reasons.most_common(1)[0][0]
    return Simulated(prior.law.name, studies, dict(status), seen, reason)


def _estimates(made: Fit, targets: Sequence[Target]) -> dict[str, tuple[float, float, float, bool]]:
    """Estimate, both ends and whether it is identified, by quantity."""
    if not made.usable:
        return {}
    out: dict[str, tuple[float, float, float, bool]] = {
        name: (value, ends.low, ends.high, made.identified[name].verdict == "yes")
        for name, (value, ends) in made.estimates().items()
    }
    for target in targets:
        try:
            found: Any = made.band(
                target.inputs if not target.alone else {"C": target.inputs["C"]}
            ).frame.iloc[0]
        except AnalysisError:
            continue
        out[f"loss({target.label})"] = (found["loss"], found["low"], found["high"], True)
        if "N_low" in found:
            for x in "ND":
                out[f"{x}*({target.label})"] = (found[x], found[f"{x}_low"], found[f"{x}_high"], True)
    return out


def _in_logs(prior: Prior, name: str) -> bool:
    return prior.law.in_log(name) if name in prior.law.names else name not in ("a", "b")


def summed(name: str, rows: Sequence[tuple[float, float, float, bool]], truth: float, log: bool) -> Seen:
    """Sum up the estimates of one quantity, of each study its value, both ends of its interval and whether it
    is identified; ``log``: widths are of logarithms."""
    values, low, high, yes = (np.array(column, float) for column in zip(*rows, strict=True))
    covered = float(np.mean((low <= truth) & (truth <= high)))
    with np.errstate(all="ignore"):
        if log:
            values, low, high = np.log(values), np.log(low), np.log(high)
        ends = (
            np.quantile(values[np.isfinite(values)], QUANTILES)
            if np.isfinite(values).any()
            else (np.nan,) * 2
        )
        half = float(np.median(np.nan_to_num(0.5 * (high - low), nan=np.inf, posinf=np.inf)))
    return Seen(name, truth, float(0.5 * (ends[1] - ends[0])), half, covered, float(np.mean(yes)), log)
