"""Coordinate checks: do sizes of activations, and their changes, depend on width or depth? (Yang et al.,
arXiv:2203.03466, D.1.)

A parametrization transfers a learning rate only where they do not. The rows come from ``scaling coordcheck
--json``, or from any trainer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import pandas as pd
from scipy import stats

from analysis.codec import Result
from analysis.errors import AnalysisError, plural
from analysis.results import Part, Status

FLAT = 0.05  # exponents below this are flat
NEAR = 0.25  # and their interval must be: half way to 1/2, the smallest exponent of a wrong multiplier
COLUMNS = ("variant", "seed", "width", "depth", "step", "place", "layer", "size", "change")
PLACES = ("embedding", "attention", "mlp", "residual", "logits")
# Verdict of an exponent -> how many have it, in words.
VERDICTS = {
    "flat": "flat",
    "grows": "growing",
    "shrinks": "shrinking",
    "unclear": "unclear",
    "bounded": "shrinking towards the embeddings alone",  # the stream over depth: it begins as embeddings
    "zero": "of what is zero",
    "diverged": "of what diverged",
}
MEASURES = {"start": "at initialisation", "end": "after the last step", "change": "change since then"}
Over = Literal["width", "depth"]


@dataclass(frozen=True)
class Exponent(Part):
    """Of one ``measure`` (start, end, change) at one place: size ~ over^``exponent``, with both ends of its
    interval. ``verdict``: one of :data:`VERDICTS`."""

    variant: str
    place: str
    measure: str
    exponent: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Coordinates(Result):
    """Exponents ``over`` width or depth, intervals at ``level``, and of each variant what they say together;
    ``data`` are the rows measured."""

    over: Over
    level: float
    exponents: tuple[Exponent, ...]
    statuses: dict[str, Status]
    data: pd.DataFrame

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "coordinate check"
    AGAIN: ClassVar = "check again with this version"

    @property
    def steps(self) -> int:
        """Steps trained."""
        return int(self.data["step"].to_numpy().max())

    def of(self, variant: str) -> tuple[Exponent, ...]:
        """The exponents of a variant."""
        return tuple(found for found in self.exponents if found.variant == variant)

    def summary(self) -> str:
        """Every exponent as text for a terminal."""
        return "\n\n".join(_text(self, variant) for variant in self.statuses)


def check(table: pd.DataFrame, *, over: Over = "width", level: float = 0.9) -> Coordinates:
    """Fit log size against log width or depth at every place.

    Seeds have intercepts of their own; intervals are of Student's t over the residuals of all models, so that
    curvature widens them. An exponent is flat where it is below 0.05 and its interval within 0.25 of 0; it
    grows or shrinks where all of its interval is beyond 0.05, taken so wide that at ``level`` no exponent of
    a variant is said to by chance (Bonferroni).

    Args:
        table: a row for each model, step and place, with the columns :data:`COLUMNS`: layers count from 0;
            ``size`` is the root mean square of an activation on one batch,
            ``change`` that of its difference to step 0; both are empty once a run has diverged.
        over: width or depth; models differ in that alone.
        level: of intervals.

    Raises:
        AnalysisError: columns are missing, or there are fewer than two sizes.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise AnalysisError(f"coordinate check: no column {', '.join(missing)}; give what "
                            "`scaling coordcheck --json` writes")  # fmt: skip
    sizes = table[over].to_numpy()
    if not (sizes != sizes[:1]).any():
        raise AnalysisError(f"coordinate check: {min(len(sizes), 1)} {over}; measure at two or more")
    exponents = tuple(_exponents(table, over, level))
    names = dict.fromkeys(found.variant for found in exponents)
    statuses = {name: _status([e for e in exponents if e.variant == name], over) for name in names}
    return Coordinates(over, level, exponents, statuses, table.reset_index(drop=True))


def placed(table: Any, over: Over) -> dict[str, pd.DataFrame]:
    """The rows of each place that all models have, by its name: ``last mlp``, ``logits``.

    Over width: the first, middle and last layer, one that is two of these by the later name. Over depth no
    single layer reads the same share of the residual stream in every model: attention and MLP are taken
    together over all layers, the stream half way and at the end.
    """
    rows, depth = dict[str, pd.DataFrame](), table["depth"]
    layers = {"first": 0 * depth, "middle": (depth - 1) // 2, "last": depth - 1}
    standing = {name: table["layer"] == layer for name, layer in layers.items()}
    distinct = {tuple(layers[name]): name for name in ("middle", "first", "last")}
    for place in PLACES:
        at_place = table["place"] == place
        if place in ("embedding", "logits"):
            rows[place] = table[at_place]
        elif over == "depth" and place != "residual":
            rows[f"{place}, all layers"] = _over_layers(table[at_place])
        else:
            names = distinct.values() if over == "width" else ("middle", "last")
            for name in (name for name in layers if name in names):
                rows[f"{name} {place}"] = table[at_place & standing[name]]
    return {name: of_place for name, of_place in rows.items() if len(of_place)}


def _over_layers(rows: Any) -> pd.DataFrame:
    """The root mean square over layers, in place of them."""
    of_model = ["variant", "seed", "width", "depth", "step", "place"]
    squares = rows.assign(size=rows["size"] ** 2, change=rows["change"] ** 2).groupby(
        of_model, as_index=False
    )
    means = squares[["size", "change"]].agg(lambda x: x.mean(skipna=False))
    return means.assign(size=means["size"] ** 0.5, change=means["change"] ** 0.5)


def _exponents(table: Any, over: Over, level: float) -> Iterator[Exponent]:
    last = table["step"].max()
    for variant, of_variant in table.groupby("variant", sort=False):
        by_place = placed(of_variant, over)
        for place, rows in by_place.items():
            ends = {"start": (0, "size"), "end": (last, "size"), "change": (last, "change")}
            for measure, (step, column) in ends.items():
                exponent, low, high, verdict = _exponent(
                    rows[rows["step"] == step], over, column, level, len(MEASURES) * len(by_place)
                )
                if (over, measure) == ("depth", "start") and "residual" in place and exponent < 0:
                    verdict = verdict if verdict == "flat" else "bounded"
                yield Exponent(str(variant), place, measure, exponent, low, high, verdict)


def _exponent(
    rows: Any, over: Over, column: str, level: float, together: int
) -> tuple[float, float, float, str]:
    """Return an exponent, both ends of its interval, and the verdict.

    Args:
        rows: of one place and step.
        over: width or depth.
        column: size or change.
        level: of the interval.
        together: exponents of which none is to be said to grow or shrink by chance.
    """
    size = rows[column].to_numpy(float)
    if not np.isfinite(size).all():
        return np.nan, np.nan, np.nan, "diverged"
    if not size.any():
        return np.nan, np.nan, np.nan, "zero"
    if not size.all():
        return np.nan, np.nan, np.nan, "unclear"
    logs = pd.DataFrame({"x": np.log(rows[over].to_numpy(float)), "y": np.log(size)})
    centred = (logs - logs.groupby(rows["seed"].to_numpy()).transform("mean")).to_numpy()
    x, y = centred.T
    slope = float(x @ y / (x @ x))
    degrees = len(x) - rows["seed"].nunique() - 1
    if degrees < 1:
        return slope, np.nan, np.nan, "unclear"
    error = np.sqrt(np.sum((y - slope * x) ** 2) / degrees / (x @ x))
    half, wide = (error * stats.t.ppf(1 - (1 - level) / 2 / n, degrees) for n in (1, together))
    return slope, slope - float(half), slope + float(half), _verdict(slope, float(half), float(wide))


def _verdict(slope: float, half: float, wide: float) -> str:
    if abs(slope) - wide > FLAT:
        return "grows" if slope > 0 else "shrinks"
    return "flat" if abs(slope) < FLAT and abs(slope) + half < NEAR else "unclear"


def _status(exponents: list[Exponent], over: Over) -> Status:
    """What all places of a variant say together."""
    counts = {verdict: sum(e.verdict == verdict for e in exponents) for verdict in VERDICTS}
    words = ", ".join(f"{n} {VERDICTS[v]}" for v, n in counts.items() if n)
    message = f"of {len(exponents)} exponents of {over}, {words}"
    if counts["diverged"]:
        return Status("diverged", message, "a run is not finite any more: lower the learning rate")
    if counts["grows"] or counts["shrinks"]:
        return Status("not_flat", message, f"expect no learning rate to transfer over {over}")
    if counts["unclear"]:
        return Status("unclear", message, f"measure with more seeds, or at more and larger {over}s")
    return Status("flat", message, "")


def _text(found: Coordinates, variant: str) -> str:
    status, data = found.statuses[variant], cast(Any, found.data[found.data["variant"] == variant])
    sizes = ", ".join(str(size) for size in sorted(data[found.over].unique()))
    other = "depth" if found.over == "width" else "width"
    verdict = status.code.replace("_", " ")
    trained = f"{plural(data['seed'].nunique(), 'seed')}, {plural(found.steps, 'step')}"
    head = [
        f"{variant}: {verdict} over {found.over} {sizes}, at {other} {data[other].iloc[0]}",
        f"  exponents of {found.over} with {found.level:.0%} intervals; {trained}",
    ]
    rows = [["place", *(MEASURES[measure] for measure in MEASURES)]]
    by_place = dict[str, dict[str, Any]]()
    for exponent in found.of(variant):
        by_place.setdefault(exponent.place, {})[exponent.measure] = exponent
    rows += [[place, *(_cell(of[measure]) for measure in MEASURES)] for place, of in by_place.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    tail = [f"  {status.message}" + (f"; {status.advice}" if status.advice else "")]
    return "\n".join([*head, "", *lines, "", *tail])


def _cell(found: Exponent) -> str:
    if np.isnan(found.exponent):
        return found.verdict
    ends = "" if np.isnan(found.low) else f" [{found.low:+.2f}, {found.high:+.2f}]"
    return f"{found.exponent:+.3f}{ends}" + ("" if found.verdict == "flat" else f" {found.verdict}")
