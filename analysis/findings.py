"""All that a table of runs says: law, isoFLOP minima, back-test, held-out runs against their forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import figures, report
from analysis.files import replace as write_whole
from analysis.fits.fitting import fit
from analysis.fits.result import Fit
from analysis.forecasting import backtest, forecasts, ledger
from analysis.forecasting.forecasts import Forecast, Origin, Trial
from analysis.optimal_size import isoflop
from analysis.tables import runs as tables
from analysis.tables.checks import checked, row_names
from analysis.tables.table import Table

LAW = "chinchilla"


@dataclass(frozen=True)
class Analysis:
    """What the fitted rows of a table say. Held-out rows have no part in it but to be named as left out."""

    fit: Fit
    isoflop: isoflop.IsoFlop
    backtest: backtest.BackTest

    def on(self, table: pd.DataFrame | Table) -> Analysis:
        """The same of ``table``, which has the same rows but for held-out ones."""
        excluded = tuple(tables.select(table, convention=self.fit.convention)[1])
        return replace(
            self, fit=replace(self.fit, excluded=excluded), isoflop=replace(self.isoflop, excluded=excluded)
        )


@dataclass(frozen=True)
class Findings:
    """``trials``: a forecast of each held-out run and what became of it, those with a row of the table first.
    ``notes``: blocks of text that come last."""

    table: Table
    analysis: Analysis
    trials: tuple[Trial, ...]
    notes: tuple[str, ...] = ()

    @property
    def fit(self) -> Fit:
        return self.analysis.fit

    @property
    def text(self) -> str:
        parts = self.analysis
        summary = report.study_summary(parts.fit, parts.isoflop, parts.backtest, self.trials)
        return "\n\n".join((summary, *self.notes))


def analyse(table: pd.DataFrame | Table) -> Analysis:
    """The default analysis of a table. Deterministic. Raises AnalysisError."""
    table = checked(table)
    return Analysis(fit(LAW, table), isoflop.minima(table), backtest.run(LAW, table))


def examine(table: pd.DataFrame | Table, folder: str | Path, analysis: Analysis | None = None) -> Findings:
    """What ``table`` says; ``analysis`` is that of the table where it is known already.

    A held-out row is held against the forecast of it that stands in ``folder`` (see
    :mod:`analysis.forecasting.ledger`); where there is none, against one computed again from the fitted rows.
    Raises AnalysisError, also when a frozen forecast was changed.
    """
    table = checked(table)
    analysis = analysis or analyse(table)
    standing, trials, without = ledger.standing(folder), [], []
    for row in _held_out(table):
        pair = _take(standing, row)
        if pair is None and analysis.fit.usable:
            pair = _freeze(analysis, row), "recomputed"
        if pair is None:
            name = _known(row, "label") or _known(row, "run_id") or "a run"
            outcome = _failure(row) or f"measured {row['loss']:.4f}"
            without.append(f"  {name}: {outcome}; no forecast, as the law is not identified")
        else:
            trials.append(_trial(*pair, row))
    # those still waiting for their run; forecasts from other tables in the same folder are not this one's
    trials += [Trial(forecast, origin) for forecast, origin in standing if _from(forecast, table)]
    notes = ("\n".join(["HELD OUT", *without]),) if without else ()
    return Findings(table, analysis, tuple(trials), notes)


def _from(forecast: Forecast, table: Table) -> bool:
    """Whether every run that a forecast rests on is in ``table`` with the loss it had."""
    losses = dict(zip(row_names(table.frame), table.frame["loss"], strict=True))
    return all(abs(losses.get(run["row"], 0.0) / run["loss"] - 1) < 1e-6 for run in forecast.training)


def freeze(
    analysis: Analysis,
    targets: Iterable[Mapping[str, Any]],
    folder: str | Path,
    *,
    begun: Iterable[str] = (),
) -> list[Forecast]:
    """Forecast planned runs and keep the forecasts in a folder.

    Args:
        analysis: what the fitted rows say.
        targets: planned runs, each as :func:`analysis.forecasting.forecasts.freeze` takes it, with a run_id.
        folder: where forecasts are kept.
        begun: run ids of targets whose training was begun: what is new about them is hindsight.

    Returns:
        The forecasts; none where the law is not identified.

    Raises:
        AnalysisError: for a target that cannot be forecast, or a forecast that cannot be kept.
    """
    if not analysis.fit.usable:
        return []
    known = set(begun)
    return [
        ledger.save(_freeze(analysis, target), folder, outcome_known=target["run_id"] in known)
        for target in targets
    ]


def score(table: pd.DataFrame | Table, folder: str | Path) -> None:
    """Write the score of every forecast that was frozen before its target was begun and has a loss in
    ``table``. Raises AnalysisError."""
    table = checked(table)
    standing = [pair for pair in ledger.standing(folder) if pair[1] == "frozen"]
    for row in _held_out(table):
        pair = _take(standing, row)
        result = None if pair is None else _trial(*pair, row).score
        if result is not None:
            ledger.save_score(result, folder)


def _freeze(analysis: Analysis, target: Mapping[str, Any]) -> Forecast:
    return forecasts.freeze(analysis.fit, target, backtest=analysis.backtest, isoflop=analysis.isoflop)


def _held_out(table: Table) -> list[dict[str, Any]]:
    rows: Any = table.frame[table.frame["role"] == "holdout"]
    return rows.to_dict(orient="records")


def _take(
    standing: list[tuple[Forecast, Origin]], target: Mapping[str, Any]
) -> tuple[Forecast, Origin] | None:
    """The forecast of ``target``, out of the list: no two rows share one."""
    taken = next((pair for pair in standing if pair[0].is_of(target)), None)
    if taken is not None:
        standing.remove(taken)
    return taken


def _trial(forecast: Forecast, origin: Origin, row: Mapping[str, Any]) -> Trial:
    failure = _failure(row)
    measured = None if failure else forecasts.score(forecast, row["loss"])
    return Trial(forecast, origin, measured, failure)


def _failure(row: Mapping[str, Any]) -> str | None:
    """Why a run of the table has no loss; None when it has one."""
    status, reason = _known(row, "status"), _known(row, "status_reason")
    if status not in (None, "ok"):
        return f"{status}: {reason}" if reason else f"status is {status}"
    return "its loss is empty" if np.isnan(row["loss"]) else None


def _known(row: Mapping[str, Any], column: str) -> str | None:
    value: Any = row.get(column)
    return None if pd.isna(value) else str(value)


def write(findings: Findings, source: Path, folder: Path) -> tuple[Path, ...]:
    """Write fit, summary and figures of ``source`` under ``folder``; returns their paths."""
    law, summary = folder / "fits" / f"{findings.fit.law.name}.json", folder / "summary.txt"
    law.parent.mkdir(parents=True, exist_ok=True)
    write_whole(law, findings.fit.to_json())
    write_whole(summary, findings.text + "\n")
    return (law, summary, *draw(findings, source, folder / "figures").paths)


def draw(findings: Findings, source: Path, out: Path) -> figures.Drawn:
    """Every figure that the findings and the curves beside their table can feed."""
    file = (source if source.is_dir() else source.parent) / "curves.parquet"
    curves = pd.read_parquet(file) if file.exists() else None
    parts, first = findings.analysis, findings.trials[0] if findings.trials else None
    return figures.draw_all(
        findings.table, curves, parts.fit, parts.isoflop, first, out, backtest=parts.backtest
    )
