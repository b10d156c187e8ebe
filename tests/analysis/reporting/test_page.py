"""The page as a file: what it says, that it is harmless, whole, offline, and the same for the same input."""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import plotly.graph_objects as plotly
import pytest

from analysis import AnalysisError, findings, load
from analysis.referee.outcome import Outcome, Page
from analysis.reporting import page, runs
from analysis.reporting.charts.curves import POINTS, RUNS, training_curves
from analysis.reporting.formula import typeset
from analysis.reporting.provenance import ranges
from analysis.reporting.words import Waiting
from tests.analysis.reporting.conftest import HOSTILE


class Elements(HTMLParser):
    """Tags of a page with their attributes, and the words of its elements by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.payload, self._inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = str(dict(attrs).get("id")) if tag == "script" else tag

    def handle_data(self, data):
        if self._inside == "payload":
            self.payload += data
        elif self._inside not in ("script", "style", "None"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def hostile(study, paged):
    table = study.assign(study=HOSTILE, label=[f"{HOSTILE}{i}" for i in range(len(study))])
    return paged(table.assign(**{"note<b>": HOSTILE}))


@pytest.fixture(scope="module")
def elements(hostile):
    return Elements(hostile[1].read_text("utf-8"))


@pytest.fixture(scope="module")
def payload(elements):
    return json.loads(elements.payload)


def test_the_band_of_residuals_is_what_the_fit_says_of_its_noise(hostile, payload, elements):
    sd = 100 * hostile[0].fit.noise.sd
    (chart,) = [chart for chart in payload["charts"] if chart["name"] == "residuals"]
    assert {(shape["y0"], shape["y1"]) for shape in chart["layout"]["shapes"]} == {(-sd, sd)}
    assert f"deviation of the fitted runs, {sd:.2g} %" in elements.text


def test_nothing_that_a_table_says_becomes_a_tag(elements, payload):
    tags = [tag for tag, _ in elements.tags]
    assert tags.count("script") == 4 and "img" not in tags
    assert tags.count("b") == 3  # of what stands at the top
    assert HOSTILE in elements.text and "<" not in elements.payload
    labels = next(column for column in payload["columns"] if column["name"] == "label")
    assert labels["words"][0] == f"{HOSTILE}0"
    drawn = [
        text for chart in payload["charts"] for trace in chart["traces"] for text in trace.get("text", [])
    ]
    assert drawn and not any("<img" in text for text in drawn)


def test_nothing_is_fetched_and_no_folder_is_named(hostile, elements):
    text = hostile[1].read_text("utf-8")
    assert all(
        "src" not in have and not str(have.get("href", "#")).startswith("http") for _, have in elements.tags
    )
    policy = next(have["content"] for _, have in elements.tags if have.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'") and "http" not in str(policy)
    assert str(hostile[1].parent) not in text
    digest = hashlib.sha256((hostile[1].parent / "runs.csv").read_bytes()).hexdigest()
    assert digest in text


def test_a_held_out_run_that_waits_and_what_was_read_of_the_table_are_said(study, paged, tmp_path):
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "runs.csv"
    study.assign(kind=["a", "b"] * (len(study) // 2)).rename(columns={"loss": "c4"}).to_csv(file, index=False)
    table = load(file, where='kind == "a"', columns={"loss": "c4"})
    beside = page.Beside(waiting=(Waiting("w16-s0", 1e11, 1e12),))
    written = page.report(findings.examine(table, tmp_path), [file], referee=False, beside=beside)
    found = Elements(written)
    fitted = len(study) // 2 - 2
    for said in (
        "sub/runs.csv",
        'rows where kind == "a"; loss: column c4',
        f"The table has {len(study)} rows, of which {fitted + 2} are read; {fitted} are fitted, 2 repeating",
        "Held out and not trained: w16-s0.",
        "1 run held out, not trained",
        f"Runs: {fitted} fitted, 2 of repeated seeds; runs of one size are joined.",
    ):
        assert said in found.text
    assert "No run was held out" not in found.text and "held out, not trained" in found.payload


def test_the_same_input_gives_the_same_bytes(hostile):
    found, path = hostile
    again = page.report(found, [path.parent / "runs.csv"], referee=False)
    assert hashlib.sha256(again.encode()).digest() == hashlib.sha256(path.read_bytes()).digest()


def settled(value, rows):
    """Stands in for what the page does: names of colours and columns become plain values."""
    if isinstance(value, dict):
        return {
            key: settled(one, rows)
            for key, one in value.items()
            if key not in ("rows", "form", "run", "brief")
        }
    if isinstance(value, list):
        return [settled(one, rows) for one in value]
    if isinstance(value, str) and value.startswith("@"):
        return "Viridis" if value == "@scale" else [1.0] * rows if value.startswith("@log") else "#123456"
    return value


def test_plotly_knows_every_figure(payload):
    assert len(payload["charts"]) == 6
    for chart in payload["charts"]:
        traces = []
        for spec in chart["traces"]:
            trace = settled(spec, len(spec.get("rows", ())))
            for way in ("x", "y"):
                if isinstance(trace[way], str):
                    trace[way] = [1.0]
            traces.append(plotly.Scatter(trace))
        plotly.Layout(settled(chart["layout"], 0))


def test_every_figure_says_which_rows_it_was_drawn_from(hostile, payload):
    found, _ = hostile
    role = found.table.frame["role"].to_numpy(object)
    drawn = {chart["name"]: chart["rows"] for chart in payload["charts"]}
    assert drawn["loss"] == drawn["design"] == list(range(len(role)))
    assert drawn["isoflop"] == np.flatnonzero(role == "fit").tolist()
    assert drawn["residuals"] == np.flatnonzero(role != "noise").tolist()
    assert ranges([0, 1, 2, 5, 7, 8]) == "1–3, 6, 8–9"


def test_a_new_run_varies_more_than_the_law(payload):
    loss = next(chart for chart in payload["charts"] if chart["name"] == "loss")
    bands = {trace["name"]: np.array(trace["y"]) for trace in loss["traces"] if trace.get("fill") == "toself"}
    new, law = bands["90% interval of a new run"], bands["90% confidence band of the law"]
    half = len(new) // 2
    assert (new[:half] <= law[:half]).all() and (new[half:] >= law[half:]).all() and (new != law).any()


def test_rows_say_what_the_law_leaves_over_and_why_they_are_not_fitted(hostile):
    found, _ = hostile
    table, frame = runs.read(found), found.table.frame
    fitted = table.text("use") == runs.FITTED
    assert fitted.tolist() == (frame["role"] == "fit").tolist()
    assert np.allclose(table["residual"][fitted], 100 * np.expm1(found.fit.residuals), atol=1e-4)
    assert np.allclose(table["C"], frame["flops"], rtol=1e-6)
    assert set(table.text("use")[~fitted]) == {"role is noise", "role is holdout"}


def test_the_summary_says_what_was_found(hostile, elements):
    found, _ = hostile
    (trial,) = found.trials
    assert f"measured {trial.score.loss:.4f}" in elements.text
    assert f"by {abs(found.analysis.first.backtest.bias):.2%} on average" in elements.text
    assert "28 are fitted, 3 repeating seeds, 1 held out" in elements.text
    for verdict in found.fit.identified.values():
        assert verdict.verdict == "yes" or verdict.reason in elements.text


def test_a_bare_table_has_a_page(paged, study, tmp_path):
    bare = study.loc[study["role"] == "fit", ["params", "tokens", "loss"]]
    bare.to_csv(tmp_path / "mine.csv", index=False)
    table = load(tmp_path / "mine.csv")
    found = findings.examine(table, tmp_path / "forecasts")
    elements = Elements(page.report(found, [tmp_path / "mine.csv"], referee=False))
    charts = json.loads(elements.payload)["charts"]
    assert {"loss", "isoflop", "residuals", "design"} <= {chart["name"] for chart in charts}
    assert "mine.csv" in elements.text and "training curves (no curves.parquet" in elements.text


def test_a_law_that_is_not_identified_is_not_drawn(paged, study):
    found, path = paged(study[study["role"] == "fit"].head(4))
    assert not found.fit.usable
    elements = Elements(path.read_text("utf-8"))
    charts = {chart["name"]: chart for chart in json.loads(elements.payload)["charts"]}
    assert "residuals" not in charts and found.fit.status.message in elements.text
    assert not any("law" in trace.get("name", "") for trace in charts["loss"]["traces"])


def test_every_variant_has_its_law_and_figures(paged, study):
    fit_rows = study[study["role"] == "fit"]
    both = [fit_rows.assign(variant=v, run_id=v + fit_rows["run_id"], loss=fit_rows["loss"] * by) for v, by in
            (("plain", 1.0), ("better", 0.97))]  # fmt: skip
    found, path = paged(pd.concat(both, ignore_index=True))
    elements = Elements(path.read_text("utf-8"))
    payload = json.loads(elements.payload)
    charts = {chart["name"]: chart["rows"] for chart in payload["charts"]}
    count = len(fit_rows)
    assert charts["loss-1"] == charts["residuals-1"] == list(range(count))
    assert charts["loss-2"] == charts["residuals-2"] == list(range(count, 2 * count))
    assert "Variant better" in elements.text and found.analysis.variants.reference == "plain"


def test_curves_are_few_and_short(study, hostile):
    found, _ = hostile
    table = runs.read(found)
    many = pd.DataFrame({"run_id": [f"{i:06d}" for i in range(2000)], "label": "run", "role": "fit"})
    many.loc[1990:, "role"] = "holdout"
    numbers = [runs.Column(x, x, "count", tuple(np.arange(1.0, 2001.0))) for x in ("N", "D", "loss")]
    role = runs.Column("role", "role", "text", tuple(many["role"]))
    large = runs.Runs(many.assign(loss=2.0), (*numbers, role), {})
    tokens, ids = np.tile(np.arange(1.0, 101.0), 2000), np.repeat(many["run_id"].to_numpy(object), 100)
    logged = pd.DataFrame({"run_id": ids, "tokens": tokens, "train/loss": 3.0})
    chart = training_curves(large, logged)
    assert chart is not None
    lines = [trace for trace in chart.traces if trace["mode"] == "lines"]
    assert len(lines) == RUNS and max(len(trace["x"]) for trace in lines) <= POINTS
    assert {1990, 1999} <= {trace["run"] for trace in lines} and len(table) == len(study)
    assert training_curves(table, None) is None


def test_a_formula_is_typeset_and_escaped():
    assert typeset("L = A / N^alpha") == "<i>L</i> = <i>A</i> / <i>N</i><sup><i>α</i></sup>"
    assert typeset("x<b> & E_0") == "<i>x</i>&lt;<i>b</i>&gt; &amp; <i>E</i><sub>0</sub>"


def test_the_referee_has_a_section(hostile, monkeypatch):
    found, path = hostile
    outcomes = (
        Outcome("pass", "as it should be", name="one", title="first test"),
        Outcome("fail", "something is off", "mend it", 1.25, "a distance", "two", "second test"),
        Outcome("unknown", "nobody said", "say it", name="three", title="third test"),
    )
    judged = Page("chinchilla", "L = E", "total", 28, "ok", outcomes)
    monkeypatch.setattr(page, "check", lambda table, law, **_: judged)
    elements = Elements(page.report(found, [path.parent / "runs.csv"]))
    for said in ("first test", "second test a distance: 1.25", "something is off", "mend it", "say it"):
        assert said in elements.text
    assert "1 of 3 tests of a referee failed: second test. 1 could not look." in elements.text
    shown = [have for tag, have in elements.tags if tag == "details" and have.get("class") == "tests"]
    assert ["open" in have for have in shown] == [True, False, False]


def test_tests_that_cannot_be_made_say_why(hostile, monkeypatch):
    def refuse(table, law, **_):
        raise AnalysisError("there is no such column")

    found, path = hostile
    monkeypatch.setattr(page, "check", refuse)
    elements = Elements(page.report(found, [path.parent / "runs.csv"]))
    assert "The tests could not be made: there is no such column." in elements.text
