"""Flat directions: what the data trade against one another is never printed as a number."""

from __future__ import annotations

import re
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import AnalysisError, Law, backtest, fit
from analysis.figures import outcome
from analysis.fits import identification, prediction
from analysis.results import Verdict


@pytest.fixture(scope="module")
def proportional():
    """15 runs with D = 20 N."""
    n = np.geomspace(1e6, 1e10, 15)
    noise = np.exp(0.003 * np.random.default_rng(1).standard_normal(15))
    loss = (1.7 + 400 / n**0.34 + 410 / (20 * n) ** 0.28) * noise
    return pd.DataFrame({"params": n, "tokens": 20 * n, "loss": loss})


def chinchilla(N, D, E, A, alpha, B, beta):
    return E + A * N**-alpha + B * D**-beta


FUNCTION = Law(
    "by-function", function=chinchilla, linear=("E", "A", "B"),
    domains={"E": (0, 10), "A": (0, 1e9), "B": (0, 1e9), "alpha": (0.01, 2), "beta": (0.01, 2)},
)  # fmt: skip


@pytest.mark.parametrize(
    "law",
    ["tied", *(pytest.param(x, marks=pytest.mark.slow) for x in ("kaplan", FUNCTION))],
    ids=["tied", "kaplan", "function"],
)
def test_terms_that_cannot_be_told_apart_are_said_to_be(proportional, law):
    found = fit(law, proportional, bootstrap=50)
    assert any("D is proportional to N" in note for note in found.notes)
    if law == "kaplan":
        return  # its two terms have different forms: nothing can be exchanged
    assert found.status.code == "several_optima" and "proportional" in found.status.message
    assert all(found.identified[name].verdict == "no" for name in ("A", "B"))
    notes = found.predict(N=1e8, D=1e12).notes
    assert any("optima disagree" in note for note in notes)


def test_a_grid_has_no_flat_direction():
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e11, 5)))
    noise = np.exp(0.003 * np.random.default_rng(1).standard_normal(40))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": (1.7 + 400 / n**0.34 + 410 / d**0.28) * noise})
    found = fit("tied", table, bootstrap=50)
    assert found.status.code == "ok"
    far = found.predict(N=9e12, D=1e9)
    assert far["extrapolation"].item() == pytest.approx(900) and far["beyond"].item() == "N 900x, C 9x"
    assert any("beyond the data (N by 900x, C by 9x)" in note for note in far.notes)
    assert (far["new_low"] <= far["low"]).all() and (far["new_high"] >= far["high"]).all()
    notes = found.optimal(1e30).attrs["notes"]
    assert notes and "beyond the data" in notes[0]
    with pytest.raises(AnalysisError, match="all rows are of one cluster"):
        fit("tied", table.assign(one=1), cluster="one")
    with pytest.raises(AnalysisError, match="too few for intervals"):
        fit("tied", table, bootstrap=5)
    for call in (
        lambda: found.optimal([]),
        lambda: found.optimal(-1),
        lambda: found.predict({"N": ["x"], "D": [1]}),
        lambda: found.predict(3),
        lambda: found.ci(2),
        lambda: fit("tied", [1, 2]),
    ):
        with pytest.raises(AnalysisError):
            call()


def test_a_coefficient_whose_exponent_was_held_up_by_its_domain_is_no_finding():
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e11, 5)))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": 1.7 + 400 / n**0.34 + 410 / d**0.28})
    found = fit("chinchilla", table, bounds={"alpha": (0.5, 0.6)}, bootstrap=50)
    assert "alpha ended at the edge" in found.identified["A"].reason and found.params["A"] is None
    for wrong in ({"target": "text"}, {"weights": "text"}):
        with pytest.raises(AnalysisError, match="column 'text' has no number"):
            fit("chinchilla", table.assign(text="a"), **wrong)


def test_a_scale_that_lies_beyond_the_data_is_one_sided():
    x = np.geomspace(1, 10, 24)
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(24))
    law = Law("saturating", function=lambda x, A, knee: A * knee * -jnp.expm1(-x / knee),
              domains={"A": (0, np.inf), "knee": (1e-2, 1e4)}, linear=("A",))  # fmt: skip
    for knee, verdict in ((3.0, "yes"), (500.0, "one_sided")):
        table = pd.DataFrame({"x": x, "y": 2 * knee * -np.expm1(-x / knee) * noise})
        found = fit(law, table, target="y", bootstrap=0).identified["knee"]
        assert found["verdict"] == verdict
    assert 30 < found["bound"]["lower"] < 500 and "the end of its domain" in found["reason"]
    edge = "at the edge of the domain: knee; what is said of the other parameters supposes this"
    bent = table.assign(y=-6 * np.expm1(-x / 3) * noise)
    for bounds, told in (({"knee": (0.01, 2.0)}, True), ({}, False)):
        near = fit(law, bent, target="y", bootstrap=0, bounds=bounds)
        assert any(note.startswith(edge) for note in near.notes) is told


def test_a_grid_whose_sizes_are_too_near_is_not_advised_to_vary_tokens(proportional):
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 2e7, 5), np.geomspace(1e9, 1e11, 5)))
    noise = np.exp(0.01 * np.random.default_rng(1).standard_normal(25))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": (1.8 + 400 / n**0.34 + 400 / d**0.28) * noise})
    grid, ray = fit("chinchilla", table, bootstrap=0), fit("chinchilla", proportional, bootstrap=0)
    assert grid.status.code == ray.status.code == "several_optima"
    assert "widen the range of N, D" in grid.status.advice and "vary D at fixed N" in ray.status.advice
    for there, here in re.findall(
        r"objective (\S+), here ([^);]+)", grid.status.message + ray.status.message
    ):
        assert there != here


def test_noise_alone_is_no_law():
    """A constant fits as well: no exponent, no floor."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(1e9, 1e11, 5)))
    for seed in range(3):
        loss = 2.5 * np.exp(0.01 * np.random.default_rng(seed).standard_normal(35))
        table = pd.DataFrame({"params": n, "tokens": d, "loss": loss})
        found = fit("chinchilla", table, bootstrap=0)
        assert found.status.code == "not_identified"
        assert any(x in found.status.message for x in ("a constant fits as well", "does not fall"))
    weak = fit("power-offset-params", table.assign(loss=loss * (n / 1e8) ** -0.02), bootstrap=0)
    assert weak.usable


def test_too_few_rows_to_tell_a_law_from_a_constant_are_said_to_be_too_few():
    """Of losses that fall as a law says, six leave the F test one degree of freedom."""
    n, d = np.array([1e6, 1e6, 1e6, 4e6, 4e6, 16e6]), np.array([1e8, 2e8, 4e8, 1e8, 4e8, 1e8])
    noise = np.exp(0.02 * np.random.default_rng(2).standard_normal(6))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": (1.7 + 400 / n**0.34 + 410 / d**0.28) * noise})
    found = fit("chinchilla", table, bootstrap=0)
    assert found.status.code == "not_identified"
    assert "6 runs for 5 parameters are too few to tell the law from a constant" in found.status.message


def test_an_end_of_an_interval_that_says_nothing_is_not_printed():
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 3e7, 4), np.geomspace(1e9, 3e9, 4)))
    noise = np.exp(0.01 * np.random.default_rng(4).standard_normal(16))
    loss = (1.8 + 400 / n**0.34 + 400 / d**0.28) * noise
    found = fit("chinchilla", pd.DataFrame({"params": n, "tokens": d, "loss": loss}), bootstrap=0)
    best = found.optimal([1e17, 1e24])
    ends = np.log(best[["N_low", "N_high", "D_low", "D_high"]].to_numpy() / best[list("NNDD")].to_numpy())
    assert np.isnan(ends).any() and np.nanmax(np.abs(ends)) <= np.log(1e3)
    assert best["high"].notna().all()
    assert any("2 of 2 rows" in note and "cr2 leaves a flat valley" in note for note in best.attrs["notes"])
    plain = found.predict(N=2e7, D=2e9)  # amid the runs
    assert plain.frame.notna().to_numpy().all() and not any("not identified" in note for note in plain.notes)


def test_a_back_test_takes_what_is_not_identified_for_open(study, monkeypatch):
    monkeypatch.setattr(prediction, "WIDE", 1.0001)
    found = backtest.run("chinchilla", study, bootstrap=0)
    assert found.inside == 1.0 and all(np.isnan([run["low"], run["high"]]).all() for run in found.runs)
    axes = Figure().add_subplot()
    outcome._backtest(axes, found)
    assert axes.get_ylim()[1] == pytest.approx(
        135 * max(abs(run[x] / run["loss"] - 1) for run in found.runs for x in ("predicted", "forecast"))
    )


def test_fewer_than_two_degrees_of_freedom_are_too_few(proportional, monkeypatch):
    found = fit("tied", proportional, bootstrap=0)
    for degrees, thin in ((1.96, True), (2.04, False)):
        monkeypatch.setattr(identification, "satterthwaite", lambda *_, d=degrees: np.full(4, d))
        reasons = identification.thinly(found.problem, found.solved, np.arange(15) % 4, "size")
        assert ("E" in reasons) == thin
        assert not thin or reasons["E"][0] == "4 sizes are too few to tell how far it can be trusted"


def test_a_fit_of_which_nothing_is_identified_is_not_called_partly_so(proportional):
    found = fit("tied", proportional, bootstrap=0)
    no, held = Verdict("no", "wide"), Verdict("yes", "fixed by you at 1", code="fixed")
    for verdicts, code in (
        ({"A": no, "B": no}, "none_identified"),
        ({"A": no, "E": held}, "none_identified"),
        ({"A": no, "B": Verdict("yes", "")}, "partly_identified"),
        ({"A": no, "B": Verdict("one_sided", "", {"upper": 1.0})}, "partly_identified"),
    ):
        solution = replace(found.solved, zero=(), bound=())
        status = identification.status(found.problem, solution, verdicts, identification.Ambiguity())
        assert status.code == code and ("none is determined" in status.message) == (code[0] == "n")
