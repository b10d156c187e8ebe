"""The whole way: run the fitted runs -> fit the law -> freeze the forecast -> run the held-out -> score.

With the command line, the only code that imports both packages.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scaling.files import write_text
from scaling.own_analysis import require_own_analysis
from scaling.plan.plan import Plan
from scaling.sweep.collect import collect
from scaling.sweep.driver import Sweep, open_sweep
from scaling.sweep.events import Event, Outcome

require_own_analysis()

import pandas as pd  # noqa: E402

from analysis import backtest, figures, forecasts, isoflop, report  # noqa: E402
from analysis.fitting import fit  # noqa: E402
from analysis.forecasts import Forecast, Score  # noqa: E402
from analysis.result import Fit  # noqa: E402
from analysis.tables import load  # noqa: E402

LAW = "chinchilla"
BEFORE_FORECAST = ("fit", "noise", "tuning")


class Watch(Protocol):
    """Who is told what happens: events of the sweep, and what the study says in words."""

    def __call__(self, event: Event) -> None: ...
    def say(self, text: str) -> None: ...


class StudyStopped(Exception):
    """The study is not complete; what is done stays done. Says why, and how to go on."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Findings:
    """What a runs table says. ``outcomes`` pairs every forecast with its score, None until it is trained."""

    table: pd.DataFrame
    fit: Fit
    isoflop: isoflop.IsoFlop
    backtest: backtest.BackTest
    outcomes: tuple[tuple[Forecast, Score | None], ...]

    @property
    def text(self) -> str:
        first, *others = self.outcomes or ((None, None),)
        parts = [report.study_summary(self.fit, self.isoflop, self.backtest, *first)]
        parts += [report.forecast_summary(forecast, score, self.backtest) for forecast, score in others]
        return "\n\n".join(parts)


@dataclass(frozen=True)
class StudyReport:
    """A finished study: its findings and the files they were written to."""

    folder: Path
    findings: Findings
    files: tuple[Path, ...]

    @property
    def text(self) -> str:
        return self.findings.text + "\n\n" + "\n".join(map(str, self.files))

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "fit": json.loads(self.findings.fit.to_json()),
            "forecasts": [
                {
                    "forecast": json.loads(forecast.to_json()),
                    "hash": forecast.hash,
                    "score": None if score is None else vars(score),
                }
                for forecast, score in self.findings.outcomes
            ],
            "files": [str(path) for path in self.files],
        }


def run_study(
    plan: Plan, folder: Path, *, spec: str, workers: int | None = None, watch: Watch
) -> StudyReport:
    """Train, fit, forecast, test the forecast, and write everything under ``folder``.

    Relaunched, it goes on where it was. Held-out runs are trained only after every other run has a record
    and the forecast of them is on disk.

    Raises:
        StudyStopped: interrupted, or runs failed.
        UserError: the folder is in use or holds another study.
    """
    with open_sweep(folder, plan.to_json(), spec) as sweep:
        _phase(sweep, BEFORE_FORECAST, workers, watch)
        collect(folder)
        held_out = [run for run in plan.runs if run.role == "holdout"]
        if held_out:
            known = {run.run_id for run in held_out if sweep.store.run_state(run.run_id).record}
            frozen = freeze_forecasts(folder, [_target(run) for run in held_out], known)
            for forecast in frozen:
                low, high = forecast.interval["low"], forecast.interval["high"]
                interval = f"{forecast.interval['level']:.0%} interval {low:.4f} to {high:.4f}"
                watch.say(
                    f"forecast {forecast.hash} frozen: {forecast.target['label']} will have loss "
                    f"{forecast.prediction:.4f} ({interval})"
                )
            if not frozen:
                watch.say("no forecast: the law is not identified by these runs")
            _phase(sweep, ("holdout",), workers, watch)
            collect(folder)
        findings = examine(folder, keep=True)
        files = write_findings(findings, folder)
    return StudyReport(folder, findings, files)


def _phase(sweep: Sweep, roles: Collection[str], workers: int | None, watch: Watch) -> Outcome:
    outcome = sweep.run_jobs(roles, on_event=watch, workers=workers)
    if outcome.exit_code:
        collect(sweep.store.folder)
        what = f"interrupted by {outcome.interrupted}" if outcome.interrupted else "some runs failed"
        raise StudyStopped(f"{what}; {outcome.resume}", outcome.exit_code)
    return outcome


def _target(run: Any) -> dict[str, Any]:
    """What a forecast needs to know of a planned run."""
    return {
        "run_id": run.run_id,
        "label": run.label,
        "params": run.params,
        "params_body": run.params_body,
        "tokens": run.run.tokens,
        "flops": run.flops,
    }


def analyse(table: pd.DataFrame) -> tuple[Fit, isoflop.IsoFlop, backtest.BackTest]:
    """The default analysis of a table: the law, the isoFLOP minima, the back-test. Deterministic."""
    return fit(LAW, table), isoflop.minima(table), backtest.run(LAW, table)


def freeze_forecasts(
    folder: Path, targets: Sequence[dict[str, Any]], known: Collection[str] = ()
) -> list[Forecast]:
    """Freeze a forecast of each target from the folder's table; none where the law is not identified.

    ``known`` are run ids of targets that have an outcome already: what is new about them is hindsight.
    """
    table = load(folder)
    law, minima, test = analyse(table)
    frozen = _forecasts(table, law, minima, test, targets)
    for forecast in frozen:
        outcome_known = forecast.target["run_id"] in known
        forecasts.save(forecast, folder / "forecasts", outcome_known=outcome_known)
    return frozen


def _forecasts(
    table: pd.DataFrame,
    law: Fit,
    minima: isoflop.IsoFlop,
    test: backtest.BackTest,
    targets: Sequence[dict[str, Any]],
) -> list[Forecast]:
    if not law.usable:
        return []
    return [forecasts.freeze(law, table, target, backtest=test, isoflop=minima) for target in targets]


def examine(source: Path, *, keep: bool = False) -> Findings:
    """All that a results folder or table says. Forecasts are those frozen beside the table; where there are
    none they are computed again from its fitted rows. ``keep`` writes scores beside the forecasts.

    Raises:
        AnalysisError: the table cannot be read or analysed, or a frozen forecast was changed.
    """
    table = load(source)
    law, minima, test = analyse(table)
    held_out = table[table["role"] == "holdout"] if "role" in table.columns else table.iloc[:0]
    folder = (source if source.is_dir() else source.parent) / "forecasts"
    frozen = {f.target["run_id"]: f for f in _current(folder)}
    targets = held_out.to_dict(orient="records")
    missing = [target for target in targets if target.get("run_id") not in frozen]
    again = {f.target["run_id"]: f for f in _forecasts(table, law, minima, test, missing)}
    outcomes = []
    for run_id, forecast in (frozen | again).items():
        losses = [target["loss"] for target in targets if target.get("run_id") == run_id]
        score = forecasts.score(forecast, losses[0]) if losses and pd.notna(losses[0]) else None
        if keep and score is not None:
            forecasts.save_score(score, folder)
        outcomes.append((forecast, score))
    return Findings(table, law, minima, test, tuple(outcomes))


def _current(folder: Path) -> list[Forecast]:
    """Frozen forecasts that no later one has superseded."""
    if not folder.is_dir():
        return []
    return [f for f in forecasts.forecasts(folder) if forecasts.status(f, folder)["state"] != "superseded"]


def write_findings(findings: Findings, folder: Path) -> tuple[Path, ...]:
    """Fit, summary and figures; returns the paths, the table's first."""
    law = folder / "fits" / f"{findings.fit.law.name}.json"
    write_text(law, findings.fit.to_json())
    summary = folder / "summary.txt"
    write_text(summary, findings.text + "\n")
    return (folder / "runs.csv", law, summary, *draw(findings, folder, folder / "figures"))


def draw(findings: Findings, source: Path, out: Path) -> list[Path]:
    """Every figure that the findings and the curves beside their table can feed."""
    file = (source if source.is_dir() else source.parent) / "curves.parquet"
    curves = pd.read_parquet(file) if file.exists() else None
    forecast, score = findings.outcomes[0] if findings.outcomes else (None, None)
    return figures.draw_all(
        findings.table,
        curves,
        findings.fit,
        findings.isoflop,
        forecast,
        score,
        out,
        backtest=findings.backtest,
    )


def plot_table(source: Path, out: Path | None = None) -> list[Path]:
    """Draw the figures of a results folder or table; ``out`` left out: ``figures`` beside the table.

    Raises:
        AnalysisError: the table cannot be read or analysed.
    """
    folder = source if source.is_dir() else source.parent
    return draw(examine(source), source, out or folder / "figures")


def fit_table(source: Path, law: str = LAW, **options: Any) -> Fit:
    """Fit one law to a results folder or table; ``options`` are those of :func:`analysis.fit`.

    Raises:
        AnalysisError: the request is bad, or the table cannot be read.
    """
    return fit(law, load(source), **options)
