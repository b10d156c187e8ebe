"""The page in a browser: it draws, links, filters, sorts, changes its theme and prints, and stays harmless.

SCALING_CHROMIUM=/usr/bin/chromium python -m pytest -m browser tests/analysis/reporting
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import findings
from analysis.reporting import page as report
from tests.analysis.conftest import simulate
from tests.analysis.reporting.conftest import HOSTILE, Paged
from tests.analysis.test_collapse import family

pytestmark = pytest.mark.browser
PATIENCE = 120_000  # milliseconds, on a machine that does much else
FLAGS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox")  # WebGL without a GPU
# where a run is drawn in a figure, in pixels of the window
PLACE = """([name, row]) => {
  const figure = document.querySelector(`[data-chart="${name}"]`), at = figure.getBoundingClientRect();
  const layout = figure._fullLayout;
  for (const trace of figure.data) {
    const i = trace.mode === "markers" && trace.customdata ? trace.customdata.indexOf(row) : -1;
    if (i < 0) continue;
    const [x, y] = [layout.xaxis, layout.yaxis];
    return [at.left + x._offset + x.d2p(trace.x[i]), at.top + y._offset + y.d2p(trace.y[i])];
  }
}"""
# the middle of the dashed curve of a figure
MIDDLE = """name => {
  const figure = document.querySelector(`[data-chart="${name}"]`), at = figure.getBoundingClientRect();
  const trace = figure.data.find(one => one.line.dash === "dash"), i = Math.floor(trace.x.length / 2);
  const [x, y] = [figure._fullLayout.xaxis, figure._fullLayout.yaxis];
  return [at.left + x._offset + x.d2p(trace.x[i]), at.top + y._offset + y.d2p(trace.y[i])];
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    program = os.environ.get("SCALING_CHROMIUM")
    if not program:
        pytest.skip("SCALING_CHROMIUM is not set: the path of a Chromium")
    driver = pytest.importorskip("playwright.sync_api", reason="playwright: make dev EXTRAS=browser")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page that was opened, and all that it complained of or asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 900}, **options)
        self.page.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(path.as_uri())
        self.page.add_style_tag(content="html { scroll-behavior: auto !important }")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.complaints.append(f"asked for {request.url}")

    def draw(self, name: str) -> Any:
        """Scroll to a figure and wait until it is drawn."""
        self.page.evaluate("name => document.getElementById(name).scrollIntoView()", name)
        self.page.wait_for_selector(f'[data-chart="{name}"][data-drawn]')
        return self.page.locator(f'[data-chart="{name}"]')

    def point_at(self, name: str, row: int) -> None:
        """Move the pointer to a run in a figure."""
        x, y = self.page.evaluate(PLACE, [name, row])
        self.page.mouse.move(x - 40, y - 40)
        self.page.mouse.move(x, y, steps=4)

    def filter(self, column: str, text: str) -> str:
        """Fill in a filter; returns what is said of how many are left."""
        before = self.page.inner_text("#shown")
        self.page.fill(f'#table input[data-column="{column}"]', text)
        self.page.wait_for_function(
            "before => document.getElementById('shown').textContent !== before", arg=before
        )
        return self.page.inner_text("#shown")


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    visits: list[Visit] = []

    def go(path: Path, **options: Any) -> Visit:
        visits.append(Visit(chromium, path, **options))
        return visits[-1]

    yield go
    for one in visits:
        one.page.close()
        assert one.complaints == []


@pytest.fixture(scope="module")
def usual(paged: Paged) -> Path:
    table = simulate()
    return paged(table.assign(study=HOSTILE, label=HOSTILE + table["label"]))[1]


@pytest.fixture(scope="module")
def large(paged: Paged) -> Path:
    """A page of 10,000 runs, some of them held out."""
    rng, count = np.random.default_rng(0), 10_000
    params = 10 ** rng.uniform(6, 10, count)
    tokens = params * 10 ** rng.uniform(0.5, 2.5, count)
    loss = (1.7 + 406 / params**0.34 + 410 / tokens**0.28) * np.exp(0.006 * rng.normal(size=count))
    names = [f"run-{i}" for i in range(count)]
    return paged(
        pd.DataFrame({
            "run_id": [f"{i:012x}" for i in range(count)], "label": names, "role": "fit", "params": params,
            "tokens": tokens, "flops": 6 * params * tokens, "loss": loss,
        })
    )[1]  # fmt: skip


def test_every_figure_is_drawn_and_what_a_table_says_does_nothing(visit, usual):
    opened = visit(usual)
    names = opened.page.evaluate(
        "[...document.querySelectorAll('[data-chart]')].map(one => one.dataset.chart)"
    )
    assert names == ["loss", "isoflop", "residuals", "design", "noise", "outcomes"]
    for name in names:
        assert opened.draw(name).locator(".scatterlayer .point").count() >= 8, name
    assert opened.page.evaluate("window.hostile") is None
    assert opened.page.locator("img").count() == 0
    assert opened.page.inner_text("h1") == HOSTILE


def test_a_hover_shows_the_right_run_everywhere(visit, usual):
    opened, row = visit(usual), 6  # which lies apart
    opened.draw("residuals")
    for name in ("loss", "isoflop"):
        opened.draw(name)
        opened.point_at(name, row)
        hover = opened.page.locator(f'[data-chart="{name}"] .hoverlayer .hovertext').first
        hover.wait_for()
        assert HOSTILE + simulate()["label"][row] in hover.text_content()
        for other, rings in (("loss", 1), ("isoflop", 1), ("residuals", 3)):
            assert opened.page.locator(f'[data-chart="{other}"] .ring.here').count() == rings
        assert opened.page.evaluate("document.getElementById('card').textContent").startswith(HOSTILE)
        assert opened.page.locator(f"#table tr[data-row='{row}']").get_attribute("class") == "here"
    assert opened.page.evaluate("window.hostile") is None


def test_a_click_keeps_a_run_and_shows_its_row(visit, usual):
    opened, row = visit(usual), 27
    opened.draw("loss")
    opened.point_at("loss", row)
    opened.page.mouse.down()
    opened.page.mouse.up()
    kept = opened.page.locator(f"#table tr.kept[data-row='{row}']")
    kept.wait_for(state="attached")
    assert opened.page.locator('[data-chart="loss"] .ring.kept').count() == 1
    opened.draw("design")
    opened.page.locator('[data-chart="design"] .ring.kept').wait_for(state="attached")


def test_a_row_of_the_table_is_ringed_in_the_figures(visit, usual):
    opened = visit(usual)
    opened.draw("outcomes")
    opened.draw("loss")
    opened.page.locator("#table").scroll_into_view_if_needed()
    opened.page.locator("#table tr[data-row='10']").hover()
    opened.page.locator('[data-chart="loss"] .ring.here').wait_for(state="attached")
    ring = opened.page.locator('[data-chart="loss"] .ring.here').bounding_box()
    x, y = opened.page.evaluate(PLACE, ["loss", 10])
    assert abs(ring["x"] + ring["width"] / 2 - x) < 2 and abs(ring["y"] + ring["height"] / 2 - y) < 2


def test_a_filter_filters_and_figures_dim_the_others(visit, usual):
    opened, table = visit(usual), simulate()
    opened.draw("loss")
    assert opened.filter("C", ">=4e11") == f"{(table['flops'] >= 3.99e11).sum()} of {len(table)} runs"
    chosen = """document.querySelector('[data-chart="loss"]').data
        .filter(one => one.customdata && one.mode === "markers")
        .flatMap(one => (one.selectedpoints || []).map(i => one.customdata[i]))"""
    opened.page.wait_for_function(f"({chosen}).length > 0")
    assert sorted(opened.page.evaluate(chosen)) == np.flatnonzero(table["flops"] >= 3.99e11).tolist()
    assert opened.filter("N", "10k..20k").startswith(
        f"{((table['flops'] >= 3.99e11) & table['params'].between(1e4, 2e4)).sum()} of"
    )
    opened.page.fill('#table input[data-column="N"]', "> many")
    opened.page.wait_for_selector('#table input.wrong[data-column="N"]')
    opened.page.click("#clear")
    assert opened.page.inner_text("#shown") == f"{len(table)} runs"
    opened.page.fill("#search", "holdout")
    opened.page.wait_for_function("document.getElementById('shown').textContent.startsWith('1 of')")
    opened.page.click("#clear")
    opened.page.click('[data-rows-of="isoflop"]')
    assert opened.page.inner_text("#shown") == f"28 of {len(table)} runs drawn in “IsoFLOP curves”"


def test_a_heading_sorts_up_down_and_back(visit, usual):
    opened, losses = visit(usual), simulate()["loss"]
    heading = opened.page.locator("#table thead th", has_text=re.compile("^loss, "))
    first = "document.querySelector('#table tr[data-row]').dataset.row"
    for order, row in (("ascending", losses.argmin()), ("descending", losses.argmax()), ("none", 0)):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        assert int(opened.page.evaluate(first)) == row


def test_themes_follow_the_reader_and_the_button(visit, usual):
    opened = visit(usual, color_scheme="dark")
    colours = """() => [getComputedStyle(document.body).backgroundColor,
        document.querySelector('[data-chart="loss"]')._fullLayout.font.color]"""
    opened.draw("loss")
    dark = opened.page.evaluate(colours)
    opened.page.evaluate("scrollTo(0, 0)")
    opened.page.click("#theme")
    light = opened.page.evaluate(colours)
    assert dark[0] == "rgb(21, 24, 27)" and light[0] == "rgb(253, 253, 251)" and dark[1] != light[1]


def test_a_zoom_brings_ticks_of_what_is_in_sight(visit, usual):
    opened = visit(usual)
    box = opened.draw("loss").bounding_box()
    ticks = """() => document.querySelector('[data-chart="loss"]').layout.xaxis.tickvals"""
    before = opened.page.evaluate(ticks)
    opened.page.mouse.move(box["x"] + 200, box["y"] + 120)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 330, box["y"] + 300, steps=5)
    opened.page.mouse.up()
    opened.page.wait_for_function(
        f"before => JSON.stringify(({ticks})()) !== before", arg=str(before).replace(" ", "")
    )
    low, high = opened.page.evaluate(
        """() => document.querySelector('[data-chart="loss"]').layout.xaxis.range"""
    )
    after = opened.page.evaluate(ticks)
    assert len(after) >= 2 and all(low <= np.log10(v) <= high for v in after)


def test_it_prints_whole_and_light(visit, usual, tmp_path):
    opened = visit(usual, color_scheme="dark")
    opened.page.evaluate("""addEventListener("beforeprint", () => window.printed = {
        theme: document.documentElement.dataset.theme,
        rows: document.querySelectorAll("#table tr[data-row]").length,
        drawn: document.querySelectorAll("[data-drawn]").length,
        closed: document.querySelectorAll("details:not([open])").length,
    })""")
    opened.page.pdf(path=tmp_path / "report.pdf")
    rows = len(simulate())
    assert opened.page.evaluate("window.printed") == {"theme": "light", "rows": rows, "drawn": 6, "closed": 0}
    assert opened.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert (tmp_path / "report.pdf").stat().st_size > 50_000


def test_a_narrow_window_has_no_scroll_bar_across(visit, usual):
    opened = visit(usual)
    opened.page.set_viewport_size({"width": 390, "height": 800})
    for name in ("loss", "residuals", "outcomes"):
        opened.draw(name)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_ten_thousand_runs_stay_usable(visit, large):
    assert large.stat().st_size < 10e6
    opened = visit(large)
    for name in ("loss", "residuals", "design", "noise", "loss"):
        opened.draw(name)
    assert opened.page.locator("canvas").count() <= 16  # browsers drop older contexts of WebGL
    assert opened.page.locator("#table tr").count() < 60
    opened.point_at("loss", 4321)
    opened.page.locator('[data-chart="loss"] .ring.here').wait_for(state="attached", timeout=5000)
    seconds = opened.page.evaluate("""() => new Promise(done => {
        const begin = performance.now(), input = document.querySelector('#table input[data-column="N"]');
        const told = new MutationObserver(() => done((performance.now() - begin) / 1000));
        told.observe(document.getElementById("shown"), {childList: true});
        input.value = ">1e9"; input.dispatchEvent(new Event("input"));
    })""")
    assert seconds < 2
    box = opened.page.locator("#table")
    box.evaluate("one => one.scrollTop = one.scrollHeight")
    opened.page.wait_for_function("document.querySelector('#table tr[data-row]:last-of-type') !== null")
    assert opened.page.locator("#table tr").count() < 60


def test_a_curve_that_falls_off_is_found_as_its_run(visit, tmp_path):
    table, curves = family(bad=4)
    table["flops"] = 6 * table["params"] * table["tokens"]
    table.to_csv(tmp_path / "runs.csv", index=False)
    curves.to_parquet(tmp_path / "curves.parquet")
    found = findings.examine(table, tmp_path / "forecasts")
    opened = visit(report.write(found, [tmp_path], tmp_path / "report.html", referee=False))
    figure = opened.draw("collapse")
    assert figure.locator(".scatterlayer .trace").count() == 9
    (x, y), row = opened.page.evaluate(MIDDLE, "collapse"), table.index[table["run_id"] == "s4-0"][0]
    opened.page.mouse.move(x - 40, y - 40)
    opened.page.mouse.move(x, y, steps=4)
    hover = figure.locator(".hoverlayer .hovertext").first
    hover.wait_for()
    assert "s4-0" in hover.text_content()
    assert opened.page.locator(f"#table tr[data-row='{row}']").get_attribute("class") == "here"
