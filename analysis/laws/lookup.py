"""Laws by name, and the catalogue: what each law and estimator needs of a table, its source, what it assumes.

:func:`find` and :func:`require` give a law; :func:`catalogue` lists all; :func:`feeds` says which of them a
table can be fitted with.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import AnalysisError
from analysis.laws.curve import CurveLaw
from analysis.laws.law import EXPONENTS, Law
from analysis.laws.shipped import CURVE_LAWS, LAWS
from analysis.readers.source import KINDS
from analysis.tables.columns import FORMULA, adopt
from analysis.tables.reading import read
from analysis.tables.runs import sources
from analysis.tables.table import about

RUNS = ("params", "tokens", "flops", "loss")
# what a file of curves calls the columns of a curve law
CURVES = {"run_id": "curve", "eval/loss": "loss", "train/loss": "loss"}


@dataclass(frozen=True)
class Entry:
    """``kind``: law, curve law or estimator; ``formula``: what it gives; ``needs``: columns; ``call``: how
    Python calls it."""

    name: str
    kind: str
    formula: str
    needs: tuple[str, ...]
    source: str
    assumptions: str
    call: str

    def lacks(self, columns: Collection[str]) -> tuple[str, ...]:
        """The columns it needs that are not among these; one of N, D, C follows from the others."""
        have = set(columns)
        have |= {"flops"} if {"params", "tokens"} <= have else set()
        have |= {"tokens"} if {"params", "flops"} <= have else set()
        return tuple(column for column in self.needs if column not in have)


ESTIMATORS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "parabola", "estimator", "N* ~ C^a, D* ~ C^b through the minimum of each budget", RUNS,
            "Hoffmann et al. 2022, arXiv:2203.15556, approach 2",
            "log loss is a parabola in log N at fixed compute; sizes are spread evenly about the minimum",
            "analysis.estimate('parabola', table)",
        ),
        Entry(
            "interpolation", "estimator", "N* ~ C^a, D* ~ C^b through the minimum of each budget", RUNS,
            "Porian et al. 2024, arXiv:2406.19146",
            "noise between runs is small beside the curvature, or is given as noise=",
            "analysis.estimate('interpolation', table)",
        ),
        Entry(
            "hull", "estimator", "N* ~ C^a, D* ~ C^b along the lower convex hull of the runs", RUNS,
            "Hoffmann et al. 2022, approach 1; McLeish et al. 2025, arXiv:2502.06857",
            "the runs nearest the frontier are optimal, not lucky",
            "analysis.estimate('hull', table)",
        ),
        Entry(
            "basins", "estimator", "lr*(N, D), B*(D): optima of each cell, then power laws through them",
            ("params", "tokens", "learning_rate", "batch_tokens", "loss"),
            "Li et al. 2025, arXiv:2503.04715",
            "log loss is a parabola in log learning rate and log batch near its least; sweeps reach past it",
            "analysis.basins.find(table)",
        ),
        Entry(
            "criticalbatch", "estimator", "(S / Smin - 1) (E / Emin - 1) = 1, critical batch Emin / Smin",
            ("batch_tokens", "steps", "target_loss"),
            "McCandlish et al. 2018, arXiv:1812.06162, eq. 2.11",
            "each batch has its best learning rate; steps are those to reach target_loss",
            "analysis.criticalbatch.find(table)",
        ),
        Entry(
            "envelope", "estimator", "N* ~ C^a, D* ~ C^b along the lowest of all training curves",
            (*RUNS, "run"), "Hoffmann et al. 2022, arXiv:2203.15556, approach 1",
            "a checkpoint is as good as a run that ends there",
            "analysis.estimate('envelope', table)",
        ),
        Entry(
            "downstream", "estimator", "accuracy of N, D: a law of the loss, then a sigmoid of it",
            ("params", "tokens", "loss", "accuracy"),
            "Bhagia et al. 2024, arXiv:2412.04403; Gadre et al. 2024, arXiv:2403.08540, eq. 5",
            "accuracy depends on the run through this loss alone",
            "analysis.twostep(table, loss='loss', accuracy='accuracy')",
        ),
        Entry(
            "multiplier", "estimator", "m with L_group(m C) = L_reference(C): what a corpus is worth",
            (*RUNS, "group"), "Davidson et al. 2023, arXiv:2312.07413, of losses",
            "groups share what a fit with groups= says they share; they are measured on one evaluation set",
            "analysis.multiplier(analysis.fit('tied', table, groups='group'), reference)",
        ),
    )
}  # fmt: skip


def catalogue() -> tuple[Entry, ...]:
    """All of them, laws first."""
    laws = [
        Entry(
            law.name, "law", law.formula, sources([*law.inputs, "L"]), law.source, law.assumptions,
            f"analysis.fit({law.name!r}, table)",
        )
        for law in LAWS.values()
    ]  # fmt: skip
    curve_laws = [
        Entry(
            name, "curve law", law.on({"asked": [1.0]}).formula, ("curve", "step", "loss"), law.source,
            law.assumptions, f"analysis.fit({name!r}, table, schedules=schedules)",
        )
        for name, law in CURVE_LAWS.items()
    ]  # fmt: skip
    return (*laws, *curve_laws, *ESTIMATORS.values())


def feeds(path: str | Path) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Per entry of the catalogue the columns that this file (or results folder) lacks, none where it can be
    fed; and what there is to know of how its columns were read. A column without any value counts as not
    there. Whether rows and units are usable is for the fit to say. Raises AnalysisError."""
    path = Path(path)
    files = [path / "runs.csv", path / "curves.parquet"] if path.is_dir() else [path]
    present = [file for file in files if file.is_file()]
    if not present:
        raise AnalysisError(
            f"table {files[0]}: no such file; give a results folder with runs.csv, or a {KINDS} file"
        )
    runs: set[str] = set()
    curves: set[str] = set()
    notes: list[str] = []
    for file in present:
        frame, problems = adopt(read(file)[file], {}, str(file), FORMULA)
        columns = {str(c) for c in frame.columns if frame[c].notna().to_numpy().any()}
        notes += [*about(frame).notes, *map(str, problems)]
        curves |= (columns | {CURVES[c] for c in columns & set(CURVES)}) if "step" in columns else set()
        runs |= columns if file.name != "curves.parquet" else set()
    return {
        entry.name: entry.lacks(curves if entry.kind == "curve law" else runs) for entry in catalogue()
    }, notes


def _other_kind(kind: str, name: str, call: str) -> str:
    what = {"curve law": "is a law of training curves", "estimator": "is an estimator"}[kind]
    return f"law {name!r} {what}, not a law of the loss of a run; from Python: {call}"


def require(law: Any) -> Law:
    """``law``, or of a name what :func:`find` gives. Raises AnalysisError for anything else."""
    if isinstance(law, str):
        return find(law)
    if isinstance(law, CurveLaw):
        raise AnalysisError(
            _other_kind("curve law", law.name, "analysis.fit(law, table, schedules=schedules)")
        )
    if not isinstance(law, Law):
        raise AnalysisError(f"law {law!r}: give a name that `scaling laws` lists, or a Law")
    return law


def require_curve_law(law: Any) -> CurveLaw:
    """``law``, or of a name the one of ``CURVE_LAWS``. Raises AnalysisError for a law of runs and others."""
    law = CURVE_LAWS.get(law, law) if isinstance(law, str) else law
    if not isinstance(law, CurveLaw):
        name = law.name if isinstance(law, Law) else law
        raise AnalysisError(
            f"law {name!r} is no law of training curves, which schedules= are for; leave them out, or choose "
            f"one of {', '.join(CURVE_LAWS)} (analysis.CURVE_LAWS)"
        )
    return law


def find(law: str) -> Law:
    """The law of this name, or NAME of a script given as ``path.py:NAME``, which is run: it is the user's own
    code, asked for by name. Raises AnalysisError."""
    if law in LAWS:
        return LAWS[law]
    path, separator, name = law.rpartition(":")
    if not separator or not path.endswith(".py"):
        others = {entry.name: entry for entry in catalogue() if entry.kind != "law"}
        if law in others:
            raise AnalysisError(_other_kind(others[law].kind, law, others[law].call))
        close = get_close_matches(law.lower(), [*LAWS, *others], n=1)
        near = f"did you mean {close[0]!r}? " if close else ""
        raise AnalysisError(
            f"law {law!r} is unknown; {near}`scaling laws` lists them (analysis.LAWS); or give file.py:NAME, "
            "a Law of yours"
        )
    script = _run(law, Path(path))
    written = script.get(name)
    if not isinstance(written, Law):
        laws = [key for key, value in script.items() if isinstance(value, Law)]
        raise AnalysisError(
            f"law {law!r}: {path} has no Law of that name; it has {', '.join(laws) or 'none'}"
        )
    return written


def _run(law: str, path: Path) -> dict[str, Any]:
    """What the script of ``law`` defines, by name. Raises AnalysisError."""
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise AnalysisError(f"law {law!r}: no such file {path}; give the path of a Python script")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's script may raise
        raise AnalysisError(f"law {law!r}: {path} fails: {type(error).__name__}: {error}") from error
    return vars(module)


def from_dict(data: Mapping[str, Any]) -> Law:
    """The law that ``Law.to_dict`` wrote; one by function comes without it, unless we ship it."""
    shipped = LAWS.get(data["name"])
    if shipped is not None and shipped.to_dict() == dict(data):
        return shipped
    ends = (-np.inf, np.inf)
    domains: Any = {
        e: tuple(float(default if b is None else b) for b, default in zip(pair, ends, strict=True))
        for e, pair in data["domains"].items()
    }
    more = {"assumptions": data.get("assumptions", ""), "source": data["source"]}
    if "terms" in data:
        own = {e: bounds for e, bounds in domains.items() if bounds != EXPONENTS}
        return Law(data["name"], data["terms"], domains=own, **more)
    inputs, linear = tuple(data["inputs"]), tuple(data["linear"])
    return Law(data["name"], domains=domains, inputs=inputs, linear=linear, text=data["formula"], **more)
