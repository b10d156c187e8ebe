"""Critical batch size from the steps that batches need to reach a loss.

McCandlish et al. 2018 (arXiv:1812.06162, eq. 2.11): (S / Smin - 1) (E / Emin - 1) = 1 with E = B S examples,
which is S = Smin (1 + Bcrit / B), Bcrit = Emin / Smin. Over losses or data sizes, Bcrit is a power law: of
the loss (Kaplan et al. 2020, arXiv:2001.08361, eq. 1.4), of the tokens (Zhang et al. 2024, arXiv:2410.21676).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from analysis.codec import Result
from analysis.errors import AnalysisError, plural
from analysis.fits.fitting import fit
from analysis.fits.identification import DECADE
from analysis.fits.intervals import interval
from analysis.fits.result import Fit
from analysis.fits.summary import count, left_out, number
from analysis.hyperparameters.optima import empty_cells, formula, left_behind, named, power_law, predict
from analysis.hyperparameters.steps import steps_to_common_loss as steps_to_common_loss
from analysis.hyperparameters.steps import steps_to_loss as steps_to_loss
from analysis.laws.law import Law
from analysis.results import Status, Verdict
from analysis.tables.expressions import nearest

CRITICAL = "critical_batch"
SHARED = (
    "runs serve several targets, so that errors of their critical batches are alike; name a column with "
    "cluster= that sets of runs differ in, or the law's intervals are too narrow"
)
MISSING = "runs that never reach a loss are left out: if those are of one kind of batch, Smin or Emin is off"


LAW = Law(  # linear in both, which closed forms solve; Bcrit is their ratio in every replicate
    "critical-batch",
    {"Smin": {}, "Emin": {"B": "one"}},
    "McCandlish et al. 2018, arXiv:1812.06162, eq. 2.11: S = Smin (1 + Bcrit / B), Bcrit = Emin / Smin",
    assumptions="each batch has its best learning rate, and no schedule decays before the loss is reached",
)


@dataclass(frozen=True)
class CriticalBatch(Result):
    """``cells``: a row per group: its columns, ``runs``, ``Smin`` (steps), ``Emin`` (in units of the batch),
    ``critical_batch`` with ``_low, _high, _se`` (of its log), ``verdict, reason``. ``fits``: of law ``LAW``,
    one per group. ``law``: critical batch as a power law of columns, over groups where it is identified
    (None: not asked for), ``scatter``: standard deviation of log critical batch about it beyond errors."""

    by: tuple[str, ...]
    cells: pd.DataFrame
    fits: tuple[Fit, ...]
    law: Fit | None
    scatter: float
    excluded: tuple[dict[str, str], ...]
    notes: tuple[str, ...]

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "critical batch"
    AGAIN: ClassVar = "fit again with this version"

    @property
    def status(self) -> Status:
        """That of the law, else the first group's that is not ok."""
        if self.law is not None:
            return self.law.status
        return next((f.status for f in self.fits if f.status.code != "ok"), self.fits[0].status)

    def predict(self, *, level: float | None = None, **inputs: Any) -> pd.DataFrame:
        """The critical batch at inputs of the law, with intervals: see
        :func:`analysis.hyperparameters.optima.predict`. Raises AnalysisError."""
        if self.law is None:
            raise AnalysisError("critical batch: no law to predict with; name its columns with on=")
        return predict({CRITICAL: self.law}, inputs, level)

    def summary(self) -> str:
        """The result as text for a terminal."""
        lines = [f"critical batch: S = Smin (1 + Bcrit / B); {plural(len(self.cells), 'group')}"]
        for row in self.cells.to_dict("records"):
            name = named({x: row[x] for x in self.by}) or "all"
            low, high = (number(row[f"{CRITICAL}_{end}"]) for end in ("low", "high"))
            shown = {"yes": f"{number(row[CRITICAL])} [{low}, {high}]", "no": "not identified"}
            value = shown.get(
                row["verdict"], f"> {low}" if np.isfinite(row[f"{CRITICAL}_low"]) else f"< {high}"
            )
            lines.append(f"  {name}: Bcrit {value}, {plural(row['runs'], 'run')}; {row['reason']}")
        lines.append(f"  intervals: {self.fits[0].level:.0%}, {self.fits[0].intervals.method}")
        if self.law is not None:
            lines.append(
                f"  {formula(self.law)}  ({plural(self.law.objective.n, 'group')}, {self.law.level:.0%})"
            )
            lines.append(f"    {self.law.status.code} - {self.law.status.message}")
        return "\n".join([*lines, *left_out(self), *(f"  note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        return super()._repr_html_() + self.cells.to_html(index=False, float_format=number)


def find(
    table: pd.DataFrame,
    *,
    batch: str = "batch_tokens",
    steps: str = "steps",
    by: Sequence[str] = ("target_loss",),
    on: Sequence[str] = ("target_loss",),
    run: str | None = None,
    cluster: str | None = None,
    bootstrap: int = 500,
    level: float = 0.9,
    seed: int = 0,
    where: str | None = None,
    excluded: Sequence[Mapping[str, str]] = (),
) -> CriticalBatch:
    """Find the critical batch of each group of rows, by least squares of log steps.

    With two groups or more whose critical batch is identified, find its power law too.

    Args:
        table: runs that reached a loss, a row for each run and group (:func:`steps_to_common_loss` and
            :func:`steps_to_loss` make them).
        batch: the column of batches, whose unit the critical batch has.
        steps: the column of steps that the run needed.
        by: columns that tell groups apart (the loss reached, a size): rows equal in all of them are one
            group; empty: all rows are one.
        on: the inputs of the power law, columns out of ``by``; empty: no law.
        run: the column of runs, which may serve several groups.
        cluster: the column, one of ``by``, of groups that share noise; left out: none do.
        bootstrap: replicates of each fit.
        level: of the intervals.
        seed: of the replicates.
        where: filter (:mod:`analysis.tables.where`).
        excluded: rows left out before, ``{row, reason}``, as :func:`steps_to_loss` gives them.

    Raises:
        AnalysisError: for a missing column, a group column with gaps, ``on`` or ``cluster`` that are not in
            ``by``, a table without rows, or one that cannot be fitted.
    """
    _check(table, {"batch": (batch,), "steps": (steps,), "by": by, "run": (run,)}, by, on, cluster)

    rows = table.assign(B=table[batch], _row=np.arange(len(table)))
    rows = rows.drop(columns=[c for c in ("role",) if c in rows])  # steps are no losses: any run counts
    groups = list(rows.groupby(list(by), sort=True)) if by else [((), rows)]
    fits, cells = [], []
    for key, part in groups:
        fits.append(
            fit(LAW, part, target=steps, fixed={"one": 1.0}, objective="log-ls",
                cluster="_row", bootstrap=bootstrap, level=level, seed=seed, where=where)
        )  # fmt: skip
        names: Any = key
        cells.append(dict(zip(by, names, strict=True)) | _cell(fits[-1]))
    frame: Any = pd.DataFrame(cells)
    law, tau, notes = None, 0.0, []
    known = frame[frame["verdict"] == "yes"]
    if on and len(known) > 1:
        left = left_behind(frame.drop(known.index).assign(verdict="critical batch"), by)
        law, tau = power_law(CRITICAL, known, on, source=LAW.source, excluded=left, cluster=cluster or "cell",
                             bootstrap=bootstrap, level=level, seed=seed)  # fmt: skip
        notes += law.notes
        if run and cluster is None and table[run].duplicated().any():
            notes.append(SHARED)
    elif on and len(groups) > 1:
        notes.append(
            f"no power law of {', '.join(on)}: the critical batch of {len(known)} of {len(frame)} groups is "
            "identified, and a line takes two; add batches, or groups"
        )
    if excluded:
        notes.append(MISSING)
    left_out = (*({**row} for row in excluded), *(row for f in fits for row in f.excluded))
    return CriticalBatch(tuple(by), frame, tuple(fits), law, tau, left_out, tuple(notes))


def _check(
    table: pd.DataFrame, asked: Mapping[str, Sequence[str | None]], by: Sequence[str], on: Sequence[str],
    cluster: str | None,
) -> None:  # fmt: skip
    problems = [
        f"column {c!r} is missing, asked for as {what}; {nearest(c, list(table.columns))}"
        for what, columns in asked.items()
        for c in columns
        if c is not None and c not in table.columns
    ]
    problems += empty_cells(table, by)
    problems += [f"on = {tuple(on)!r}: {c!r} must be one of by = {tuple(by)!r}" for c in on if c not in by]
    if cluster is not None and cluster not in by:
        problems.append(f"cluster = {cluster!r}: must be one of by = {tuple(by)!r}")
    if not len(table):
        problems.append("table: has no rows; give runs that reach a loss (steps_to_common_loss makes them)")
    if problems:
        raise AnalysisError(problems)


def _cell(found: Fit) -> dict[str, Any]:
    """Smin, Emin and their ratio with its interval; one side of it where only one of them is determined."""
    unknown = ("Smin", "Emin", *(CRITICAL + end for end in ("", "_se", "_low", "_high")))
    out: dict[str, Any] = {"runs": found.objective.n, **dict.fromkeys(unknown, np.nan)}
    if not found.usable:
        return out | {"verdict": "no", "reason": found.status.message}
    smin, emin = found.solution["Smin"], found.solution["Emin"]
    out |= {"Smin": smin, "Emin": emin}
    draws = dict(
        zip(found.problem.names, found.problem.parameters(np.array(found.replicates)).T, strict=True)
    )
    with np.errstate(divide="ignore"):
        ratios = draws["Emin"] / draws["Smin"]
    tail = 0.5 * (1 - found.level)
    if smin > 0 and emin > 0:
        low, high = interval(
            emin / smin, np.clip(ratios, 1e-100, 1e100), found.level, found.intervals.degrees
        )
    elif emin > 0:  # no Smin: the ratio is bounded below alone
        low, high = float(np.quantile(ratios, tail)), np.inf
    else:
        low, high = 0.0, float(np.quantile(ratios, 1 - tail))
    verdict = side(low, high, np.array(found.data["B"]))
    if verdict.verdict == "yes":
        out |= {CRITICAL: emin / smin, f"{CRITICAL}_se": float(np.log(ratios).std())}
    ends = {"lower": f"{CRITICAL}_low", "upper": f"{CRITICAL}_high"}
    out |= {ends[end]: value for end, value in verdict.bound.items()}
    return out | {"verdict": verdict.verdict, "reason": verdict.reason}


def side(low: float, high: float, batches: np.ndarray) -> Verdict:
    """Judge the interval of a critical batch by the batches (n,) of the runs: known, or on one side of them.
    ``bound`` has the ends that hold: where steps or tokens do not change at all, the outermost batch."""
    low, high = (batches.max() if np.isinf(low) else low), (high or batches.min())
    if low > 0 and high <= DECADE * low:
        return Verdict("yes", f"interval spans a factor {high / low:.2g}", {"lower": low, "upper": high})
    if low > batches.min():
        reason = f"batches up to {count(batches.max())} show no saturation; add larger ones"
        return Verdict("one_sided", reason, {"lower": low}, "no_saturation")
    if high < batches.max():
        reason = f"batches from {count(batches.min())} are all beyond it; add smaller ones"
        return Verdict("one_sided", reason, {"upper": high}, "all_beyond")
    return Verdict("no", "interval reaches beyond the batches at both ends", code="wide")
