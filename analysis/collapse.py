"""Do the training curves of a family coincide once each is divided by its final loss?

Of models of one family with as many tokens per parameter, one shape of schedule and hyperparameters that suit
their data, they do (Qiu et al. 2025, arXiv:2507.02119; Bergsma et al. 2025, arXiv:2509.25087, section 2). A
curve that falls off is a run that went wrong, often long before its final loss shows it; a whole family that
does not coincide was not tuned alike. Differences are measured against those of repeated seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy import stats

from analysis.codec import Result
from analysis.errors import plural
from analysis.results import Part, Status
from analysis.tables.cells import repeats
from analysis.tables.runs import CONVENTIONS, select
from analysis.tables.table import Table

WITHIN = 1.25  # factor of tokens per parameter within which runs are of one group
FEWEST = 3  # sizes of a group
FEWEST_BINS = 8  # of those below that a curve has rows in
BINS = np.linspace(0.2, 1.0, 17)  # of the share of a run's tokens; before them is warm-up
MIDDLES = (BINS[1:] + BINS[:-1]) / 2
FAR, ALONE = 2.0, 2.5  # times the noise, by repeated seeds; by the scatter of curves alone, which is less
INDEPENDENT = 4  # stretches of a curve whose noise is nearly independent, for the degrees of freedom
NOTABLE = 0.005  # of the loss, below which nothing is called off
LOSS = "train/loss"


@dataclass(frozen=True)
class Curve(Part):
    """A normalised curve: log(loss / final loss) at the middles of the bins; ``off``: root mean square
    distance to the other sizes of its group, relative; ``fallen``: it falls off."""

    run: str
    label: str
    group: int
    size: float
    ratio: float
    values: tuple[float, ...]
    off: float
    fallen: bool


@dataclass(frozen=True)
class Collapse(Result):
    """``curves`` of runs in groups of as many tokens per parameter (N by ``convention``) and one schedule;
    ``noise``: how far curves of one cell are apart by chance, relative, by repeated seeds with ``degrees`` of
    freedom (0: by the scatter of the losses along each curve, a lower bound); ``limit``: the distance beyond
    which one falls off, ``spread``: the median distance of those that did not; ``aside``: runs in no group.
    ``status``: ``collapses``, ``falls_off``, ``spread`` or ``not_applicable``."""

    convention: str
    curves: tuple[Curve, ...]
    noise: float | None
    degrees: int
    limit: float | None
    spread: float | None
    aside: int
    status: Status

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "collapse"
    AGAIN: ClassVar = "compare the curves again"

    @property
    def fallen(self) -> tuple[Curve, ...]:
        """The curves that fall off, the farthest first."""
        return tuple(sorted((c for c in self.curves if c.fallen), key=lambda curve: -curve.off))

    def above(self) -> list[np.ndarray]:
        """How far each curve is above the median of those of its group that do not fall off, relative, in
        every bin."""
        middle = dict[int, np.ndarray]()
        for group in {curve.group for curve in self.curves}:
            own = [curve for curve in self.curves if curve.group == group]
            kept = [curve.values for curve in own if not curve.fallen] or [curve.values for curve in own]
            middle[group] = np.median(kept, axis=0)
        return [np.expm1(np.array(curve.values) - middle[curve.group]) for curve in self.curves]

    def summary(self) -> str:
        """What was seen, as text for a terminal."""
        lines = [f"collapse: {self.status.code} - {self.status.message}"]
        lines += [f"  {c.label}: {c.off:.2%} off, D/N = {c.ratio:.3g}" for c in self.fallen]
        return "\n".join([*lines, *([f"  advice: {self.status.advice}"] if self.status.advice else [])])


def collapse(table: pd.DataFrame | Table, curves: pd.DataFrame | None) -> Collapse:
    """Compare the normalised training curves of a table's fitted runs.

    Args:
        table: runs, with ``run_id``.
        curves: logged rows of the runs: ``run_id, tokens, train/loss``; None: there are none.

    Returns:
        The comparison; where it says nothing, why not.

    Raises:
        AnalysisError: for a table that fails its checks.
    """
    frame: Any = select(table, ("fit", "noise"), cells="best")[0]
    if curves is None or not {"run_id", "tokens", LOSS} <= {*curves.columns} or "run_id" not in frame:
        return _nothing("no training curves beside the table", "keep curves.parquet beside runs.csv")
    if (hot := _ends_hot(frame)).any():
        frame = frame[~hot]
        if not len(frame):
            return _nothing(
                "the learning rate is constant: such curves need not coincide", "compare runs that decay"
            )
    values, errors = _normalised(curves, set(frame["run_id"]))
    drawn = frame["run_id"].isin(values)
    if frame.loc[drawn, "params"].nunique() < FEWEST:
        return _nothing(
            f"{int(drawn.sum())} of {len(frame)} runs, of fewer than {FEWEST} sizes, have long enough curves",
            f"log the loss at least {len(BINS) - 1} times a run",
        )
    frame = frame[drawn]
    groups, convention = _best_groups(frame)
    if not groups:
        return _nothing(
            f"no {FEWEST} sizes were trained with as many tokens per parameter (within a factor {WITHIN:g}) "
            "on one schedule", "curves coincide along a ladder (design: {kind: ladder, multiples: [20]})",
        )  # fmt: skip
    noise, degrees = _seed_noise(frame, values)
    if not degrees:
        chosen = [errors[run] for group in groups for run in group["run_id"]]
        noise = float(np.sqrt(2 * np.mean(np.square(chosen))))  # of a difference of two curves
    return _judged(frame, groups, convention, values, noise, degrees)


def _nothing(reason: str, advice: str) -> Collapse:
    return Collapse("total", (), None, 0, None, None, 0, Status("not_applicable", reason, advice))


def _ends_hot(frame: Any) -> np.ndarray:
    """Which rows have a rate that never falls."""
    if "decay_tokens" not in frame.columns:
        return np.zeros(len(frame), bool)
    return frame["decay_tokens"].to_numpy(float) == 0


def _normalised(curves: Any, runs: set[str]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """log(loss / final loss) per bin of each run's tokens, and the error of such a value by the scatter of
    its rows; between bins with rows interpolated, of runs that have rows in enough of them."""
    rows = curves[curves["run_id"].isin(runs) & (curves[LOSS] > 0)]
    values, errors = {}, {}
    for run, of in rows.groupby("run_id", sort=True):
        of = of.sort_values("tokens")
        share = of["tokens"].to_numpy(float) / float(of["tokens"].iloc[-1])
        log = np.log(of[LOSS].to_numpy(float))
        place = np.digitize(share, BINS, right=True) - 1
        inside = (place >= 0) & (place < len(BINS) - 1)
        counts = np.bincount(place[inside], minlength=len(BINS) - 1)
        filled = np.flatnonzero(counts)
        if len(filled) < FEWEST_BINS:
            continue
        sums = np.bincount(place[inside], log[inside], len(BINS) - 1)
        means = np.interp(np.arange(len(counts)), filled, sums[filled] / counts[filled])
        values[str(run)] = means - means[-1]
        bends = np.diff(log[inside], 2)  # without a trend of variance 6 times that of a row
        scatter = float(np.mean(bends**2)) / 6 if len(bends) else 0.0
        errors[str(run)] = float(np.sqrt(2 * scatter / counts[filled].mean()))  # of this bin and the last
    return values, errors


def _best_groups(frame: Any) -> tuple[list[Any], str]:
    """Groups of at least :data:`FEWEST` sizes, by the count of parameters that makes more of them."""
    found = {
        convention: _groups(frame, frame[CONVENTIONS[convention][0]].to_numpy(float))
        for convention in ("total", "body")
        if CONVENTIONS[convention][0] in frame.columns and frame[CONVENTIONS[convention][0]].notna().all()
    }
    convention = max(found, key=lambda name: sum(map(len, found[name])), default="total")
    return found.get(convention, []), convention


def _groups(frame: Any, size: np.ndarray) -> list[Any]:
    """Rows of as many tokens per parameter and one schedule, in which ``size`` and ``ratio`` are columns."""
    frame = frame.assign(size=size, ratio=frame["tokens"].to_numpy(float) / size)
    shape = [c for c in ("schedule", "variant", "optimizer") if c in frame.columns]
    if "decay_tokens" in frame.columns:
        frame["decay"] = (frame["decay_tokens"] / frame["tokens"]).round(2)
        shape.append("decay")
    found, parts = [], frame.groupby(shape, dropna=False) if shape else [((), frame)]
    for _, part in parts:
        part = part.sort_values("ratio", kind="stable")
        while len(part):
            group = part[part["ratio"] <= WITHIN * part["ratio"].iloc[0]]
            if group["size"].nunique() >= FEWEST:
                found.append(group)
                part = part[~part["run_id"].isin(group["run_id"])]
            else:  # a window may begin at the next ratio
                part = part[part["ratio"] > part["ratio"].iloc[0]]
    return found


def _seed_noise(frame: Any, values: dict[str, np.ndarray]) -> tuple[float, int]:
    """Root mean square difference of two curves of one cell, over bins, from runs that differ by seeds alone,
    and the degrees of freedom: runs less cells."""
    squares, degrees = 0.0, 0
    for _, cell in repeats(frame).groupby("cell"):
        if len(cell) > 1:
            stack = np.array([values[run] for run in cell["run_id"]])
            squares += float(((stack - stack.mean(axis=0)) ** 2)[:, :-1].mean(axis=1).sum())
            degrees += len(cell) - 1
    return (float(np.sqrt(2 * squares / degrees)), degrees) if degrees else (0.0, 0)


def _judged(
    frame: Any,
    groups: Sequence[Any],
    convention: str,
    values: dict[str, np.ndarray],
    noise: float,
    degrees: int,
) -> Collapse:
    curves = [
        curve
        for i, group in enumerate(groups)
        for curve in _distances(i, group, values, _limit(noise, degrees))
    ]
    kept = [curve.off for curve in curves if not curve.fallen]
    spread = float(np.median(kept)) if kept else None
    aside = len(frame) - len(curves)
    limit = _limit(noise, degrees)
    found = Collapse(convention, tuple(curves), noise, degrees, limit, spread, aside, Status("", "", ""))
    return replace(found, status=_status(found, len(groups)))


def _distances(number: int, group: Any, values: dict[str, np.ndarray], limit: float) -> list[Curve]:
    """The curves of a group. Of those beyond the limit the farthest is taken out and the rest compared again,
    as long as two sizes are left to compare with."""
    runs, sizes = list(group["run_id"]), dict(zip(group["run_id"], group["size"], strict=True))
    fallen, off = list[str](), dict[str, float]()
    while True:
        left = [run for run in runs if run not in fallen]
        for run in runs:
            others = [values[o] for o in left if sizes[o] != sizes[run]]
            off[run] = float(np.sqrt(np.mean((values[run] - np.median(others, axis=0))[:-1] ** 2)))
        worst = max(left, key=off.__getitem__)
        rest = {sizes[run] for run in left if run != worst}
        if off[worst] <= limit or len(rest) < FEWEST - 1:
            break
        fallen.append(worst)
    labels = group["label"] if "label" in group.columns else group["run_id"]
    return [
        Curve(run, str(label), number, float(size), float(ratio), tuple(map(float, values[run])), off[run],
              run in fallen)
        for run, label, size, ratio in zip(runs, labels, group["size"], group["ratio"], strict=True)
    ]  # fmt: skip


def _limit(noise: float, degrees: int) -> float:
    """The distance beyond which a curve falls off: :data:`FAR` times the noise, more where few seeds say what
    that is (Student's t of the same probability)."""
    factor = ALONE
    if degrees:
        factor = float(stats.t.isf(stats.norm.sf(FAR), INDEPENDENT * degrees))
    return max(NOTABLE, factor * noise)


def _status(found: Collapse, groups: int) -> Status:
    n, by = len(found.curves), "repeated seeds" if found.degrees else "the scatter along each curve"
    where = f"{n} curves in {plural(groups, 'group')} of tokens per parameter"
    against = (
        f"seeds differ by {found.noise:.2%}"
        if found.degrees
        else f"noise is at least {found.noise:.2%} by {by}"
    )
    spread = "" if found.spread is None else f", typically {found.spread:.2%} from the others"
    message = f"{where}{spread}; {against}"
    if found.fallen and len(found.fallen) > n / 3:
        advice = "scale learning rate, batch and weight decay with size and tokens (arXiv:2509.25087)"
        return Status("spread", f"{message}: the family does not coincide", advice)
    if found.fallen:
        advice = "look at these runs: spikes, numerics, a wrong rate or batch; train them again or drop them"
        if not found.degrees:
            advice += "; repeated seeds of one cell would say whether it is chance"
        off = "1 falls off" if len(found.fallen) == 1 else f"{len(found.fallen)} fall off"
        return Status("falls_off", f"{message}; {off}", advice)
    advice = (
        ""
        if found.degrees
        else "repeat one cell with other seeds: they say how far curves are apart by chance"
    )
    return Status("collapses", f"{message}: no curve falls off", advice)
