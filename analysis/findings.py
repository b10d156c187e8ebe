"""All that a table of runs says: law, isoFLOP minima, back-test, held-out runs against their forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from analysis import figures, summaries
from analysis.files import replace as write_whole
from analysis.fits.fitting import fit
from analysis.fits.result import Fit
from analysis.forecasting import backtest, forecasts, ledger
from analysis.forecasting.forecasts import Forecast, Origin, Trial
from analysis.laws.law import Law
from analysis.laws.lookup import LAW
from analysis.optimal_size import isoflop
from analysis.tables import runs as tables
from analysis.tables.checks import checked, row_names
from analysis.tables.table import Table
from analysis.variants.comparison import COLUMN, Variants, compare_variants
from analysis.variants.comparison import names as variants_of

__all__ = [
    "LAW",
    "Analysis",
    "Described",
    "Findings",
    "analyse",
    "curves_beside",
    "draw",
    "examine",
    "freeze",
    "score",
    "write",
]


@dataclass(frozen=True)
class Described:
    """What the fitted rows of one variant say. Held-out rows have no part in it but to be named as left
    out."""

    fit: Fit
    isoflop: isoflop.IsoFlop
    backtest: backtest.BackTest

    def on(self, table: pd.DataFrame | Table) -> Described:
        """The same of ``table``, which has the same rows but for held-out ones."""
        excluded = tuple(tables.select(table, convention=self.fit.convention)[1])
        return replace(
            self, fit=replace(self.fit, excluded=excluded), isoflop=replace(self.isoflop, excluded=excluded)
        )


@dataclass(frozen=True)
class Analysis:
    """``described``: each variant by its name, the reference first; of a table without variants the whole,
    by None. ``variants``: the others compared with the reference; None: there are none."""

    described: dict[str | None, Described]
    variants: Variants | None = None

    @property
    def first(self) -> Described:
        """The whole table, or the reference."""
        return next(iter(self.described.values()))

    @property
    def fit(self) -> Fit:
        return self.first.fit

    def of(self, run: Mapping[str, Any]) -> Described | None:
        """What there is on the variant of a run; None where no run of it is in the table."""
        return self.described.get(_known(run, COLUMN) if self.variants else None)

    def on(self, table: pd.DataFrame | Table) -> Analysis:
        """The same of ``table``, which has the same rows but for held-out ones."""
        rows = _by_variant(checked(table))
        return replace(self, described={name: one.on(rows[name]) for name, one in self.described.items()})


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

    def trials_of(self, variant: str | None) -> tuple[Trial, ...]:
        """Those of one variant; of a table without variants, all."""
        return tuple(trial for trial in self.trials if trial.forecast.target.get(COLUMN) == variant)

    @property
    def text(self) -> str:
        variants, parts = self.analysis.variants, []
        for name, one in self.analysis.described.items():
            trials = self.trials_of(name) if variants else self.trials
            summary = summaries.study_summary(one.fit, one.isoflop, one.backtest, trials)
            parts.append(f"VARIANT {name}\n\n{summary}" if variants else summary)
        return "\n\n".join((*parts, *([variants.summary()] if variants else []), *self.notes))


def analyse(table: pd.DataFrame | Table, target: float | None = None, law: str | Law = LAW) -> Analysis:
    """The analysis of a table; of variants, each and their comparison. Deterministic.

    Args:
        table: runs.
        target: compute of the largest held-out run, which variants are compared at too; left out: that of the
            table's.
        law: what is fitted.

    Raises:
        AnalysisError: the table cannot be analysed.
    """
    table = checked(table)
    rows = _by_variant(table)
    described = {
        name: Described(fitted := fit(law, part), isoflop.minima(part), backtest.of(fitted, part))
        for name, part in rows.items()
    }
    if None in rows:
        return Analysis(described)
    return Analysis(described, compare_variants(table, law=law, target=target))


def _by_variant(table: Table) -> dict[str | None, Table]:
    """The rows of each variant, the reference first; of a table without variants, all."""
    frame: Any = table.frame
    return {name: Table(frame[frame[COLUMN] == name]) for name in variants_of(table)} or {None: table}


def examine(
    table: pd.DataFrame | Table,
    folder: str | Path,
    analysis: Analysis | None = None,
    law: str | Law = LAW,
) -> Findings:
    """What ``table`` says by a law; ``analysis`` is that of the table where it is known already.

    A held-out row is held against the forecast of it that stands in ``folder`` (see
    :mod:`analysis.forecasting.ledger`); where there is none, against one computed again from the fitted rows.
    Raises AnalysisError, also when a frozen forecast was changed.
    """
    table = checked(table)
    analysis = analysis or analyse(table, law=law)
    standing, trials, without = ledger.standing(folder), [], []
    for row in _held_out(table):
        pair, described = _take(standing, row), analysis.of(row)
        if pair is None and described is not None and described.fit.usable:
            pair = _freeze(described, row), "recomputed"
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
        targets: planned runs, each as :func:`analysis.forecasting.forecasts.freeze` takes it, with a run_id
            and its variant, if it is of one.
        folder: where forecasts are kept.
        begun: run ids of targets whose training was begun: what is new about them is hindsight.

    Returns:
        The forecasts; none where the law, that of the target's variant, is not identified.

    Raises:
        AnalysisError: for a target that cannot be forecast, or a forecast that cannot be kept.
    """
    known = set(begun)
    return [
        ledger.save(_freeze(described, target), folder, outcome_known=target["run_id"] in known)
        for target in targets
        if (described := analysis.of(target)) is not None and described.fit.usable
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


def _freeze(described: Described, target: Mapping[str, Any]) -> Forecast:
    return forecasts.freeze(described.fit, target, backtest=described.backtest, isoflop=described.isoflop)


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
    """Write fits, summary and figures of ``source`` under ``folder``; returns their paths."""
    fits, summary, texts = folder / "fits", folder / "summary.txt", {}
    for name, one in findings.analysis.described.items():
        place = _place(fits, name)
        texts[place / f"{one.fit.law.name}.json"] = one.fit.to_json()
    if findings.analysis.variants is not None:
        texts[fits / "variants.json"] = findings.analysis.variants.to_json()
    for path, text in {**texts, summary: findings.text + "\n"}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    return (*texts, summary, *draw(findings, source, folder / "figures").paths)


def _place(folder: Path, variant: str | None) -> Path:
    """Where files of a variant go; those of a table without variants go into the folder itself."""
    return folder if variant is None else folder / quote(variant, safe=" ()").replace("..", "%2E%2E")


def curves_beside(source: Path) -> pd.DataFrame | None:
    """The logged rows of the runs of a results folder or table; None: there are none."""
    file = (source if source.is_dir() else source.parent) / "curves.parquet"
    return pd.read_parquet(file) if file.exists() else None


def draw(
    findings: Findings, source: Path, out: Path, rendering: figures.Rendering | None = None
) -> figures.Drawn:
    """Every figure that the findings and the curves beside their table can feed; those of each variant in a
    folder of its own, beside that of their comparison. ``rendering``: formats and style; left out: png."""
    curves = curves_beside(source)
    analysis, rows = findings.analysis, _by_variant(findings.table)
    drawn = []
    for name, one in analysis.described.items():
        trials = findings.trials_of(name) if analysis.variants else findings.trials
        first = trials[0] if trials else None
        place = _place(out, name)
        more: Any = {"backtest": one.backtest, "rendering": rendering}
        drawn.append(figures.draw_all(rows[name], curves, one.fit, one.isoflop, first, place, **more))
    if analysis.variants is not None:
        fits = {str(name): one.fit for name, one in analysis.described.items()}
        drawn.append(figures.draw_variants(findings.table, fits, analysis.variants, out, rendering=rendering))
    skipped = {name: why for part in drawn for name, why in part.skipped.items()}
    return figures.Drawn(tuple(path for part in drawn for path in part.paths), skipped)
