"""Styles, widths and formats; the axes that are given; nobody's settings change."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import AnalysisError, figures
from analysis.figures import Rendering, look, save

STYLE = 'lines.linewidth: 3\naxes.edgecolor: "#00ff00"  # a colour\n\nfont.size: 7\n'


def test_a_style_goes_before_the_users_settings_and_those_before_ours(tmp_path, found):
    (tmp_path / "mine.mplstyle").write_text(STYLE)
    before = dict(mpl.rcParams)
    with mpl.rc_context({"xtick.labelsize": 13.0}):
        with look():
            own = dict(mpl.rcParams)
        with look(tmp_path / "mine.mplstyle", width=3.25):
            styled = dict(mpl.rcParams)
            with look():  # as every figure does
                assert dict(mpl.rcParams) == styled
    assert own["xtick.labelsize"] == 13 and own["ytick.labelsize"] == 8.5 and own["lines.linewidth"] == 1.4
    assert styled["lines.linewidth"] == 3 and styled["axes.edgecolor"] == "#00ff00"
    assert styled["xtick.labelsize"] == 13 and styled["figure.figsize"][0] == 3.25
    assert dict(mpl.rcParams) == before


def test_marks_and_lines_follow_the_settings(found):
    with mpl.rc_context({"lines.linewidth": 4.5, "lines.markersize": 9}):
        thick = figures.law(found)[0].lines[0].get_linewidth()
    assert thick == pytest.approx(4.5)
    assert figures.law(found)[0].lines[0].get_linewidth() == pytest.approx(1.4)


def test_what_is_no_style_is_told_all_at_once(tmp_path):
    (tmp_path / "bad.mplstyle").write_text("lines.linewdth: 3\nfont.size: huge\nsavefig.dpi\n")
    with pytest.raises(AnalysisError) as told:
        Rendering(("pdf", "gif"), tmp_path / "bad.mplstyle", 99.0)
    for text in (
        "format='gif': must be one of pdf, svg, png",
        "width = 99 inches: must be 1.5 to 40",
        "bad.mplstyle:1: lines.linewdth: no setting of matplotlib; did you mean lines.linewidth?",
        "bad.mplstyle:2: font.size",
        "bad.mplstyle:3: savefig.dpi: must be NAME: VALUE",
    ):
        assert text in str(told.value)
    with pytest.raises(AnalysisError, match="style='papr': no such style; choose paper or talk"):
        Rendering(style="papr")


def test_files_have_every_format_the_width_and_equal_bytes(tmp_path, found):
    rendering = Rendering(("pdf", "svg", "png"), "paper", 3.25)
    for folder in ("one", "two"):
        paths = save({"fit": lambda: figures.intervals(found)}, tmp_path / folder, rendering)
        assert [path.name for path in paths] == ["fit.pdf", "fit.svg", "fit.png"]
    for path in paths:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    assert f'width="{3.25 * 72:g}pt"' in paths[1].read_text()[:900]
    pdf = paths[0].read_bytes()
    assert b"/Type3" not in pdf and b"/FontFile2" in pdf  # TrueType, as conferences ask


def test_narrow_pages_have_a_panel_a_row(found):
    with look(width=3.25):
        narrow = figures.fit_and_residuals(found)
    wide = figures.fit_and_residuals(found)
    rows = [[round(axes.get_subplotspec().rowspan.start) for axes in panels] for panels in (narrow, wide)]
    assert rows == [[0, 1, 2], [0, 1, 1]]


def test_axes_that_are_given_are_drawn_on_and_returned(found, study):
    figure = Figure()
    panels = figure.subplots(2, 2)
    assert figures.loss_against_compute(study, found, ax=panels[0, 0]) is panels[0, 0]
    drawn = figures.law(found, axes=panels[1])
    assert list(drawn) == list(panels[1]) and all(len(axes.lines) for axes in drawn)
    assert not panels[0, 1].has_data() and figure.get_suptitle() == ""
    with pytest.raises(AnalysisError, match="axes: 1 given; give 3: fit, C, D"):
        figures.fit_and_residuals(found, axes=panels[0, 0])


def test_many_runs_are_small_and_without_a_rim():
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7, 9, 770), 10 ** rng.uniform(9, 11, 770)
    loss = (1.7 + 400 / n**0.34 + 900 / d**0.3) * np.exp(rng.normal(0, 0.01, 770))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": loss})
    few, many = (figures.loss_against_compute(rows).collections[0] for rows in (table[:100], table))
    assert many.get_sizes()[0] < 0.5 * few.get_sizes()[0]
    assert many.get_linewidth()[0] == 0 < few.get_linewidth()[0] and many.get_alpha() < 1
