"""What a page has only of some studies: other laws, collapse, calibration, runs without a result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import Law, findings
from analysis.collapse import collapse as compare
from analysis.reporting import page, runs
from analysis.reporting.charts.calibration import FEWEST, calibration
from analysis.reporting.charts.collapse import MIDDLES, collapse
from analysis.reporting.charts.curves import RUNS
from analysis.reporting.words import Missing
from tests.analysis.conftest import simulate
from tests.analysis.test_collapse import family

LACKING = (
    Missing("w16 <b>", "fit", "failed", "out_of_memory after step 40: no\nmore"),
    Missing("w32", "holdout", "pending", "waits for the others"),
)


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A study with forecasts that were frozen, and their outcomes."""
    folder, table = tmp_path_factory.mktemp("forecasts"), simulate()
    table = table[table["role"] == "fit"]
    later, times = table.tail(FEWEST).assign(role="holdout"), np.arange(2, 2 + FEWEST)
    later[["flops", "tokens"]] = later[["flops", "tokens"]].mul(times, axis=0)
    table = pd.concat([table, later], ignore_index=True)
    table["run_id"] = [f"{i:012x}" for i in range(len(table))]
    later = table[table["role"] == "holdout"]
    before = findings.analyse(table[table["role"] != "holdout"])
    findings.freeze(before, later.drop(columns="loss").to_dict("records"), folder)
    return findings.examine(table, folder, before.on(table))


def test_a_page_by_another_law_says_so(paged, study):
    found, path = paged(study, law="tied")
    text = path.read_text("utf-8")
    assert found.fit.law.name == "tied" and "<i>η</i>" in text and "<i>α</i>" not in text
    assert found.analysis.first.backtest.law == "tied"


def test_rows_have_the_loss_of_a_law_that_takes_more_than_sizes_and_tokens(study):
    for law in ("over-training", Law("wide", {"E": {}, "A": {"width": "alpha"}, "B": {"D": "beta"}})):
        found = findings.examine(study, "nowhere", law=law)
        shown = runs.read(found)
        fitted = shown.text("use") == runs.FITTED
        left = 100 * np.expm1(found.fit.residuals)
        assert shown["residual"][fitted] == pytest.approx(left, abs=1e-3), law


def test_planned_runs_without_a_result_are_told_first_and_listed(paged, study):
    _, path = paged(study, beside=page.Beside(missing=LACKING, planned=30))
    text = path.read_text("utf-8")
    assert "2 of 30 planned runs have no result, 1 of them failed (w16 &lt;b&gt;: out_of_memory after" in text
    assert text.index("2 more have no result") < text.index("Planned runs without a result")
    assert "waits for the others" in text and "w16 <b>" not in text


def test_curves_that_fall_off_are_drawn_so_and_linked_to_their_runs():
    table, curves = family(bad=4)
    found = compare(table, curves)
    rows = runs.Runs(table, (), {})
    chart = collapse(rows, found)
    (off,) = [trace for trace in chart.traces if trace["line"]["dash"] == "dash"]
    assert table["run_id"][off["run"]] == "s4-0" and max(off["y"]) > 3
    assert len(chart.traces) == 9 and off["x"] == pytest.approx(100 * MIDDLES)
    assert "9 curves in 1 group of tokens per parameter" in chart.caption and "1 falls off" in chart.caption
    assert collapse(rows, compare(table, None)) is None
    many = replace(found, curves=found.curves * 40)
    drawn = collapse(rows, many).traces
    assert len(drawn) == RUNS and sum(trace["line"]["dash"] == "dash" for trace in drawn) == 40


def test_calibration_needs_some_frozen_forecasts_with_outcomes(held):
    rows = runs.read(held)
    chart = calibration(rows, held.trials)
    errors = chart.traces[-1]
    for row, z, trial in zip(errors["rows"], errors["y"], held.trials, strict=True):
        assert rows.frame["run_id"].iloc[row] == trial.forecast.target["run_id"]
        assert np.sign(z) == np.sign(trial.score.error)
    assert "count as one (1 group)" in chart.caption
    fewer = [*held.trials[1:], replace(held.trials[0], origin="recomputed")]
    assert calibration(rows, fewer) is None
