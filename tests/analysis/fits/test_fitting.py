import contextlib
import json
import re
import warnings
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import AnalysisError, Fit, Law, comparison, fit
from analysis.solve import multistart


def grid(law, seed=0, noise=0.0):
    """A full grid of sizes and tokens with losses from ``law(N, D)``."""
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 5)))
    loss = law(n, d) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return pd.DataFrame({"params": n, "tokens": d, "loss": loss})


def chinchilla(n, d):
    return 1.8 + 480 / n**0.35 + 2100 / d**0.37


@pytest.mark.parametrize("objective", ["huber", "log-ls"])
def test_exact_data_give_back_the_law(objective):
    found = fit("chinchilla", grid(chinchilla), objective=objective, bootstrap=20)
    expected = {"E": 1.8, "A": 480, "B": 2100, "alpha": 0.35, "beta": 0.37}
    assert found.status.code == "ok"
    assert found.params == pytest.approx(expected, rel=1e-5)
    assert found.optimum.a == pytest.approx(0.37 / 0.72, rel=1e-5)
    assert found.starts.agree > 1


def test_published_optimum(published):
    table = pd.read_csv(published / "chinchilla_epoch" / "runs.csv")
    expected = json.loads((published / "EXPECTED.json").read_text())["chinchilla_epoch"]["best_known"]
    found = fit("chinchilla", table[table["excluded_by_epoch"] == 0], delta=1e-3, bootstrap=100)
    assert found.objective.n == 240
    assert found.objective.value <= expected["objective"] * (1 + 1e-6)
    for name in ("E", "A", "B", "alpha", "beta"):
        assert found.params[name] == pytest.approx(expected[name], rel=1e-4)
        low, high = found.intervals.params[name]
        assert low < expected[name] < high
    assert found.intervals.check["agree"] == found.intervals.check["n"]


def test_huber_resists_a_wrong_row(simulated, truth):
    table = simulated(noise=0.001, shared=0.0)
    table.loc[3, "loss"] *= 1.5
    robust = fit("chinchilla", table, bootstrap=0)
    squares = fit("chinchilla", table, bootstrap=0, objective="log-ls")
    error = [abs(np.log(f.solution["alpha"] / truth["alpha"])) for f in (robust, squares)]
    assert error[0] < 0.1 and error[1] > 5 * error[0]


def test_log1p_is_log_of_one_more():
    """Least squares of log(1 + loss), for losses that may be 0."""
    x = np.geomspace(1, 1e4, 40)
    noise = 0.01 * np.random.default_rng(0).standard_normal(40)
    table = pd.DataFrame({"flops": x, "y": np.expm1(np.log1p(0.05 + 2 * x**-0.5) + noise)})
    here, more = (
        fit("power-offset", t, target="y", objective=objective, bootstrap=20)
        for t, objective in ((table, "log1p-ls"), (table.assign(y=table["y"] + 1), "log-ls"))
    )
    assert here.objective.value == pytest.approx(more.objective.value, rel=1e-9)
    assert here.solution == pytest.approx(more.solution | {"E": more.solution["E"] - 1}, rel=1e-6)
    assert here.noise.sd == pytest.approx(0.01, rel=0.3)
    one, two = (f.predict(C=[1.0, 1e6]).frame for f in (here, more))
    for name in ("loss", "low", "high", "new_low", "new_high"):
        assert list(one[name] + 1) == pytest.approx(list(two[name]), rel=1e-3)
    assert "residuals of log(1 + L)" in here.summary()
    assert Fit.from_json(here.to_json()) == here and here.problem.loss.space == "log1p"

    law = Law("by function", function=lambda flops, E, A, k: E + A * flops**-k, linear=("E", "A"),
              domains={"E": (-1, 1), "A": (0, 9), "k": (0.1, 2)})  # fmt: skip
    table.loc[[5, 30], "y"] = [-1.0, 0.0]
    found = fit(law, table, target="y", objective="log1p-ls", bootstrap=0)
    assert [e["reason"] for e in found.excluded] == ["y = -1.0 is not finite and above -1"]
    assert found.objective.n == 39 and found.solution["k"] == pytest.approx(0.5, rel=0.1)


def test_rows_may_come_in_any_order(study):
    shuffled = study.sample(frac=1, random_state=3)
    first, second = fit("chinchilla", study, bootstrap=40), fit("chinchilla", shuffled, bootstrap=40)
    assert first.solution == second.solution
    assert first.intervals == second.intervals


def test_json_round_trip(study):
    found = fit("chinchilla", study, bootstrap=30)
    assert Fit.from_json(found.to_json()) == found
    row = {"N": [1e5], "D": [1e6], "C": [1e12]}
    pd.testing.assert_frame_equal(Fit.from_json(found.to_json()).predict(row).frame, found.predict(row).frame)
    with pytest.raises(AnalysisError, match="not its JSON"):
        Fit.from_json("{}")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (lambda t: t[t["width"] == 24], "1 distinct model size"),
        (lambda t: t[t["width"].isin([24, 48])], "2 distinct model sizes"),
        (lambda t: t.head(5), "5 usable runs for 5 free parameters"),
        (lambda t: t[t["role"] == "tuning"], "no rows"),
        (lambda t: t.assign(loss=2.0), "the loss is 2 in every run"),
        (lambda t: t.assign(loss=np.nan), "no usable runs"),
    ],
)
def test_what_determines_nothing_gives_no_exponents(study, rows, reason):
    table = rows(study)
    if not len(table):
        with pytest.raises(AnalysisError, match=reason):
            fit("chinchilla", table)
        return
    found = fit("chinchilla", table)
    assert found.status.code == "not_identified" and reason in found.status.message
    assert found.params == {} and not found.usable
    assert all(v["verdict"] == "no" for v in found.identified.values())
    assert reason in found.summary() and "alpha  " not in found.summary()
    assert Fit.from_json(found.to_json()) == found
    with pytest.raises(AnalysisError, match=reason):
        found.predict({"N": 1e5, "D": 1e6})


def test_tokens_proportional_to_size_leave_exponents_open():
    n = np.geomspace(1e7, 1e10, 24)
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(24))
    table = pd.DataFrame({"params": n, "tokens": 20 * n, "loss": chinchilla(n, 20 * n) * noise})
    found = fit("chinchilla", table, bootstrap=20)
    assert found.status.code == "several_optima" and "D = 20 N" in found.status.message
    assert {k for k, v in found.identified.items() if v["verdict"] == "no"} >= {
        "alpha",
        "beta",
        "A",
        "B",
        "a",
    }
    assert found.params["alpha"] is None and found.optimum.a is None
    assert re.search(r"alpha +\? 0\.\d+ .* not identified", found.summary())
    # what is determined still is: the loss on the line D = 20 N
    row = found.predict(N=1e9, D=2e10).frame.iloc[0]
    assert row["loss"] == pytest.approx(chinchilla(1e9, 2e10), rel=0.01)


def test_a_flat_valley_is_not_a_second_optimum(simulated):
    found = fit("chinchilla", simulated(5), bootstrap=20)
    assert found.status.code in ("ok", "partly_identified")
    assert found.starts.agree >= found.starts.n // 2
    assert found.identified["E"].verdict != "yes" and found.params["E"] is None


def test_a_term_that_does_nothing_is_a_bound_not_a_number():
    table = grid(lambda n, d: 1.5 + 300 / n**0.3, noise=0.003)
    found = fit("chinchilla", table, bootstrap=20)
    assert found.identified["beta"].verdict == "no"
    assert found.params["beta"] is None
    assert found.identified["alpha"].verdict == "yes"


def test_fixed_parameters_stay(study):
    found = fit("chinchilla", study, fixed={"E": 0.9, "alpha": 0.27}, bootstrap=20)
    assert found.params["E"] == 0.9 and found.params["alpha"] == 0.27
    assert found.intervals.params["E"] == pytest.approx((0.9, 0.9))
    free = fit("chinchilla", study, bootstrap=0, delta=found.objective.delta)
    assert free.objective.value < found.objective.value


def test_bad_requests_are_reported_at_once(study):
    with pytest.raises(AnalysisError) as error:
        fit("chinchilla", study, objective="mse", delta=-1.0, fixed={"F": 1.0, "E": True}, level=2)
    assert len(error.value.problems) == 5
    with pytest.raises(AnalysisError, match="'chinchila' is unknown"):
        fit("chinchila", study)


def test_what_a_reader_must_beware_of_is_noted(study):
    usual = fit("chinchilla", study, bootstrap=0)
    assert not any("starts reached" in n or "delta" in n or "domain" in n for n in usual.notes)
    tight = fit("chinchilla", study, bootstrap=0, delta=1e-4, bounds={"alpha": (0.01, 5)})
    assert any("delta 0.0001 is far below the residuals (21% lie within" in n for n in tight.notes)
    assert "bounds 0.01 .. 5 of alpha replace its domain 0.001 .. 3" in tight.notes
    with pytest.raises(
        AnalysisError, match=r"bounds of 'A' = \(-1, 5\): its logarithm is searched; low >= 0"
    ):
        fit("chinchilla", study, bounds={"A": (-1, 5)})
    # a sine has an optimum for every frequency: of many starts one finds the right one
    x = np.linspace(0.1, 40, 60)
    law = Law("sine", function=lambda x, w: 3 + jax.numpy.sin(w * x), domains={"w": (0.1, 20)})
    waves = pd.DataFrame({"x": x, "loss": 3 + np.sin(7.3 * x) + 0.01 * np.cos(90 * x)})
    found = fit(law, waves, bootstrap=0, cluster="x")
    assert found.starts.agree < 5 and any("of 64 starts reached the best" in n for n in found.notes)


def test_a_law_of_ones_own(simulated):
    law = Law("tied", {"E": {}, "A": {"N": "alpha"}, "B": {"D": "alpha"}}, source="one exponent for both")
    table = grid(lambda n, d: 1.8 + 480 / n**0.35 + 2100 / d**0.35)
    found = fit(law, table, bootstrap=10)
    assert found.params == pytest.approx({"E": 1.8, "A": 480, "B": 2100, "alpha": 0.35}, rel=1e-5)
    assert Fit.from_json(found.to_json()).law == law


@pytest.mark.parametrize("law", ["power", "power-offset", "power-params", "power-offset-tokens"])
def test_power_laws(law):
    x = np.geomspace(1e3, 1e6, 9)
    offset = 0.7 if "offset" in law else 0.0
    table = pd.DataFrame({"params": x, "tokens": x, "flops": x, "loss": offset + 5 * x**-0.2})
    found = fit(law, table, bootstrap=10)
    assert found.params["alpha"] == pytest.approx(0.2, rel=1e-5) and "a" not in found.identified


def test_intervals_cover_the_law_beyond_the_data(simulated, truth):
    """Nominal 90 % at 3x the largest budget, noise shared by trunks: 4 tables, expected 3.6 within."""
    inside = 0
    for seed in range(4):
        table = simulated(seed)
        target = table[table["role"] == "holdout"]
        n, d = target["params"].item(), target["tokens"].item()
        loss = truth["E"] + truth["A"] / n ** truth["alpha"] + truth["B"] / d ** truth["beta"]
        row = fit("chinchilla", table, bootstrap=40, seed=seed).predict(target).frame.iloc[0]
        assert row["low"] < row["loss"] < row["high"] and row["new_low"] < loss < row["new_high"]
        assert row["extrapolation"] == pytest.approx(3)
        inside += row["low"] < loss < row["high"]
    assert inside >= 3


def test_optimal_allocation_minimises_the_law(study):
    found = fit("chinchilla", study, bootstrap=20)
    best = found.optimal(1e12).iloc[0]
    cost = found.optimum.cost
    n = best["N"] * np.geomspace(1 / 3, 3, 101)
    losses = found.predict({"N": n, "D": cost.tokens(n, 1e12), "C": 1e12})["loss"]
    assert int(np.argmin(losses)) == 50
    assert best["N_low"] < best["N"] < best["N_high"]
    assert cost.flops(best["N"], best["D"]) == pytest.approx(1e12)
    with pytest.raises(AnalysisError, match="no optimal allocation"):
        fit("power", study, bootstrap=0).optimal(1e12)


def test_a_law_that_mixes_rows_is_refused():
    def mixed(x, a, b):
        return a + b * x / x.sum()

    law = Law("mixed", function=mixed, domains={"a": (0, 9), "b": (0, 99)}, linear=("a", "b"))
    x = np.arange(1.0, 13.0)
    with pytest.raises(AnalysisError, match="'mixed' does not work row by row"):
        fit(law, pd.DataFrame({"x": x, "loss": 1 + x / 30 + 0.01 * np.sin(9 * x)}), bootstrap=0)


def test_a_prediction_below_zero_has_intervals_of_the_loss_itself():
    law = Law(
        "line", function=lambda x, a, b: a - b * x, domains={"a": (0, 9), "b": (0, 9)}, linear=("a", "b")
    )
    x = np.arange(1.0, 13.0)
    table = pd.DataFrame({"x": x, "loss": 2 - x / 10 + 0.01 * np.sin(9 * x)})
    found = fit(law, table, objective="raw-ls", bootstrap=0).predict({"x": np.array([6.0, 30.0])})
    near, far = (found.frame.loc[i] for i in (0, 1))
    assert far["new_low"] < far["low"] < far["loss"] < far["high"] < far["new_high"] < 0
    assert np.isnan(far["se_log"]) and near["se_log"] > 0
    assert "1 of 2 rows: the law or a replicate of it is at or below 0" in found.notes[-1] + found.notes[0]
    plain, log1p = (fit(law, table, objective=o, bootstrap=0) for o in ("raw-ls", "log1p-ls"))
    at = tuple(np.log(list(log1p.solution.values())))
    sure = replace(log1p, replicates=(at, at))  # the scatter of a run alone is left
    found = sure.predict({"x": np.array([60.0])}).frame.iloc[0]
    fitted = plain.problem.values(np.array([list(plain.solution.values())]))[0]
    sd = np.linalg.norm(plain.problem.target - fitted) / np.sqrt(10)
    reach = stats.t.ppf(0.95, log1p.intervals.degrees) * sd
    assert found["new_high"] - found["loss"] == pytest.approx(reach, rel=0.05)


@pytest.mark.parametrize(
    ("offset", "bounds", "zero", "bound"),
    [(-0.05, {}, ("E",), ()), (1.8, {"alpha": (0.4, 1.0)}, (), ("alpha",))],
    ids=["a coefficient at 0", "an exponent at its bound"],
)
def test_a_fit_finds_its_optimum_again_without_a_search(monkeypatch, offset, bounds, zero, bound):
    table = grid(lambda n, d: chinchilla(n, d) - 1.8 + offset, noise=0.01)
    fitted = fit("chinchilla", table, bootstrap=0, bounds=bounds)
    text, searched = fitted.to_json(), multistart.solve(fitted.problem)
    monkeypatch.setattr(multistart, "starts", lambda *_: pytest.fail("searched again"))
    found = fitted.solved
    assert (found.zero, found.bound, found.converged) == (zero, bound, True)
    assert found.value == pytest.approx(searched.value, rel=1e-12)
    assert found.u == pytest.approx(searched.u, rel=1e-6)
    fitted.profile("beta", simulations=0)
    comparison._errors(fitted, np.arange(30), np.arange(30) % 3, None, "log")
    assert fitted.to_json() == text and Fit.from_json(text) == fitted


def test_no_warning_of_numpy_reaches_the_screen():
    """They do from losses whose squares are no numbers, wherever in the package those are taken."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    loss = (1.8 + 400 / n**0.34 + 400 / d**0.28) * np.exp(0.3 * np.random.default_rng(0).standard_normal(25))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": 1e-90 * loss})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit("tied", table, bootstrap=0, objective="raw-ls")
        assert found.usable and found.intervals.degrees == 1 and str(found)
        found.predict(N=[1e8, 1e30], D=[1e9, 1e40])
        with contextlib.suppress(AnalysisError):
            found.optimal([1e15, 1e60])
