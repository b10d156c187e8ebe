import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import LAWS, AnalysisError, Law, fit
from analysis.fits.bootstrap import METHODS, _no_narrower, replicate
from analysis.fits.covariance import hessian
from analysis.fits.diagnostics import cluster_test
from analysis.fits.intervals import intervals, new_run
from analysis.solve.multistart import solve
from analysis.solve.newton import minimise
from analysis.solve.problem import Loss, Problem


@pytest.mark.parametrize("method", [*METHODS, "profile"])
def test_every_method_names_itself_and_surrounds_the_optimum(study, method):
    found = fit("chinchilla", study, fixed={"E": 0.9}, method=method, bootstrap=60)
    assert found.intervals.kind == (method if method != "auto" else "wild-cluster")
    low, high = found.intervals.params["alpha"]
    assert low < found.solution["alpha"] < high < 2 * found.solution["alpha"]
    words = "profile" if method == "profile" else METHODS[found.intervals.kind]
    assert words in found.intervals.method
    again = fit("chinchilla", study, fixed={"E": 0.9}, method=method, bootstrap=60)
    assert again.intervals == found.intervals


def bowl(x, E, k, middle):
    return E + k * ((x - middle) / 100) ** 2


def small_bowl(x, E, k, middle):
    return E + k * (x - middle) ** 2


def test_intervals_of_a_parameter_in_the_hundreds_are_those_of_a_hundredth():
    """A law that is no sum of powers, its parameter in two units."""
    rng, x = np.random.default_rng(1), np.repeat(np.linspace(-600.0, 600.0, 7), 4)
    loss, cluster = bowl(x, 3.0, 0.02, 40.0) * np.exp(0.1 * rng.standard_normal(28)), np.repeat(range(7), 4)
    table, found = pd.DataFrame({"x": x, "loss": loss, "cluster": cluster}), []
    for unit, function in ((1.0, bowl), (100.0, small_bowl)):
        domains = {"E": (0, 10), "k": (0, 1), "middle": (-1000 / unit, 1000 / unit)}
        law = Law("bowl", function=function, linear=("E", "k"), domains=domains)
        fitted = fit(law, table.assign(x=x / unit), cluster="cluster", method="cr2")
        problem, u = fitted.problem, fitted.problem.coordinates(fitted.solution)
        least, alike = hessian(problem, u), np.repeat(u[None], 999, 0)  # replicates that do not differ
        spread = _no_narrower(problem, u, alike, least, rng)[:, 2].std() / np.sqrt(least[2, 2])
        held = fitted.profile("middle", simulations=0)
        ends = np.array([*fitted.estimates()["middle"][1], held.low, held.high])
        found.append([*(ends * unit), spread])
    assert found[0] == pytest.approx(found[1], rel=0.1)
    assert found[0][1] - found[0][0] > 500 and found[0][4] == pytest.approx(1, rel=0.1)


def test_linear_least_squares_has_textbook_errors():
    """log L = log A - alpha log N is a line: CR2 of single runs is HC2, the profile the classical error."""
    n = np.geomspace(1e3, 1e6, 40)
    y = 1 - 0.2 * np.log(n) + 0.01 * np.random.default_rng(0).standard_normal(40)
    table = pd.DataFrame({"params": n, "tokens": n, "loss": np.exp(y)})
    found = fit("power-params", table, objective="log-ls", method="cr2")
    x = np.log(n) - np.log(n).mean()
    slope = x @ y / (x @ x)
    r = y - y.mean() - slope * x
    leverage = 1 / 40 + x**2 / (x @ x)
    robust = np.sqrt(np.sum(x**2 * r**2 / (1 - leverage))) / (x @ x)
    se = np.sqrt(r @ r / 38 / (x @ x))
    assert found.solution["alpha"] == pytest.approx(-slope, rel=1e-8)
    assert np.sqrt(found.cov.loc["alpha", "alpha"]) == pytest.approx(robust, rel=1e-6)
    low, high = found.intervals.params["alpha"]
    assert high - low == pytest.approx(2 * stats.t.ppf(0.95, found.intervals.degrees) * robust, rel=0.1)
    held = found.profile("alpha", simulations=0)
    assert held.high - held.low == pytest.approx(2 * 1.6860 * se, rel=0.02)  # t(38) at 90 %


def test_clusters_that_share_noise_widen_intervals(simulated):
    table = simulated(3, noise=0.001, shared=0.01)
    options = {"fixed": {"E": 0.9}, "bootstrap": 60}
    alone, together = (fit("chinchilla", table, method=m, **options) for m in ("case", "wild-cluster"))
    width = [np.diff(f.intervals.params["alpha"])[0] for f in (alone, together)]
    assert width[1] > 1.3 * width[0]
    assert together.noise.clusters_alike_p <= 0.02 and "alike" in together.summary()
    assert cluster_test(np.random.default_rng(1).standard_normal(28), np.arange(28) % 7) > 0.02


def test_intervals_hold_zero_and_both_sides():
    draws = np.exp(np.random.default_rng(0).standard_normal((500, 2)))
    low, high = intervals(np.array([0.0, 1.0]), draws, 0.9, 10)
    assert low[0] == 0 and high[0] > 0 and low[1] < 1 < high[1]


def test_a_new_run_adds_its_own_noise_to_the_law_s():
    draws = np.exp(0.03 * np.array([-1.0, 1.0]))[:, None]
    low, high = new_run(np.array([1.0]), draws, 0.04, 0.9, 10**6)
    assert np.log([low[0], high[0]]) == pytest.approx([-1.6449 * 0.05, 1.6449 * 0.05], rel=1e-3)
    low, high = new_run(np.array([-2.0]), np.array([[-2.0]]), 0.1, 0.9, 5, log=False)
    assert [low[0], high[0]] == pytest.approx([-2.2015, -1.7985], rel=1e-3)


def test_few_clusters_are_named(study):
    few = fit("chinchilla", study, bootstrap=20)
    assert any("7 clusters by trunk" in note for note in few.notes) and "7 clusters by trunk" in few.summary()
    for options in ({"cluster": "run_id"}, {"method": "case"}):
        assert not any("clusters" in note for note in fit("chinchilla", study, bootstrap=20, **options).notes)


def test_groups_share_an_exponent(simulated):
    one, two = (simulated(s, noise=0.002, shared=0.0) for s in (1, 2))
    two = two.assign(loss=two["loss"] * 1.3, run_id=two["run_id"] + "x")
    table = pd.concat([one.assign(corpus="a"), two.assign(corpus="b")], ignore_index=True)
    found = fit("chinchilla", table, groups="corpus", bootstrap=40)
    names = ["E[a]", "E[b]", "A[a]", "A[b]", "B[a]", "B[b]", "alpha", "beta"]
    assert list(found.solution) == names and found.objective.n == 56
    alone = fit("chinchilla", one, bootstrap=40)

    def width(f):
        return np.ptp(f.predict({"corpus": "a", "N": 1e5, "D": 2e7}).frame[["low", "high"]])

    assert width(found) < width(alone)
    ratio = [found.predict({"corpus": c, "N": 1e5, "D": 1e6})["loss"][0] for c in "ab"]
    assert ratio[1] / ratio[0] == pytest.approx(1.3, rel=0.01)
    apart = fit("chinchilla", table, groups="corpus", own=("E", "A", "B", "alpha", "beta"), bootstrap=0)
    delta = apart.objective.delta
    each = fit("chinchilla", one, bootstrap=0, delta=delta).solution["alpha"]
    assert apart.solution["alpha[a]"] == pytest.approx(each, rel=1e-4)
    with pytest.raises(AnalysisError, match="corpus = c was not fitted"):
        found.predict({"corpus": "c", "N": 1e5, "D": 1e6})


def test_weights_repeat_rows_and_bounds_bind(study):
    counts = np.random.default_rng(0).integers(1, 4, len(study))
    options = {"delta": 0.01, "bootstrap": 0, "cluster": "width"}
    weighted = fit("chinchilla", study.assign(times=counts), weights="times", **options)
    rows = study.loc[study.index.repeat(counts)].drop(columns="run_id")
    assert fit("chinchilla", rows, **options).solution == pytest.approx(weighted.solution, rel=1e-5)
    bound = fit("chinchilla", study, bounds={"alpha": (0.5, 1.0)}, bootstrap=0)
    assert bound.solution["alpha"] == pytest.approx(0.5) and bound.status.code == "at_bound"
    assert bound.identified["alpha"].verdict == "no" and "edge" in bound.identified["alpha"].reason


def test_other_objectives_are_shown_where_they_disagree(simulated):
    table = simulated(noise=0.001, shared=0.0)
    table.loc[3, "loss"] *= 1.5
    found = fit("chinchilla", table, bootstrap=40)
    assert "log-ls" in [other["kind"] for other in found.others] and "beyond the intervals" in found.summary()
    assert fit("chinchilla", simulated(noise=1e-4, shared=0.0), method="cr3", level=0.999).others == ()


def test_a_sample_of_rows_starts_a_large_table():
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(16, 23, 6000)), np.exp(rng.uniform(20, 27, 6000))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(0.01 * rng.standard_normal(6000))
    found = fit("chinchilla", pd.DataFrame({"params": n, "tokens": d, "loss": loss}), bootstrap=0, delta=0.01)
    whole = solve(found.problem)
    assert found.objective.value == pytest.approx(whole.value, rel=1e-10)
    assert found.solution == pytest.approx(
        {"E": 1.8, "A": 480, "B": 2100, "alpha": 0.35, "beta": 0.37}, rel=0.05
    )


def test_html_and_tables_show_no_number_that_is_not_identified(simulated):
    found = fit("chinchilla", simulated(5), bootstrap=20)
    table = found.ci()
    weak = table[table["verdict"] != "yes"]
    assert len(weak) and weak["estimate"].isna().all()
    assert (weak[["low", "high"]].notna().sum(axis=1) <= 1).all()
    page = found._repr_html_()
    assert page.startswith("<pre>") and "nan" not in page and str(found.status.code) in page
    assert "new_high" in found.predict(C=1e12)._repr_html_()


def test_replicates_of_a_large_table_are_those_solved_step_by_step():
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(18, 23, 6000)), np.exp(rng.uniform(20, 25, 6000))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(0.02 * rng.standard_normal(6000))
    problem = Problem(LAWS["chinchilla"], {"N": n, "D": d}, loss, Loss(0.02))
    cluster = np.arange(6000) // 20
    solution = solve(problem)
    found = replicate(problem, solution, cluster, "size", method="cluster", count=12)
    assert found.check["agree"] == found.check["n"] == 2
    times = np.random.default_rng(0).multinomial(300, np.full(300, 1 / 300), size=12)
    ends = minimise(
        problem, np.repeat(solution.u[None], 12, 0), draw=lambda i: (problem.y, times[i][:, cluster])
    )[0]
    ends = problem.shift(ends, 1.0)
    assert np.abs((found.u - ends) / ends.std(0)).max() < 2e-3


def four_sizes(noise: np.ndarray) -> pd.DataFrame:
    n, d = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e8, 8e8, 4), np.geomspace(1e9, 1e11, 8), indexing="ij")
    )
    loss = (1.8 + 480 / n**0.35 + 2100 / d**0.37) * np.exp(noise.ravel())
    return pd.DataFrame({"params": n, "tokens": d, "loss": loss})


def test_four_clusters_show_no_exponent_that_acts_between_them():
    """Residuals that happen to cancel make alpha look exact: its variance has one degree of freedom."""
    rng = np.random.default_rng(3)
    found = fit("chinchilla", four_sizes(3e-4 * rng.standard_normal((4, 8))), bootstrap=100)
    for name in ("alpha", "A"):
        assert found.identified[name].verdict == "no", name
        assert "4 sizes are too few to tell" in found.identified[name].reason
    assert found.identified["beta"].verdict == "yes"
    # narrow enough to bear an error of the width by a factor of ten
    exact = fit("chinchilla", four_sizes(1e-7 * rng.standard_normal((4, 8))), bootstrap=100)
    assert exact.identified["alpha"].verdict == "yes"


def test_few_clusters_look_no_more_precise_than_independent_runs():
    table = four_sizes(np.random.default_rng(1).standard_normal((4, 8)) * 0.003)
    table["run"] = np.arange(len(table))
    widths = {}
    for name, options in (
        ("auto", {}),
        ("wild-cluster", {"method": "wild-cluster"}),
        ("independent", {"method": "cr2", "cluster": "run"}),
    ):
        frame = fit("chinchilla", table, bootstrap=400, **options).predict(N=3e8, D=1e10).frame
        widths[name] = float(frame["se_log"].iloc[0])
    assert widths["wild-cluster"] < 0.7 * widths["independent"] and widths["auto"] > widths["independent"]


def test_a_flat_valley_is_not_left_along_a_straight_line():
    """With a small alpha, E and A are traded for one another; predictions know little of that."""
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(2e8, 1.3e9, 4), np.geomspace(2e9, 2e11, 5)))
    noise = np.exp(0.006 * np.random.default_rng(3).standard_normal(20))
    table = pd.DataFrame(
        {"params": n, "tokens": d, "loss": (0.12 + 7.85 / n**0.0585 + 64.7 / d**0.193) * noise}
    )
    frame = fit("chinchilla", table, bootstrap=60).predict(N=3e9, D=3e11).frame
    assert frame["high"].iloc[0] < 1.1 * frame["loss"].iloc[0]


def test_what_is_at_a_bound_in_the_optimum_moves_in_replicates():
    table, ends = four_sizes(np.random.default_rng(1).standard_normal((4, 8)) * 0.003), []
    for method in ("auto", "wild-cluster"):
        found = fit("chinchilla", table, method=method, bootstrap=60, bounds={"alpha": (0.36, 1.0)})
        assert found.solution["alpha"] == 0.36
        ends.append(np.array(found.replicates)[:, found.law.names.index("alpha")])
    assert (ends[0] == ends[1]).all() and ends[0].max() > 0.37


def test_an_optimum_that_was_not_reached_shows_no_number(study, monkeypatch):
    monkeypatch.setattr("analysis.solve.multistart.POLISH", 1)
    monkeypatch.setattr("analysis.solve.multistart.FAR", 1)
    found = fit("chinchilla", study, bootstrap=20)
    assert found.status.code == "not_converged" and set(found.params.values()) == {None}
    assert "stopped before its tolerance" in found.summary() and found.ci()["estimate"].isna().all()
    assert any("not an optimum" in note for note in found.predict(N=1e4, D=1e6).notes)


@pytest.mark.parametrize("sizes", [1, 2])
def test_a_group_of_one_or_two_sizes_has_nothing_of_its_own(sizes):
    """36 sizes elsewhere do not say how the few of this group would vary."""
    rng, rows = np.random.default_rng(0), []
    n = np.geomspace(1e7, 1e9, 36)
    for group, own, a in (("many", n, 400.0), ("few", n[10 : 10 + sizes], 500.0)):
        for size in own:
            shared = 0.01 * rng.standard_normal()
            rows += [(size, group, (1.7 + a / size**0.34) * np.exp(shared + 0.003 * rng.standard_normal()))
                     for _ in range(4)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["params", "group", "loss"])
    found = fit("power-offset-params", table, groups="group", own=["A"], bootstrap=60)
    assert found.identified["A[few]"]["verdict"] == "no" and "too few" in found.identified["A[few]"]["reason"]
    assert found.intervals.kind == "wild-cluster"
