"""The page itself: one HTML file, with plotly.js inside, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from analysis import files
from analysis.collapse import Collapse
from analysis.collapse import collapse as compare_curves
from analysis.errors import AnalysisError
from analysis.findings import Findings, curves_beside
from analysis.referee.outcome import Page
from analysis.referee.page import check
from analysis.reporting import provenance, view, words
from analysis.reporting import runs as rows
from analysis.reporting.charts.calibration import calibration
from analysis.reporting.charts.chart import Chart
from analysis.reporting.charts.collapse import collapse
from analysis.reporting.charts.compute import loss_against_compute
from analysis.reporting.charts.curves import training_curves
from analysis.reporting.charts.design import design
from analysis.reporting.charts.forecasts import forecasts
from analysis.reporting.charts.isoflop import isoflop
from analysis.reporting.charts.residuals import noise, residuals
from analysis.reporting.runs import Runs
from analysis.reporting.words import Missing, Waiting
from analysis.tables.table import About, Table
from analysis.variants.comparison import COLUMN

FILE = "report.html"
LISTED = 100  # runs without a result
SECTIONS = {
    "summary": "Summary",
    "law": "The law",
    "figures": "Figures",
    "forecasts": "Forecasts",
    "check": "What a referee would say",
    "runs": "Runs",
    "spec": "Spec and plan",
    "provenance": "Provenance",
}


@dataclass(frozen=True)
class Document:
    """A text that belongs to the study, such as its spec; ``open``: shown without a click."""

    title: str
    text: str
    open: bool = False


@dataclass(frozen=True)
class Beside:
    """What a page says that no table holds: ``documents`` such as spec and plan, ``facts`` of provenance by
    name, the runs ``missing`` of those ``planned``, and held-out ones ``waiting``."""

    documents: tuple[Document, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    missing: tuple[Missing, ...] = ()
    planned: int = 0
    waiting: tuple[Waiting, ...] = ()


def report(
    findings: Findings,
    sources: Sequence[Path],
    *,
    title: str | None = None,
    referee: bool = True,
    beside: Beside = Beside(),
) -> str:
    """All that a study says as one HTML page, which needs no network.

    Args:
        findings: what its table says, as of :func:`analysis.findings.examine`.
        sources: the results folder or files of the table, whose hashes and curves the page has.
        title: of the page; left out: the study's name, else the file's.
        referee: put the table and its law to the referee's tests, which takes some seconds.
        beside: what the table does not hold.

    Raises:
        AnalysisError: the curves cannot be read.
    """
    from plotly.offline import get_plotlyjs  # which only a page needs

    runs, curves = rows.read(findings), _curves(sources)
    checked, unchecked = _check(findings, curves) if referee else (None, "The tests were not asked for.")
    family = compare_curves(findings.table, curves)
    groups = _figures(runs, findings, curves, family, beside.waiting)
    outcomes = _outcomes(runs, findings)
    charts = [chart for group in groups for chart in group["charts"]] + outcomes
    first = findings.analysis.first
    variant = next(iter(findings.analysis.described))
    described = findings.analysis.described.items()
    named = title or _title(findings, sources)
    return _template().render(
        title=named,
        style=Markup(_asset("style.css")),
        script=Markup(_asset("report.js")),
        plotly=Markup(get_plotlyjs()),
        payload=_payload(runs, charts),
        contents=_contents(groups, outcomes),
        read=_read(findings.table.about),
        signs=words.signs(findings, checked, len(beside.missing), beside.waiting),
        summary=words.summary(findings, checked, beside.missing, beside.planned),
        missing=beside.missing[:LISTED],
        unlisted=len(beside.missing[LISTED:]),
        laws=[view.law_view(name, one) for name, one in described],
        variants=findings.analysis.variants.summary() if findings.analysis.variants else "",
        figures=groups,
        omitted=view.omitted(first, family, findings.trials, curves is not None, [c.name for c in charts]),
        outcomes=outcomes,
        waiting=", ".join(run.label for run in beside.waiting),
        forecasts=[view.forecast_view(trial) for trial in findings.trials],
        check=view.check_view(checked, variant) if checked else None,
        unchecked=unchecked,
        common=sorted(runs.common.items()),
        notes=[*findings.table.about.notes, *findings.notes],
        documents=beside.documents,
        trained=beside.facts,
        versions=provenance.versions(),
        files=provenance.hashes(sources),
        manifest=charts,
    )


def write(findings: Findings, sources: Sequence[Path], path: Path, **options: Any) -> Path:
    """Write the page of :func:`report`, in place of what is there; returns where."""
    files.replace(path, report(findings, sources, **options))
    return path


def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    environment.filters["thousands"] = lambda value: f"{value:,}"
    environment.filters["ranges"] = provenance.ranges
    return environment.from_string(_asset("page.html"))


def _asset(name: str) -> str:
    return resources.files("analysis.reporting").joinpath("assets", name).read_text("utf-8")


def _title(findings: Findings, sources: Sequence[Path]) -> str:
    frame: Any = findings.table.frame
    named = frame["study"].dropna().unique() if "study" in frame.columns else ()
    if len(named) == 1:
        return str(named[0])
    return ", ".join("/".join([source.parent.name, source.name]).strip("/") for source in sources)


def _read(table: About) -> str:
    """Which rows and which column of losses were read, where that was said."""
    said = [f"rows where {table.where}"] if table.where else []
    said += [f"loss: column {file}" for file, ours in table.columns.items() if "loss" == ours != file]
    return "; ".join(said)


def _curves(sources: Sequence[Path]) -> pd.DataFrame | None:
    return curves_beside(sources[0]) if len(sources) == 1 else None


def _check(findings: Findings, curves: pd.DataFrame | None) -> tuple[Page | None, str]:
    """The referee's page of the first law, or why there is none."""
    name, first = next(iter(findings.analysis.described.items()))
    frame: Any = findings.table.frame
    try:
        part = frame if name is None else frame[frame[COLUMN] == name]
        return check(part, first.fit.law, curves=curves), ""
    except AnalysisError as error:
        return None, f"The tests could not be made: {error.problems[0].text()}."


def _figures(
    runs: Runs,
    findings: Findings,
    curves: pd.DataFrame | None,
    family: Collapse,
    waiting: Sequence[Waiting],
) -> list[dict[str, Any]]:
    """Figures of every variant, then those of the whole table."""
    frame: Any = findings.table.frame
    groups = []
    for i, (name, one) in enumerate(findings.analysis.described.items()):
        tail = "" if name is None else f"-{i + 1}"
        table = findings.table if name is None else Table(frame[frame[COLUMN] == name])
        trials = findings.trials if name is None else findings.trials_of(name)
        charts = (
            loss_against_compute(runs, table, one.fit, trials, name=f"loss{tail}"),
            isoflop(runs, table, one.isoflop, name=f"isoflop{tail}"),
            residuals(runs, runs.places(table.frame), one.fit, name=f"residuals{tail}"),
        )
        groups.append({"variant": name, "charts": [chart for chart in charts if chart]})
    first = findings.analysis.first.fit
    shared = (
        design(runs, first, waiting),
        training_curves(runs, curves),
        collapse(runs, family),
        noise(runs, findings.table, first),
    )
    whole = [chart for chart in shared if chart]
    if len(groups) == 1:
        groups[0]["charts"] += whole
    elif whole:
        groups.append({"variant": None, "charts": whole})
    return groups


def _outcomes(runs: Runs, findings: Findings) -> list[Chart]:
    """A figure of forecasts for every variant that has some."""
    charts = []
    for i, (name, one) in enumerate(findings.analysis.described.items()):
        trials = findings.trials if name is None else findings.trials_of(name)
        anchor = "outcomes" if name is None else f"outcomes-{i + 1}"
        chart = forecasts(runs, trials, one.backtest, name=anchor)
        if chart is not None:
            charts.append(chart)
    kept = calibration(runs, findings.trials)
    return charts if kept is None else [*charts, kept]


def _contents(groups: Sequence[Mapping[str, Any]], outcomes: Sequence[Chart]) -> list[dict[str, Any]]:
    parts = {
        "figures": [
            {"name": chart.name, "title": _named(chart, group["variant"])}
            for group in groups
            for chart in group["charts"]
        ],
        "forecasts": [
            {"name": chart.name, "title": chart.title}
            for i, chart in enumerate(outcomes)
            if chart.title not in {earlier.title for earlier in outcomes[:i]}
        ],
    }
    return [{"name": name, "title": title, "parts": parts.get(name)} for name, title in SECTIONS.items()]


def _named(chart: Chart, variant: str | None) -> str:
    return chart.title if variant is None else f"{chart.title}, {variant}"


def _payload(runs: Runs, charts: Sequence[Chart]) -> Markup:
    """What the page draws from, as JSON that stands in a script element."""
    data = {
        "rows": len(runs),
        "columns": [column.to_dict() for column in runs.columns],
        "charts": [{**chart.to_dict(), "rows": chart.rows.tolist()} for chart in charts],
    }
    return htmlsafe_json_dumps(data, allow_nan=False, separators=(",", ":"))
