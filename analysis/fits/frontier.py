"""The compute-optimal frontier of a fit: N*, D* and the loss there at given compute, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits import allocation
from analysis.fits.cost import Cost
from analysis.fits.intervals import interval
from analysis.fits.prediction import WholeRows
from analysis.fits.rates import Function

if TYPE_CHECKING:
    from analysis.fits.result import Fit


@np.errstate(all="ignore")
def optimal(
    fit: Fit,
    flops: float | np.ndarray,
    *,
    level: float | None,
    group: str | None,
    cost: Cost | Function | None,
) -> pd.DataFrame:
    """The frontier at compute ``flops``. Arguments, columns and errors are those of
    :meth:`analysis.fits.result.Fit.optimal`."""
    fit.need("say what is optimal")
    price = fit.price(cost) or fit.cost
    more = {} if group is None else {str(fit.setup.groups): group}
    pair = allocation.split_terms(fit.law)
    gone = [c for c in (pair[0], pair[2]) if fit.solution.get(c) == 0] if pair else []
    if gone:
        raise AnalysisError(f"no optimal allocation: the best fit has {', '.join(gone)} = 0")
    asked = np.atleast_1d(np.asarray(flops, float)) if not isinstance(flops, str) else np.array([])
    if not len(asked) or not (np.isfinite(asked) & (asked > 0)).all():
        raise AnalysisError(f"optimal({flops!r}): give compute in FLOPs, finite and positive, as 1e21")
    found = fit.predict({"C": asked, **more}, level=level, cost=price)
    frame = WholeRows(found.frame)
    frame.attrs.update(method=found.method, level=found.level, cost=price.description, notes=found.notes)
    return frame


def allotted(
    fit: Fit, c: np.ndarray, level: float, group: np.ndarray, cost: Cost
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """N*, D* and local exponents at ``c`` (m,), and draws (R, m) of the tokens that C buys at N*.

    Args:
        fit: a usable one, of a law with an optimal allocation.
        c: compute in FLOPs (m,).
        level: of the intervals, between 0 and 1.
        group: index of the group, (m,).
        cost: what N and D cost.
    """
    rate, out = cost.drawn(len(fit.replicates)), pd.DataFrame({"C": c})
    n = allocation.best(fit.problem, fit.point, cost, c, group)
    draws = allocation.best(fit.problem, fit.draws, rate, c, group)
    sides = {"N": (n[0], draws), "D": (cost.tokens(n, c)[0], rate.tokens(draws, c))}
    for name, (values, many) in sides.items():
        rows = []
        for value, column in zip(values, many.T, strict=True):
            known = column[np.isfinite(column)]
            drawn = known if len(known) else np.array([value])
            rows.append((value, *interval(value, drawn, level, fit.intervals.degrees)))
        out[[name, f"{name}_low", f"{name}_high"]] = rows
    a, b = allocation.local(fit.problem, fit.point, cost, c, group)
    out["a"], out["b"] = a[0], b[0]
    return out, {"D": np.broadcast_to(rate.tokens(n, c), draws.shape)}
