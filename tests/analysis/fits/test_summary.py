"""What a fit prints: every estimate, what is not identified marked."""

import re

import numpy as np
import pytest

from analysis import estimate, fit
from analysis.fits.prediction import whole
from analysis.fits.summary import interval_text, parameters, uncertain, verdict_text
from analysis.results import Interval, Verdict


def few(study):
    return fit("chinchilla", study[study["role"] == "fit"].iloc[::3].head(8), bootstrap=40)


def weak(found):
    return [name for name, verdict in found.identified.items() if verdict.verdict == "no"]


def test_a_table_of_eight_runs_prints_every_estimate_marked(study):
    found = few(study)
    assert len(weak(found)) >= 3 and not any(v.verdict == "yes" for v in found.identified.values())
    for name, value in found.solution.items():
        (line,) = (x for x in found.summary().splitlines() if re.match(rf"  {name} +[?\d]", x))
        cells = line.split()
        assert (cells[1] == "?") == line.endswith("not identified") == (name in weak(found))
        assert float(cells[1 + (cells[1] == "?")]) == float(f"{value:.4g}")
    assert "too few to tell how far it can be trusted" in found.summary()
    assert all(value is None for value in found.params.values())


def test_what_is_identified_bounded_or_fixed_is_told_apart(study):
    found = fit("chinchilla", study, fixed={"E": 0.9}, bootstrap=40)
    lines = {line.split()[0]: line for line in parameters(found) if line.strip()}
    assert "fixed" in lines["E"] and "[" not in lines["E"]
    for name, verdict in found.identified.items():
        assert verdict_text(verdict) in lines[name] and ("?" in lines[name]) == (verdict.verdict == "no")
    assert verdict_text(Verdict("one_sided", "", {"upper": 2.0})) == "bounded above"
    assert interval_text(Verdict("one_sided", "", {"lower": 2.0}), Interval(1.0, 3.0)) == "> 2"
    assert interval_text(Verdict("no", ""), Interval(1.0, float("nan"))) == "[1, open]"


def test_only_what_is_not_identified_is_dimmed(study):
    found = few(study)
    assert found.summary(dim=True).count("\x1b[2m") == len(weak(found))
    assert "\x1b" not in found.summary() and found._repr_html_().count("? ") == len(weak(found))
    clear = fit("chinchilla", study, fixed={"E": 0.9, "alpha": 0.27, "beta": 0.3}, bootstrap=0)
    assert "\x1b" not in clear.summary(dim=True)


def test_an_estimate_shows_its_numbers_too(study):
    found = estimate("parabola", study, bootstrap=40)
    assert set(found.estimates()) == set(found.identified)
    assert all(f"{found.solution[name]:.4g}" in found.summary() for name in ("a", "b"))


def test_rows_are_printed_whole_with_open_ends_and_what_they_rest_on(study):
    found = few(study)
    best = found.optimal([3e11, 1e13])
    assert "..." not in repr(best) and "columns]" not in repr(best) and "new_high" in repr(best)
    inside, beyond = best["unidentified"]
    assert inside == "a, b" and beyond == ", ".join(weak(found))
    assert found.predict(N=3e4, D=2e6)["unidentified"].tolist() == [""]
    text = whole(best.assign(N_high=np.nan))
    assert text.splitlines()[1].split()[3] == "open"


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.51237, 0.0141, ("0.512", "0.014")),
        (2.0, 0.0996, ("2.00", "0.10")),
        (0.51237, 0.3, ("0.51", "0.30")),
        (51237.0, 1384.0, ("51200", "1400")),
        (0.5, 0.0, ("0.5", "0")),
    ],
)
def test_an_error_has_two_digits_and_its_value_the_same_place(value, error, shown):
    assert uncertain(value, error) == shown
