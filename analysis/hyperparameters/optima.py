"""Second stage: a power law through optima that were estimated one by one.

log y = log c + sum of powers x log input + u + e, where e is the error of each optimum (its standard error
from the first stage) and u the scatter of true optima about the law (random effects). Optima weigh 1 / (se^2
+ tau^2), tau by Paule & Mandel 1982. Residuals hold both, so that the engine's wild bootstrap over optima
carries both stages, with t for few of them (as Knapp & Hartung 2003 do for meta-regressions)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from analysis.errors import AnalysisError, plural
from analysis.fits.fitting import fit
from analysis.fits.result import Fit
from analysis.fits.summary import count, number
from analysis.laws.law import Law

SHORT = {"params": "N", "tokens": "D", "batch_tokens": "B", "flops": "C", "target_loss": "L"}
LONG = {short: column for column, short in SHORT.items()}
STEEP = {"target_loss": 12.0}  # largest power: a loss varies little, so that powers of it are large
POWER = 2.0


def power_law(
    target: str,
    cells: pd.DataFrame,
    inputs: Sequence[str],
    *,
    source: str = "",
    excluded: Sequence[Mapping[str, str]] = (),
    cluster: str = "cell",
    bootstrap: int = 500,
    level: float = 0.9,
    seed: int = 0,
) -> tuple[Fit, float]:
    """Fit a power law, ``target`` = c / (product of input^exponent), through optima.

    Exponents divide, as in every Law by terms, and are named ``e_input`` (:func:`powers` has the other sign).

    Args:
        target: the column of optima. Column ``target_se``, the standard error of its log, is optional:
            without it weights are equal and tau is 0; where it is unknown, the largest stands in.
        cells: a row per optimum.
        inputs: columns that the law depends on.
        source: where the form of the law is from.
        excluded: cells left out before, ``{row, reason}``.
        cluster: the column of what shares noise.
        bootstrap: replicates.
        level: of the intervals.
        seed: of the replicates.

    Returns:
        The fit, and tau, the standard deviation of log optima about the law beyond their errors.

    Raises:
        AnalysisError: for a table that cannot be fitted.
    """
    names = {x: f"e_{x}" for x in inputs}
    domains = {name: (-STEEP.get(x, POWER), STEEP.get(x, POWER)) for x, name in names.items()}
    law = Law(target, {"c": names}, source, domains)
    error = cells.get(f"{target}_se")
    tau, table = 0.0, cells.assign(cell=np.arange(len(cells)).astype(str)) if "cell" not in cells else cells
    if error is not None and np.isfinite(np.asarray(error, float)).any():
        se = np.asarray(error, float)
        se = np.where(np.isfinite(se), se, np.nanmax(se))
        x = np.column_stack([np.ones(len(cells)), *(np.log(cells[name].to_numpy(float)) for name in inputs)])
        tau = scatter(np.log(cells[target].to_numpy(float)), x, se)
        table = table.assign(weight=1 / np.maximum(se**2 + tau**2, 1e-12))
    fitted = fit(
        law, table, target=target, objective="log-ls", weights="weight" if "weight" in table else None,
        cluster=cluster, bootstrap=bootstrap, level=level, seed=seed, excluded=excluded, cells="all",
    )  # fmt: skip
    return fitted, tau


def scatter(y: np.ndarray, x: np.ndarray, se: np.ndarray) -> float:
    """tau >= 0 with sum r^2 / (se^2 + tau^2) = n - p, r the residuals of ``y`` (n,) on ``x`` (n, p) at these
    weights (Paule & Mandel 1982); 0 where errors explain the residuals."""
    degrees = len(y) - np.linalg.matrix_rank(x)
    if degrees < 1:
        return 0.0

    def excess(square: float) -> float:
        half = 1 / np.sqrt(np.maximum(se**2 + square, 1e-12))
        b, *_ = np.linalg.lstsq(x * half[:, None], y * half, rcond=None)
        return float(np.sum(((y - x @ b) * half) ** 2)) - degrees

    if excess(0.0) <= 0:
        return 0.0
    return float(np.sqrt(cast(float, brentq(excess, 0.0, 10 * float(np.var(y)) + 1.0))))


def powers(fit: Fit, level: float | None = None) -> pd.DataFrame:
    """Rows c and the inputs: the power of each (the exponent with its sign turned), low, high, verdict,
    reason."""
    frame = fit.ci(level)
    turned = [name for name in frame.index if name != "c"]
    signed = -frame.loc[turned, ["estimate", "high", "low"]].to_numpy(float)
    frame.loc[turned, ["estimate", "low", "high"]] = signed
    return frame.rename(index={name: str(name)[2:] for name in turned})


def formula(fit: Fit, level: float | None = None) -> str:
    """``lr = 1.8 N^-0.71 [-0.77, -0.65] D^0.31 [0.27, 0.35]``; what is not identified is said instead."""
    if not fit.usable:
        return f"{fit.law.name}: {fit.status.message}"
    rows: Any = powers(fit, level).to_dict("index")
    shown = [f"{SHORT.get(x, x)}^{_value(row)}" for x, row in rows.items() if x != "c"]
    lead = rows["c"]
    first = number(lead["estimate"]) if lead["verdict"] == "yes" else "c"
    return f"{fit.law.name} = {first} {' '.join(shown)}"


def _value(row: Mapping[str, Any]) -> str:
    if row["verdict"] == "yes":
        return f"{row['estimate']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    ends = [f"{s} {row[k]:.3f}" for k, s in (("high", "<"), ("low", ">")) if np.isfinite(row[k])]
    return f"({', '.join(ends) or 'not identified'})"


def predict(laws: Mapping[str, Fit], inputs: Mapping[str, Any], level: float | None) -> pd.DataFrame:
    """Per law ``x``: columns ``x``, ``x_low, x_high`` (the law), ``x_new_low, x_new_high`` (a new optimum)
    and ``x_extrapolation``: the largest ratio by which an input leaves its range. Raises AnalysisError."""
    given = {LONG.get(x, x): np.asarray(v) for x, v in inputs.items()}
    needed = list(dict.fromkeys(x for law in laws.values() for x in law.law.inputs))
    shapes = [v.shape for v in given.values()]
    if set(given) != set(needed) or any(len(s) > 1 for s in shapes) or len({*shapes} - {(), (1,)}) > 1:
        shown = ", ".join(f"{SHORT.get(x, x)} ({x})" if x in SHORT else x for x in needed)
        asked = ", ".join(given) or "nothing"
        raise AnalysisError(f"prediction at {asked}: give {shown}, as numbers or arrays of one length")
    out = pd.DataFrame(
        dict(zip(given, np.broadcast_arrays(*map(np.atleast_1d, given.values())), strict=True))
    )
    for name, law in laws.items():
        frame = law.predict({x: out[x] for x in law.law.inputs if x in out}, level=level).frame
        renamed = {"loss": "", "low": "_low", "high": "_high", "new_low": "_new_low", "new_high": "_new_high"}
        for column, suffix in renamed.items():
            out[name + suffix] = frame[column].to_numpy()
        far = [np.maximum(frame[x] / max(law.data[x]), min(law.data[x]) / frame[x]) for x in law.law.inputs]
        out[f"{name}_extrapolation"] = np.max(far, axis=0)
    return out


def named(cell: Mapping[Any, Any]) -> str:
    """``params = 1B, tokens = 20B``"""
    return ", ".join(f"{x} = {count(v) if isinstance(v, (int, float)) else v}" for x, v in cell.items())


def left_behind(cells: pd.DataFrame, by: Sequence[str]) -> list[dict[str, str]]:
    """Cells that a law through the optima leaves out, as ``{row, reason}``."""
    return [
        {"row": named({x: row[x] for x in by}), "reason": f"{row['verdict']}: {row['reason']}"}
        for row in cells.to_dict("records")
    ]


def empty_cells(table: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """What is wrong with the columns ``by`` that tell groups of rows apart: rows without a value."""
    empty = {x: int(np.asarray(table[x].isna()).sum()) for x in by if x in table}
    return [
        f"column {x!r} is empty in {plural(n, 'row')}; fill it, or leave it out of by"
        for x, n in empty.items()
        if n
    ]
