"""The catalogue: what each law and estimator needs of a table, its source, what it assumes.

:func:`catalogue` lists all; :func:`feeds` says which of them a table can be fitted with.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from analysis.laws.shipped import LAWS
from analysis.laws.shipped_curves import CURVE_LAWS
from analysis.tables.columns import FORMULA, adopt
from analysis.tables.missing import derive
from analysis.tables.reading import read
from analysis.tables.runs import sources
from analysis.tables.table import about
from analysis.tables.units import convert

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
        """The columns it needs that are not among these; C follows from N and D."""
        have = set(columns)
        have |= {"flops"} if {"params", "tokens"} <= have else set()
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
    """Per entry of the catalogue the columns that this file or folder lacks, none where it can be
    fed; and what there is to know of how its columns were read. A column without any value counts as not
    there. Whether rows and units are usable is for the fit to say. Raises AnalysisError."""
    path = Path(path)
    of_study = [file for file in (path / "runs.csv", path / "curves.parquet") if file.is_file()]
    runs: set[str] = set()
    curves: set[str] = set()
    notes: list[str] = []
    for file, table in read(of_study or path).items():
        frame, problems = adopt(table, {}, str(file), FORMULA)
        frame, _ = convert(frame, {}, str(file))
        frame, underived = derive(frame, {}, (), str(file))
        columns = {str(c) for c in frame.columns if frame[c].notna().to_numpy().any()}
        notes += [*about(frame).notes, *map(str, problems + underived)]
        curves |= (columns | {CURVES[c] for c in columns & set(CURVES)}) if "step" in columns else set()
        runs |= columns if file.name != "curves.parquet" else set()
    return {
        entry.name: entry.lacks(curves if entry.kind == "curve law" else runs) for entry in catalogue()
    }, notes
