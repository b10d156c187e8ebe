"""The line of a law is solid only where it was fitted and is identified; what is named or not drawn."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import analysis
from analysis import figures, fit
from analysis.figures.isoflop import no_isoflop
from analysis.figures.lines import DASHED, DOTTED, at_best, identified
from analysis.figures.residuals import letter
from analysis.optimal_size import isoflop


def table(sizes, tokens, noise=0.002, seed=0):
    n, d = map(np.ravel, np.meshgrid(sizes, tokens))
    loss = (1.7 + 400 / n**0.34 + 900 / d**0.3) * np.exp(np.random.default_rng(seed).normal(0, noise, len(n)))
    return pd.DataFrame({"params": n, "tokens": d, "loss": loss})


GRID = table(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 3e10, 5))


def strokes(axes):
    """Labels of the law's lines and how they are drawn."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def dashes(line):
    return line._unscaled_dash_pattern  # what set_linestyle keeps


def test_the_frontier_is_dashed_beyond_the_sizes_too():
    rows = table(np.geomspace(1e7, 1e8, 8), np.geomspace(1e9, 1e12, 6), 1e-4)  # whose sizes end early
    found = fit("chinchilla", rows, bootstrap=0)
    axes = figures.loss_against_compute(rows, found)
    lines = strokes(axes)
    solid, beyond = lines["chinchilla law, compute-optimal"], axes.lines[-1]
    last = found.optimal(solid.get_xdata()[-1])["N"].iloc[0]
    assert last <= 1.01 * 1e8 < found.optimal(beyond.get_xdata()[2])["N"].iloc[0]
    assert beyond.get_xdata()[-1] == pytest.approx(6 * 1e8 * 1e12) and dashes(beyond) == DASHED
    assert beyond.get_xdata()[0] == solid.get_xdata()[-1]  # no gap


def test_what_is_not_identified_is_dotted(study):
    few = fit("chinchilla", study[study["width"].isin([16, 24, 32, 48])], bootstrap=100)
    assert few.usable and not identified(few, "best")
    lines = strokes(figures.loss_against_compute(study, few))
    assert dashes(lines["chinchilla law, compute-optimal, not identified"]) == DOTTED
    assert "chinchilla law, compute-optimal" not in lines


def test_a_law_that_allots_nothing_has_no_frontier(monkeypatch):
    found = fit("chinchilla", GRID, bootstrap=0)
    gone = found.__class__(**{**found.__dict__, "solution": found.solution | {"A": 0.0}})
    assert at_best(gone, np.array([1e18])) is None
    assert "chinchilla law, compute-optimal" not in strokes(figures.loss_against_compute(GRID, gone))


def test_outliers_are_lettered_and_named():
    odd = GRID.assign(run_id=[f"run{i}" for i in range(len(GRID))])
    odd.loc[7, "loss"] *= 1.2
    axes = figures.fit_and_residuals(fit("chinchilla", odd, bootstrap=0))
    assert axes[0].texts[0].get_text() == "a"
    assert axes[0].figure.get_supxlabel().replace("\xa0", " ").startswith("far off:  a: run7, +")
    even = table(GRID["params"].unique(), GRID["tokens"].unique(), noise=0)
    even["loss"] *= 1 + 0.002 * (-1.0) ** np.arange(len(even))
    assert not figures.fit_and_residuals(fit("chinchilla", even, bootstrap=0))[0].texts


def test_letters_of_rows_that_lie_together_lie_apart():
    axes = Figure(figsize=(6, 4)).subplots()
    places = {0: (0.5, 0.9), 1: (0.1, 0.9), 2: (0.50, 0.5), 3: (0.54, 0.49)}
    axes.plot(*zip(*places.values(), strict=True), "o")
    letter(axes, places, [0, 1, 2, 3])
    axes.figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert not any(one.overlaps(other) for one, other in combinations(boxes.values(), 2))
    dots = axes.transData.transform([*places.values()])
    assert boxes["c"].x1 < dots[2, 0] and boxes["d"].x0 > dots[3, 0]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (table(np.geomspace(1e7, 1e9, 8), np.geomspace(1e9, 1e11, 300)), "compute comes in no budgets"),
        (table(np.geomspace(1e7, 1e9, 3), np.geomspace(1e9, 1e11, 3)), "0 budgets have 4 sizes or more"),
    ],
)
def test_checkpoints_and_grids_have_no_isoflop_figure(rows, why):
    assert why in no_isoflop(rows, isoflop.minima(rows))


def test_seeds_are_points_beside_their_mean_and_errors_are_defined():
    n, c = map(np.ravel, np.meshgrid(np.geomspace(2e7, 2e9, 7), [1e18, 1e19, 1e20]))
    d = c / (6 * n)
    rows = pd.DataFrame({"params": n, "tokens": d, "loss": 1.7 + 400 / n**0.34 + 900 / d**0.3})
    both = pd.concat([rows.assign(loss=rows["loss"] * factor) for factor in (0.99, 1.01)])
    minima = analysis.isoflop.minima(both)
    left, right = figures.isoflop_curves(minima, fit("chinchilla", both, bootstrap=0), both)
    seeds = [line for line in left.lines if len(line.get_xdata()) == 14]
    assert len(seeds) == 3 and "single runs" in left.get_legend_handles_labels()[1]
    assert r"minima $\pm$ 1 s.e." in right.get_legend_handles_labels()[1]
    assert any("(s.e.)" in label for label in right.get_legend_handles_labels()[1])


@pytest.mark.parametrize("ends", [(3e18, 4e18), (2e10, 2.5e10), (1e8, 1e12), (1.01, 1.02)])
def test_axes_have_two_ticks_and_more(ends):
    from matplotlib.figure import Figure

    from analysis.figures import style

    axes = Figure().add_subplot()
    style.log_x(axes, ends, style.power if ends[0] > 1e15 else style.count)
    low, high = axes.get_xlim()
    assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 2
