"""Bounds by profiles of more than one valley, and profiles whose searches fail at single points."""

import numpy as np
import pandas as pd
import pytest

from analysis import figures, fit
from analysis.fits import edges, profile


def test_bounds_are_the_outermost_crossings():
    at = np.arange(7.0)
    low, high, whole = edges.crossings(at, np.array([1.0, -1.0, 3.0, -1.0, -1.0, 1.0, 2.0]))
    assert (low, high, whole) == (0.5, 4.5, False)
    assert edges.crossings(at, np.array([-1.0, -1.0, -1.0, -1.0, -1.0, 3.0, 4.0])) == (None, 4.25, True)
    assert edges.crossings(at, np.array([2.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0])) == (1.5, None, False)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e12, 5)))
    loss = (1.8 + 480 / n**0.35 + 2100 / d**0.37) * np.exp(0.003 * rng.normal(size=25))
    return fit("chinchilla", pd.DataFrame({"params": n, "tokens": d, "loss": loss}), bootstrap=0)


def test_a_search_that_failed_is_mended_by_its_neighbours(fitted, monkeypatch):
    whole, calls, real = fitted.profile("alpha", simulations=0), [], profile.minimise

    def failing(problem, start, **options):
        ends, values, done = real(problem, start, **options)
        calls.append(len(start))
        if len(calls) <= 2:  # both starts of one point
            values[9] += 1.0
            ends[9] += 1.0
        return ends, values, done

    monkeypatch.setattr(profile, "minimise", failing)
    mended = fitted.profile("alpha", simulations=0)
    assert len(calls) == 2 and mended.objective == pytest.approx(whole.objective, rel=1e-9)
    assert (mended.low, mended.high) == pytest.approx((whole.low, whole.high)) and whole.connected


def test_text_and_figure_say_what_is_not_connected(fitted):
    one = fitted.profile("alpha", simulations=0)
    assert str(one).startswith("profile of alpha: least ") and "90% interval [0.3" in str(one)
    parts = profile.replace(one, connected=False)
    assert not parts.connected and "not connected" in str(parts)
    axes = figures.profile(parts)
    assert axes[0].get_title("left").endswith("], not connected")
    assert "connected" not in axes[0].figure.get_suptitle()
