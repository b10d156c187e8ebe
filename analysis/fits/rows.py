"""From a table to the numbers that a law is fitted to: inputs, target, weights, groups, clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata

from analysis.errors import AnalysisError, Argument, Complaint
from analysis.fits.options import FitOptions
from analysis.laws.curve import INPUTS
from analysis.laws.law import Law
from analysis.tables import flags
from analysis.tables.checks import divide, positive
from analysis.tables.columns import FORMULA
from analysis.tables.expressions import nearest
from analysis.tables.magnitudes import implausible
from analysis.tables.missing import missing
from analysis.tables.noise import clusters
from analysis.tables.runs import one_a_cell, select, sources, stated
from analysis.tables.table import Table, about, frame_of, tell
from analysis.tables.units import OURS, loss_unit

RUNS = ("params", "tokens", "loss")
CLEAR = 3.0  # standard errors by which a target must rise with N or D
# of the steps of a single curve. In 120 simulated curves of 24 to 400 losses, noise independent or correlated
# over up to 6 % of the curve, 90 % intervals cover .89 to .98; of 12 to 24 blocks .84 to .99
BLOCKS = 8
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


@np.errstate(all="ignore")  # of tables of any magnitude
def prepare(law: Law, table: pd.DataFrame | Table, options: FitOptions) -> Rows:
    """Select and check. Rows with a value that is not a number, or not positive where a logarithm needs it,
    are excluded by name, and so are targets that the objective cannot use. Raises AnalysisError with every
    missing column."""
    given = frame_of(table)
    if not isinstance(given, pd.DataFrame):
        raise AnalysisError(f"table {table!r}: must be a DataFrame; analysis.load(path) reads one")
    of_file = about(given).columns

    def column(name: str) -> str:
        return name if name in given.columns else of_file.get(name, name)

    target = column(options.target)
    weights, groups, cluster, pairs = (
        None if name is None else column(name)
        for name in (options.weights, options.groups, options.cluster, options.pairs)
    )
    convention, least = options.convention, options.above
    inputs = [x for x in law.inputs if x != "M" or "M" not in given.columns]
    wanted = "".join({"M": "ND"}.get(x, x) for x in inputs if x in ("N", "D", "C", "M"))
    wanted += "L" if target == "loss" and least == 0 else ""
    frame: Any
    frame, excluded = select(
        stated(table, options.cells, options.flags),
        options.roles,
        convention=convention,
        where=options.where,
        needs=wanted,
        cells="all",
    )
    columns = {"weights": weights, "groups": groups, "cluster": cluster, "pairs": pairs, "target": target}
    needs = sources([*inputs, *(["L"] if target == "loss" else [])], convention)
    if problems := _absent(law, frame, given, needs, columns):
        raise AnalysisError(problems)
    unread = about(given).units is None and not set(given.columns) >= OURS  # by `load`, which refuses
    if unread and {"params", "tokens", "flops"} <= set(frame.columns) and len(frame):
        odd, _ = implausible(frame, "table", needs, given_flops="flops" in given.columns)
        tell(frame, remarks=(*about(frame).remarks, *map(str, odd)))
    if "L" not in wanted:
        frame["L"] = frame[target]
    if "M" in inputs:
        with np.errstate(all="ignore"):  # rows that this makes no number of are left out by name
            frame["M"] = _numbers(frame["D"]) / _numbers(frame["N"])
    above = {x: 0.0 for x in law.inputs if x in "NDC" or law.terms} | {"L": least}
    weighed = [weights] if weights else []
    numbers: list[str] = list(dict.fromkeys([*law.inputs, "L", *weighed]))
    above |= dict.fromkeys(weighed, 0.0)
    labelled = [x for x in (groups, cluster, pairs) if x is not None]
    bad = _bad(frame, numbers, above, labelled, {"L": "L" if target == "loss" else target})
    asked = [*([] if "L" in wanted else [target]), *weighed]
    useless = [x for x in asked if len(frame) and not np.isfinite(_numbers(frame[x])).any()]
    if useless:
        raise AnalysisError(
            [f"column {x!r} has no number that a fit could use; name another" for x in useless]
        )
    frame, unusable = divide(frame, bad)
    excluded = [*excluded, *unusable]
    if set(law.inputs) & set("NDCM"):  # others hold whatever a run was trained with
        apart = [x for x in (*law.inputs, groups) if x is not None and x not in "NDCM"]
        frame, worse = one_a_cell(frame, options.cells, apart, rising=rises(frame))
        excluded = [*excluded, *worse]
    frame[numbers] = frame[numbers].astype(float)
    tell(frame, remarks=(*about(frame).remarks, *flags.remarks(frame)))
    order = [*(x for x in "CND" if x in frame.columns), "L", *(x for x in law.inputs if x not in "NDC")]
    frame = frame.sort_values(order, kind="stable")  # a table's order must not matter
    codes, labels = pd.factorize(frame[groups].astype(str), sort=True) if groups else (None, ())
    of_curves = law.inputs == INPUTS and cluster is None
    index, by = along_curves(frame, codes) if of_curves else clustered(frame, cluster)
    if codes is not None:  # runs of two data sets share no noise
        index = pd.factorize(codes.astype(np.int64) * (index.max(initial=0) + 1) + index)[0]
        by = f"{by} within {groups}"
    pair = pd.factorize(frame[pairs])[0] if pairs else None
    if pair is not None:
        index, by = joint(index, pair), f"{by.removesuffix(f' within {groups}')}, of all {groups}"
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
        unit=loss_unit(given) if target == "loss" else None,
        excluded=(*({**row} for row in options.excluded), *excluded),
    )


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


def clustered(frame: Any, column: str | None) -> tuple[np.ndarray, str]:
    """Cluster index per row (n,) and what it is by: ``column``, without empty cells; left out: trunk, else
    seed and size, else size, and where that is one cluster, or unknown, the run."""
    if column is not None:
        return pd.factorize(frame[column])[0], column
    if "params" in frame.columns:
        sizes = _numbers(frame["params"])
        frame = frame.assign(params=sizes) if positive(sizes).all() else frame.drop(columns="params")
    by_trunk = "trunk_id" in frame.columns and frame["trunk_id"].notna().all()
    if len(frame) and (by_trunk or "params" in frame.columns):
        index, by = clusters(frame)
        return (index, by) if index.any() else (np.arange(len(frame)), f"run (all of one {by})")
    if (run := about(frame).run) is not None:  # rows are checkpoints
        return pd.factorize(frame[run])[0], run
    return np.arange(len(frame)), "run"


def along_curves(frame: Any, group: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Cluster index per row (n,) of training curves, and what it is by: the curve, and where no group (n,)
    has two of them, blocks of the steps of each, which a note says."""
    curve, part = pd.factorize(frame["curve"])[0], np.zeros(len(frame), int) if group is None else group
    several: Any = pd.Series(curve).groupby(part).nunique() > 1
    if several.any():
        return curve, "curve"
    position = frame.groupby(part)["step"].rank(method="first").to_numpy(int) - 1
    count = np.bincount(part)[part] if len(part) else part
    blocks = np.clip(count // 2, 1, BLOCKS)
    whose = "a single curve" if group is None else "a single curve in each group"
    note = (
        f"{whose}: intervals are by {blocks.max(initial=1)} blocks of its steps, and hold for this curve "
        "alone; another seed or schedule may lie outside; fit several curves to say more"
    )
    tell(frame, remarks=(*about(frame).remarks, note))
    return pd.factorize(part * BLOCKS + position * blocks // np.maximum(count, 1))[0], "block of steps"


def joint(cluster: np.ndarray, pair: np.ndarray) -> np.ndarray:
    """Cluster index per row (n,), clusters that have a pair in common made one."""
    begin = int(cluster.max(initial=-1)) + 1  # of the pairs, which are nodes of the graph beside the clusters
    nodes = begin + int(pair.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(pair)), (cluster, begin + pair)), shape=(nodes, nodes))
    return connected_components(edges, directed=False)[1][cluster]
