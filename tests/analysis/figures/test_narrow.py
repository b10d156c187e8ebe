"""Pages of one column, and of large type: no text of an axis lies on another's."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import coordinates, figures, fit
from analysis.figures import look
from analysis.figures.basins import basins_over
from analysis.figures.scales import log_y
from analysis.hyperparameters.basins import find
from tests.analysis.test_coordinates import measured


@pytest.fixture(scope="module")
def swept():
    rows = [
        {"params": n, "tokens": d, "learning_rate": rate, "loss": 3 + 0.1 * np.log10(rate * n**0.5) ** 2}
        for n in (1e6, 1e7, 1e8, 1e9)
        for d in (1e9, 1e10)
        for rate in np.geomspace(1e-5, 1e-2, 7)
    ]
    return find(pd.DataFrame(rows), batch=None, bootstrap=0)


def texts(figure: Figure) -> list[Text]:
    """What is written beside the axes that are shown, where it is drawn."""
    figure.draw_without_rendering()
    found = list[Text]()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            found += [text for text in (axis.label, *ticks) if text.get_visible() and text.get_text()]
    return found


@pytest.mark.parametrize(
    ("style", "width"), [("paper", 3.25), pytest.param("talk", 6.75, marks=pytest.mark.slow)]
)
def test_no_text_of_an_axis_lies_on_another(found, swept, style, width):
    check = coordinates.check(measured())
    with look(style, width):
        drawn = {
            "law": figures.law(found),
            "residuals": figures.fit_and_residuals(found),
            "intervals": figures.intervals(found),
            "basins": basins_over(swept),
            "coordinates": figures.coordinates(check),
        }
    for name, axes in drawn.items():
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts(axes[0].get_figure(root=True))]
        lying = [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.overlaps(b)]
        assert not lying, (name, lying)


def test_labels_of_a_slide_have_air_and_end_within_it():
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 3e8, 6), np.geomspace(1e8, 6.4e9, 4)))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": 1.7 + 400 / n**0.34 + 410 / d**0.28})
    slide = fit("chinchilla", table, bootstrap=0)
    with look("talk"):
        for axes in (figures.law(slide), figures.fit_and_residuals(slide)):
            figure = axes[0].get_figure(root=True)
            boxes = [text.get_window_extent() for text in texts(figure)]
            assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in boxes)
            air = [box.padded(0.1 * box.height) for box in boxes if box.width > box.height]
            assert not any(one.overlaps(other) for one, other in combinations(air, 2))


def test_small_panels_stay_side_by_side_where_a_page_is_narrow(swept):
    def across():
        return len({axes.get_subplotspec().colspan.start for axes in basins_over(swept)})

    with look("paper", 3.25):
        narrow = across()
    assert (across(), narrow) == (6, 3)


def test_an_axis_with_room_for_one_tick_has_two_that_lie_apart():
    axes = Figure(figsize=(3, 1.2)).subplots()
    axes.tick_params(labelsize=15)
    log_y(axes, [0.0004, 0.005], 1.2, 1.2, "{:g}".format)
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert ticks == pytest.approx([0.001, 0.003])
