"""Laws from formulas in a file, and the script that fits 65 of them."""

import numpy as np
import pytest

from analysis import AnalysisError


def test_a_formula_becomes_a_law_with_its_linear_parameters(script):
    law = script("formulas").law(
        "saturating",
        "E + A*max(x, 1)**(-b)*(1 + C*u**2)",
        dict.fromkeys("EACb", (0, 9)),
        ["x", "y"],
        ["u = log(x)"],
    )
    assert law.linear == ("E", "A")  # and C not with A: they are multiplied
    assert law.inputs == ("x",)
    found = law.values({"E": 1.0, "A": 2.0, "b": 0.5, "C": 3.0}, {"x": np.array([0.5, 4.0])})
    expected = [1 + 2 * (1 + 3 * np.log(0.5) ** 2), 1 + 2 * 0.5 * (1 + 3 * np.log(4) ** 2)]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["x.__class__", "__import__('os')", "(lambda: x)()", "a if x else b", "a +", "x @ a"]
)
def test_what_is_no_arithmetic_is_refused(script, text):
    with pytest.raises(AnalysisError, match="law 'odd'"):
        script("formulas").law("odd", text, {"a": (0, 1), "b": (0, 1)}, ["x"])


def test_a_name_that_nothing_defines_is_refused(script):
    with pytest.raises(AnalysisError, match="'odd': c: no parameter"):
        script("formulas").law("odd", "a + c*x", {"a": (0, 1)}, ["x"])


@pytest.mark.slow
def test_ours_is_at_or_below_its_peers(script, published, failed):
    assert failed(script("scalebench").verdicts(published / "scalebench")) == (14, [])
