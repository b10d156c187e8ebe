"""From a table to the numbers that a law is fitted to: inputs, target, weights, groups, clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analysis.errors import AnalysisError, Argument, Complaint
from analysis.fits.options import FitOptions
from analysis.fits.sharing import along_curves, clustered, joint
from analysis.laws.curve import INPUTS
from analysis.laws.law import Law
from analysis.tables import flags
from analysis.tables.checks import divide
from analysis.tables.columns import FORMULA
from analysis.tables.expressions import nearest
from analysis.tables.magnitudes import implausible
from analysis.tables.missing import missing
from analysis.tables.runs import one_a_cell, select, sources, stated
from analysis.tables.table import Table, about, frame_of, tell
from analysis.tables.units import OURS, loss_unit

RUNS = ("params", "tokens", "loss")
CLEAR = 3.0  # standard errors by which a target must rise with N or D
EXTREME = (1e-100, 1e100)  # beyond, squares under- and overflow


@dataclass(frozen=True)
class Rows:
    """``frame``: rows kept, sorted, with columns N, D, C, L where known; ``inputs`` and ``target`` (n,);
    ``cluster`` index per row and what it is ``by``; ``pair`` index per row, where runs of several groups
    share noise; ``unit`` of the loss."""

    frame: Any
    inputs: dict[str, np.ndarray]
    target: np.ndarray
    weights: np.ndarray | None
    group: np.ndarray | None
    labels: tuple[str, ...]
    cluster: np.ndarray
    by: str
    pair: np.ndarray | None
    unit: str | None
    excluded: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class _Columns:
    """The columns that options name, as the table calls them; ``judged``: whether losses are fitted, of which
    those that are not positive are left out on selecting."""

    target: str
    weights: str | None
    groups: str | None
    cluster: str | None
    pairs: str | None
    judged: bool

    @classmethod
    def of(cls, options: FitOptions, given: pd.DataFrame) -> _Columns:
        of_file = about(given).columns

        def named(name: Any) -> Any:
            return name if name is None or name in given.columns else of_file.get(name, name)

        names = options.target, options.weights, options.groups, options.cluster, options.pairs
        target, *others = map(named, names)
        return cls(target, *others, judged=target == "loss" and options.above == 0)

    @property
    def options(self) -> dict[str, str | None]:
        """By the option that names them."""
        names = ("weights", "groups", "cluster", "pairs", "target")
        return {name: getattr(self, name) for name in names}

    @property
    def weighed(self) -> list[str]:
        return [self.weights] if self.weights else []


@np.errstate(all="ignore")  # of tables of any magnitude
def prepare(law: Law, table: pd.DataFrame | Table, options: FitOptions) -> Rows:
    """Select and check. Rows with a value that is not a number, or not positive where a logarithm needs it,
    are excluded by name, and so are targets that the objective cannot use. Raises AnalysisError with every
    missing column."""
    given = frame_of(table)
    if not isinstance(given, pd.DataFrame):
        raise AnalysisError(f"table {table!r}: must be a DataFrame; analysis.load(path) reads one")
    columns = _Columns.of(options, given)
    frame, left_out = _selected(law, table, columns, options)
    frame, unusable = _usable(law, frame, columns, options)
    order = [*(x for x in "CND" if x in frame.columns), "L", *(x for x in law.inputs if x not in "NDC")]
    frame = frame.sort_values(order, kind="stable")  # a table's order must not matter
    groups, weights = columns.groups, columns.weights
    codes, labels = pd.factorize(frame[groups].astype(str), sort=True) if groups else (None, ())
    index, by, pair = _sharing(law, frame, columns, codes)
    return Rows(
        frame=frame,
        inputs={x: frame[x].to_numpy(float) for x in law.inputs},
        target=frame["L"].to_numpy(float),
        weights=frame[weights].to_numpy(float) / frame[weights].mean() if weights else None,
        group=codes,
        labels=tuple(map(str, labels)),
        cluster=index,
        by=by,
        pair=pair,
        unit=loss_unit(given) if columns.target == "loss" else None,
        excluded=(*({**row} for row in options.excluded), *left_out, *unusable),
    )


def _selected(
    law: Law, table: pd.DataFrame | Table, columns: _Columns, options: FitOptions
) -> tuple[Any, list[dict[str, str]]]:
    """The rows asked for with the law's inputs and L, and those left out. Raises AnalysisError with every
    missing column."""
    given: Any = frame_of(table)
    inputs = [x for x in law.inputs if x != "M" or "M" not in given.columns]
    wanted = "".join({"M": "ND"}.get(x, x) for x in inputs if x in ("N", "D", "C", "M"))
    wanted += "L" if columns.judged else ""
    frame: Any
    frame, left_out = select(
        stated(table, options.cells, options.flags),
        options.roles,
        convention=options.convention,
        where=options.where,
        needs=wanted,
        cells="all",
    )
    needs = sources([*inputs, *(["L"] if columns.target == "loss" else [])], options.convention)
    if problems := _absent(law, frame, given, needs, columns.options):
        raise AnalysisError(problems)
    unread = about(given).units is None and not set(given.columns) >= OURS  # by `load`, which refuses
    if unread and {"params", "tokens", "flops"} <= set(frame.columns) and len(frame):
        odd, _ = implausible(frame, "table", needs, given_flops="flops" in given.columns)
        tell(frame, remarks=(*about(frame).remarks, *map(str, odd)))
    if not columns.judged:
        frame["L"] = frame[columns.target]
    if "M" in inputs:  # rows that this makes no number of are left out by name
        frame["M"] = _numbers(frame["D"]) / _numbers(frame["N"])
    return frame, left_out


def _usable(law: Law, frame: Any, columns: _Columns, options: FitOptions) -> tuple[Any, list[dict[str, str]]]:
    """The rows that a fit can use, one a cell unless all are asked for, and the others by reason. Raises
    AnalysisError for a column without a number."""
    numbers: list[str] = list(dict.fromkeys([*law.inputs, "L", *columns.weighed]))
    above = {x: 0.0 for x in law.inputs if x in "NDC" or law.terms} | {"L": options.above}
    above |= dict.fromkeys(columns.weighed, 0.0)
    labelled = [x for x in (columns.groups, columns.cluster, columns.pairs) if x is not None]
    bad = _bad(frame, numbers, above, labelled, {"L": "L" if columns.target == "loss" else columns.target})
    asked = [*([] if columns.judged else [columns.target]), *columns.weighed]
    useless = [x for x in asked if len(frame) and not np.isfinite(_numbers(frame[x])).any()]
    if useless:
        raise AnalysisError(
            [f"column {x!r} has no number that a fit could use; name another" for x in useless]
        )
    frame, left_out = divide(frame, bad)
    if set(law.inputs) & set("NDCM"):  # others hold whatever a run was trained with
        apart = [x for x in (*law.inputs, columns.groups) if x is not None and x not in "NDCM"]
        frame, worse = one_a_cell(frame, options.cells, apart, rising=rises(frame))
        left_out = [*left_out, *worse]
    frame[numbers] = frame[numbers].astype(float)
    tell(frame, remarks=(*about(frame).remarks, *flags.remarks(frame)))
    return frame, left_out


def _sharing(
    law: Law, frame: Any, columns: _Columns, group: np.ndarray | None
) -> tuple[np.ndarray, str, np.ndarray | None]:
    """Cluster index per row (n,), what it is by, and the pair index (n,) of runs of several groups that share
    noise; None where no pairs are named."""
    groups, pairs = columns.groups, columns.pairs
    of_curves = law.inputs == INPUTS and columns.cluster is None
    index, by = along_curves(frame, group) if of_curves else clustered(frame, columns.cluster)
    if group is not None:  # runs of two data sets share no noise
        index = pd.factorize(group.astype(np.int64) * (index.max(initial=0) + 1) + index)[0]
        by = f"{by} within {groups}"
    if pairs is None:
        return index, by, None
    pair = pd.factorize(frame[pairs])[0]
    return joint(index, pair), f"{by.removesuffix(f' within {groups}')}, of all {groups}", pair


def _absent(
    law: Law, frame: Any, table: pd.DataFrame, needs: Sequence[str], options: dict[str, str | None]
) -> list[Complaint]:
    """Every column that is not there, by what asked for it; ``frame`` are the rows selected."""
    columns, letters = list(map(str, table.columns)), {"N", "D", "C"} & set(frame.columns)
    given = {c for x in letters for c in sources([x])} | set(frame.columns)
    law_needs = f"law {law.name!r} needs {', '.join(needs)}"
    return [
        Complaint(
            f"column {x!r} is missing",
            hint=(f"{law_needs}; ", *(missing(x, table) if x in FORMULA else (nearest(x, columns),))),
        )
        for x in needs
        if x not in given
    ] + [
        Complaint("no such column", Argument(option, x), nearest(x, columns))
        for option, x in options.items()
        if x is not None and x not in frame.columns and (option, x) != ("target", "loss")
    ]


def rises(frame: Any, inputs: Sequence[str] = ("N", "D")) -> bool:
    """Whether the target of these rows grows with N and D, as an accuracy does and no loss."""
    logs = [
        np.log(_numbers(frame[x]))
        for x in "ND"
        if x in inputs and x in frame.columns and frame[x].nunique() > 1
    ]
    degrees = len(frame) - len(logs) - 1
    if not logs or degrees < 1:
        return False
    x = np.column_stack([x - x.mean() for x in logs])
    y = rankdata(_numbers(frame["L"]))
    slopes, _, rank, _ = np.linalg.lstsq(x, y - y.mean(), rcond=None)
    if rank < len(logs):  # D follows from N
        return bool(np.corrcoef(rankdata(x[:, 0]), y)[0, 1] > CLEAR / np.sqrt(len(y)))
    left = y - y.mean() - x @ slopes
    errors = np.sqrt(np.diag(np.linalg.pinv(x.T @ x)) * (left @ left) / degrees)
    return bool((slopes > -errors).all() and (slopes > CLEAR * errors).any())


def _numbers(column: Any) -> np.ndarray:
    return np.asarray(pd.to_numeric(column, errors="coerce"), float)


def _bad(
    frame: Any,
    columns: Sequence[str],
    above: dict[str, float],
    filled: Sequence[str],
    names: Mapping[str, str],
) -> np.ndarray:
    """Per row, which numbers a fit cannot use (not finite, or not ``above`` what they must be), and which
    cells that must be ``filled`` are empty; ``names`` of columns in the reasons."""
    out: list[list[str]] = [[] for _ in range(len(frame))]
    for x in columns:
        v = _numbers(frame[x])
        limit = above.get(x, -np.inf)
        wrong = ~np.isfinite(v) | (v <= limit)
        far = ~wrong & (v != 0) & ((np.abs(v) < EXTREME[0]) | (np.abs(v) > EXTREME[1]))
        rule = {0.0: "finite and positive", -np.inf: "a finite number"}
        what = f"is not {rule.get(limit, f'finite and above {limit:g}')}"
        for i in np.flatnonzero(wrong | far):
            why = f"is not within {EXTREME[0]:g} .. {EXTREME[1]:g}" if far[i] else what
            out[i].append(f"{names.get(x, x)} = {frame[x].iloc[i]} {why}")
    for x in filled:
        for i in np.flatnonzero(frame[x].isna().to_numpy(bool)):
            out[i].append(f"{x} is empty")
    return np.array(["; ".join(found) for found in out], object)


def filled(frame: Any, columns: Sequence[str]) -> tuple[Any, list[dict[str, str]]]:
    """The rows without an empty cell in ``columns``, and the others as ``{row, reason}``."""
    return divide(frame, _bad(frame, [], {}, columns, {}))
