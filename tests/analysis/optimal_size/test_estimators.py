import json

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, Estimate, estimate
from analysis.fits import claims
from analysis.optimal_size.estimators import of_file
from analysis.results import Interval, Verdict


@pytest.fixture(scope="module")
def exact():
    rows = []
    for c in np.geomspace(1e18, 1e21, 6):
        for step in (-1.2, -0.6, -0.1, 0.0, 0.4, 0.9, 1.3):
            n = 0.1 * c**0.45 * np.exp(step)
            loss = 50 * c**-0.05 * np.exp(0.04 * step**2)
            rows.append({"params": n, "tokens": c / (6 * n), "flops": c, "loss": loss})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def noisy(exact):
    noise = np.random.default_rng(0).standard_normal(len(exact))
    return exact.assign(loss=exact["loss"] * np.exp(0.002 * noise))


@pytest.fixture(scope="module")
def found(noisy):
    return estimate("parabola", noisy.assign(budget=noisy["flops"]), bootstrap=60)


@pytest.mark.parametrize(("kind", "error"), [("parabola", 1e-6), ("interpolation", 0.01)])
def test_parameters_of_exact_tables(exact, kind, error):
    found = estimate(kind, exact, bootstrap=20, cluster="flops")
    at = found.setup.C0
    for name, truth in {
        "a": 0.45,
        "b": 0.55,
        "c": 0.05,
        "k_N": 0.1 * at**0.45,
        "k_L": 50 * at**-0.05,
    }.items():
        assert found.solution[name] == pytest.approx(truth, rel=3 * error), name
        low, high = found.intervals.params[name]
        assert low * (1 - 1e-9) <= found.params[name] <= high * (1 + 1e-9), name
    assert found.status.code == "ok" and found.bias in str(found) and len(found.points) >= 2
    assert found.solution["k_D"] == pytest.approx(at / 6 / found.solution["k_N"], rel=0.01)
    assert "6 clusters by flops" in found.intervals.method


def test_two_optima_and_lost_replicates_claim_nothing(exact):
    """The hull of a straight line has two corners. And three sizes a budget, which most replicates lack."""
    found = estimate("hull", exact, bootstrap=20, cluster="flops")
    assert found.solution["a"] == pytest.approx(0.45) and len(found.points) == 2
    assert found.identified["a"].verdict == "no" and "no degrees of freedom" in found.status.message
    few = exact[exact.groupby("flops").cumcount().isin([1, 3, 5])].assign(seed=range(18))
    lost = estimate("parabola", few, bootstrap=100)
    assert lost.status.code == "partly_identified" and "a selection" in lost.status.message
    assert set(lost.params.values()) == {None} and not lost.replicates and len(lost.points) == 6


def test_repeated_runs_have_less_noise(exact):
    four = pd.concat([exact] * 4, ignore_index=True)
    once, mean = (
        estimate("interpolation", table, bootstrap=200, noise=0.2).points[0]["spread"]
        for table in (exact, four)
    )
    same = estimate("interpolation", exact, bootstrap=200, noise=0.1).points[0]["spread"]
    assert mean == pytest.approx(same) and same < 0.8 * once


def test_rows_without_a_cluster_are_left_out(exact):
    gaps = exact.assign(batch=[None, *range(1, len(exact))])
    found = estimate("parabola", gaps, bootstrap=0, cluster="batch")
    assert len(found.data["row"]) == len(exact) - 1 and found.excluded[-1]["reason"] == "batch is empty"


def test_intervals_hold_the_truth_and_widen_with_the_level(found):
    ends = found.ci()
    assert (ends["verdict"] == "yes").all() and set(found.optimum.exponents) == {"a", "b"}
    assert ends.loc["a", "low"] < 0.45 < ends.loc["a", "high"] and ends.loc["a", "low"] < found.params["a"]
    wide = found.ci(0.99)
    assert (wide["high"] - wide["low"] > 1.2 * (ends["high"] - ends["low"])).all()
    with pytest.raises(AnalysisError, match="level=2"):
        found.ci(2)


def test_predictions(found):
    near, far = 1e20, 1e23
    told = found.predict([near, far])
    for c in (near, far):
        row = told.frame.set_index("C").loc[c]
        truth = {"N": 0.1 * c**0.45, "D": c**0.55 / 0.6, "loss": 50 * c**-0.05}
        for name, (low, high) in {
            "N": ("N_low", "N_high"),
            "D": ("D_low", "D_high"),
            "loss": ("low", "high"),
        }.items():
            assert row[low] < row[name] < row[high] and row[low] < truth[name] < row[high]
        assert row["extrapolation"] == pytest.approx(max(c / 1e21, 1.0))
    width = np.log(told["N_high"] / told["N_low"])
    assert width[1] > 1.5 * width[0] and (told["se_log"] > 0).all()
    assert any("C by 100x" in note for note in told.notes) and "new run" not in str(told)
    assert not found.predict(pd.DataFrame({"flops": [near]})).notes
    assert found.optimal(near, level=0.5).attrs["level"] == 0.5
    for wrong in ("much", -1.0, {"N": 1e9}, []):
        with pytest.raises(AnalysisError, match="give compute in FLOPs"):
            found.predict(wrong)


def test_round_trip(found):
    again = Estimate.from_json(found.to_json())
    assert again == found and again.ci(0.5).equals(found.ci(0.5))
    kept = json.loads(found.to_json())
    assert kept["optimum"] == {"a": found.params["a"], "b": found.params["b"]} and kept["schema"] == 1
    assert found._repr_html_().startswith("<pre>parabola: N* = k_N (C/C0)^a")
    for text in ("{}", found.to_json().replace('"schema": 1', '"schema": 0')):
        with pytest.raises(AnalysisError, match="estimate"):
            Estimate.from_json(text)


def test_what_is_not_identified_is_no_number(exact):
    """Noise that drowns the curves: the hull still has a slope, and claims nothing."""
    noise = np.random.default_rng(1).standard_normal(len(exact))
    found = estimate("hull", exact.assign(loss=exact["loss"] * np.exp(0.2 * noise)), bootstrap=60)
    assert found.status.code == "partly_identified" and "a" in found.status.message
    assert found.params["a"] is None and found.optimum.a is None and "a" in found.solution
    assert np.isnan(found.ci().loc["a", "estimate"])
    bounded = Verdict("one_sided", "wide", {"upper": 2.0})
    row = claims.table({"x": bounded}, {"x": None}, {"x": Interval(1.0, 2.0)}).loc["x"]
    assert np.isnan(row["low"]) and row["high"] == 2.0
    none = estimate("hull", exact, bootstrap=0)
    assert set(none.params.values()) == {None} and "0 of 0 replicates" in str(none)
    assert none.predict(1e20).frame[["N_low", "high"]].isna().all(axis=None)


def test_refused_budgets_are_named(exact):
    low = exact["flops"] == exact["flops"].min()
    ends = exact[~low | (exact["params"] > 0.1 * exact["flops"] ** 0.45)]
    for kind in ("parabola", "interpolation"):
        found = estimate(kind, ends, bootstrap=0)
        assert len(found.points) == 5 and any(n.startswith("budget 1e+18: no optimum") for n in found.notes)
    found = estimate("interpolation", ends, bootstrap=40, noise=0.001)
    assert len(found.points) == 5 and any(n.startswith("budget 1e+18: no optimum") for n in found.notes)


def test_seed_noise_gives_weights_and_intervals(exact):
    """A budget whose curve is ten times flatter has a minimum that noise moves: it must not decide."""
    flat = exact["flops"] == exact["flops"].max()
    bent = exact.assign(loss=exact["loss"].where(~flat, exact["loss"] ** 0.1))
    bent.loc[flat, "params"] *= 1.5

    def exponent(**options):
        return estimate("interpolation", bent, **options)

    found = exponent(bootstrap=400, noise=0.01)
    assert abs(found.solution["a"] - 0.45) < 0.01 < 0.03 < exponent(bootstrap=0).solution["a"] - 0.45
    low, high = found.intervals.params["a"]
    assert low < 0.45 < high and "seed noise 0.01" in found.intervals.method
    assert found.points[-1]["spread"] > 3 * found.points[0]["spread"]
    least = (exponent(bootstrap=10, noise=1e-12).points[0]["spread"], 1.2 + 1.3)
    assert least[0] == pytest.approx(least[1] / 6 / 3)  # a third of the spacing of 7 sizes
    wider = exponent(bootstrap=400, noise=0.03).intervals.params["a"]
    assert wider[1] - wider[0] > 1.3 * (high - low)


def test_the_hull_is_the_lower_one():
    c = np.geomspace(1, 1e4, 9)
    below = np.exp((np.log(c / 1e5) / 10) ** 2)  # convex in logs: every run of these is a vertex
    runs = pd.DataFrame({"params": c**0.5, "tokens": c**0.5, "flops": c, "loss": below})
    worse = runs.assign(loss=2 * below, params=c**0.2)
    found = estimate("hull", pd.concat([runs, worse], ignore_index=True), bootstrap=0)
    assert [p["budget"] for p in found.points] == pytest.approx(c)
    assert found.solution["a"] == pytest.approx(0.5)


def test_too_little_is_an_answer(exact):
    found = estimate("hull", exact[exact["flops"] == exact["flops"].min()])
    assert found.status.code == "not_identified" and "exponents need two" in str(found)
    assert Estimate.from_json(found.to_json()) == found and not found.usable
    with pytest.raises(AnalysisError, match="cannot predict: 0 optima"):
        found.predict(1e20)
    assert not estimate("parabola", exact, roles=("noise",)).usable


def test_bad_requests_are_told_together(exact):
    with pytest.raises(AnalysisError) as error:
        estimate("envelop", exact, bootstrap=3, level=90, noise=0.1)
    assert [p.split()[0] for p in map(str, error.value.problems)] == [
        "estimator",
        "bootstrap",
        "level",
        "noise",
    ]
    with pytest.raises(AnalysisError, match="column 'colour' is missing"):
        estimate("hull", exact, cluster="colour")


def test_of_a_file(exact, tmp_path):
    """As the command asks: with every option of a law at its default, and no other."""
    exact.assign(seed=0).to_csv(tmp_path / "table.csv", index=False)
    usual = {"objective": "huber", "delta": None, "fixed": {}, "target": "loss", "bootstrap": 20}
    found = of_file("hull", tmp_path / "table.csv", {"where": "flops < 1e21", "after": None}, **usual)
    assert len(found.data["C"]) == 35 and found.excluded[0]["reason"] == "where: flops < 1e+21"
    with pytest.raises(AnalysisError) as error:
        of_file("hull", tmp_path / "table.csv", {}, **usual | {"delta": 0.001, "objective": "raw-ls"})
    with pytest.raises(AnalysisError, match="typo = 1: unknown option"):
        of_file("hull", tmp_path / "table.csv", typo=1)
    assert len(error.value.problems) == 2 and "delta = 0.001: an estimator has no law" in str(error.value)


def test_published_hulls(published):
    table = pd.read_csv(published / "gemstones" / "runs.csv")
    expected = json.loads((published / "EXPECTED.json").read_text())["gemstones"]["approach1"]
    for subset, (a, b) in expected.items():
        found = estimate(
            "hull", table[table["subset"] == subset], cluster="run_name", bootstrap=0, cells="all"
        )
        assert (found.solution["a"], found.solution["b"]) == pytest.approx((a, b), abs=6e-7)
