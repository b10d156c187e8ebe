"""Estimates on the edge of their domain: replicates leave it, and bounds hold the truth."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import Law, fit, load
from analysis.fits import bootstrap, edges, fitting, resolve
from analysis.fits.covariance import design_effect, noise_square
from analysis.solve import multistart
from analysis.solve.problem import Loss, Problem
from benchmarks.wild_tables import clean

TRUTH = {"E": 1.0, "A": 14.0, "B": 22.0, "alpha": 0.12, "beta": 0.14}
ON_FLOOR, CREEPING = 6, 10  # seeds: best fits with E = 0, and with E > 0 while replicates go to 0


def slow(seed: int) -> pd.DataFrame:
    """Runs of a law so slow that noise of 1 % hides its floor."""
    n = np.repeat([2e7, 5e7, 1e8, 2e8, 4e8, 1e9], 4)
    d = n * np.tile([10, 30, 90, 270], 6)
    noise = np.exp(0.01 * np.random.default_rng(seed).standard_normal(24))
    return pd.DataFrame({"params": n, "tokens": d, "loss": (1 + 14 / n**0.12 + 22 / d**0.14) * noise})


@pytest.mark.parametrize("method", ["auto", "cr2"])
def test_a_floor_estimated_at_zero_has_a_bound_that_holds_it(method):
    found = fit("chinchilla", slow(ON_FLOOR), bootstrap=99, method=method)
    assert found.solution["E"] == 0 and found.status.code == "at_bound"
    verdict = found.identified["E"]
    assert verdict.verdict == "one_sided" and 1.0 < verdict.bound["upper"] < found.problem.smallest
    check = found.intervals.check
    assert check.agree >= check.n - 1
    ends = {name: interval for name, (_, interval) in found.estimates().items()}
    for name in ("alpha", "beta"):
        assert ends[name][0] <= TRUTH[name] <= ends[name][1]
    wider = found.ci(0.95)
    assert wider.loc["E", "high"] > verdict.bound["upper"]
    assert (method == "cr2") == any("edge of its domain" in note for note in found.notes)


def test_an_exponent_on_the_edge_has_its_bound_where_the_objective_has_risen_by_the_noise():
    held = fit("chinchilla", slow(ON_FLOOR), bootstrap=59, bounds={"alpha": (0.16, 0.6)}, fixed={"E": 1.2})
    value, (low, high) = held.estimates()["alpha"]
    assert held.status.code == "at_bound" and value == low == pytest.approx(0.16)
    at = fit(
        "chinchilla", slow(ON_FLOOR), bootstrap=0, fixed={"E": 1.2, "alpha": high}, delta=held.objective.delta
    )
    u = held.problem.coordinates(held.solution)
    noise = noise_square(held.problem, u) * design_effect(held.problem, u, np.array(held.data["cluster"]))
    rise = 0.5 * stats.t.ppf(0.975, 5) ** 2 * noise
    assert at.objective.value - held.objective.value == pytest.approx(rise, rel=0.01)


def test_replicates_on_their_way_to_zero_reach_it():
    found = fit("chinchilla", slow(CREEPING), bootstrap=59)
    assert found.intervals.check.agree == found.intervals.check.n
    assert found.estimates()["E"][1].low == 0.0


def test_where_checked_replicates_disagree_all_are_solved_again_from_many_starts(monkeypatch):
    problem = fit("chinchilla", clean(), bootstrap=0).problem
    solution, cluster = multistart.solve(problem), np.arange(len(problem.target))

    def early(problem, start, **given: Any):
        """Stop the first search, from one start for each of 20 replicates, where it begins."""
        return multistart.minimise(problem, start, **(given | {"steps": 0} if len(start) == 20 else given))

    found = [bootstrap.replicate(problem, solution, cluster, "run", method="case", count=20)]
    monkeypatch.setattr(resolve, "minimise", early)
    found += [bootstrap.replicate(problem, solution, cluster, "run", method="case", count=20)]
    assert found[0].check.agree == 6 and found[1].check.agree < 6
    assert ["many starts" in one.method for one in found] == [False, True]
    np.testing.assert_allclose(found[1].u, found[0].u, rtol=1e-5, atol=1e-5)


def test_a_parameter_below_minus_five_thousand_is_no_logarithm_of_nothing():
    law = Law("line", function=lambda x, E, at: E + (x - at) / 1e4, domains={"E": (1, 9), "at": (-9e3, 9e3)})
    x, loss = {"x": np.arange(5.0)}, np.full(5, 3.0)
    u = np.array([2.0, -6e3])
    assert edges.restart(Problem(law, x, loss, Loss()), u).tolist() == u.tolist()


@pytest.mark.parametrize("seed", [6, *(pytest.param(x, marks=pytest.mark.slow) for x in (7, 8)), 10])
def test_floors_of_the_field_are_bounded_above_the_truth(field, seed):
    found = fit("chinchilla", load(field / "floor_at_zero" / f"seed{seed}.csv"), bootstrap=99)
    assert found.identified["E"].bound["upper"] > 1.0


@pytest.mark.slow
@pytest.mark.parametrize("law", ["kaplan", "bnsl-2"])
def test_where_nothing_has_a_slope_the_text_is_still_printed(law, monkeypatch):
    monkeypatch.setattr(fitting, "solve", lambda problem, keep=3, **given: multistart.solve(problem, keep=3))
    table = clean()
    table["accuracy"] = 1 - table["loss"] / 10
    assert "at_bound" in str(fit(law, table, target="accuracy", bootstrap=10))
