"""What runs cost, and the optimum on the curve of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from analysis import Fit, Law, fit, load
from analysis.codec import plain, read
from analysis.errors import AnalysisError
from analysis.fits import allocation
from analysis.fits.cost import counted, fitted
from analysis.fits.rate_curve import Curve
from analysis.fits.rates import Known, Power, nearest_power
from analysis.fits.shapes import cost_of_shapes

E, A, B, ALPHA, BETA = 1.7, 400.0, 600.0, 0.34, 0.30
VOCAB, CONTEXT = 32_768, 2048


def gpt(width, norms=0.0):
    """Body, total and FLOPs per token of models with depth = width / 64."""
    depth = width / 64
    gains = norms * (2 * depth + 1) * width
    body = 12 * depth * width**2 + gains
    rate = 6 * (body - gains + VOCAB * width) + 6 * depth * width * (CONTEXT + 1)
    return body, body + 2 * VOCAB * width, rate


def table(total=False, noise=0.0, **more):
    width = np.repeat([128.0, 192, 256, 384, 512, 640, 768, 1024], 5)
    body, all_, rate = gpt(width, **more)
    n, d = all_ if total else body, np.tile([10, 20, 40, 80, 160], 8) * all_
    scatter = np.exp(noise * np.random.default_rng(0).standard_normal(len(n)))
    return pd.DataFrame({
        "params": n, "tokens": d, "flops": rate * d * scatter, "loss": E + A / n**ALPHA + B / d**BETA,
        "width": width, "depth": width / 64, "context": CONTEXT, "vocab_size": VOCAB,
    })  # fmt: skip


def columns(frame):
    return tuple(frame[x].to_numpy(float) for x in ("params", "tokens", "flops"))


def bare(**more):
    return table(**more)[["params", "tokens", "flops", "loss"]]


def best_size(c, total=False):
    """N* by stationarity in the width."""

    def slope(log_width, step=1e-4):
        loss = []
        for x in (log_width - step, log_width + step):
            body, all_, rate = gpt(np.exp(x))
            loss.append(A / (all_ if total else body) ** ALPHA + B / (c / rate) ** BETA)
        return loss[1] - loss[0]

    width = np.exp(brentq(slope, np.log(64), np.log(1e5), xtol=1e-13))
    return gpt(width)[1 if total else 0]


SAME = Law(
    "same", function=lambda N, D, E, A, B, alpha, beta: E + A / N**alpha + B / D**beta,
    domains={"E": (0, 9), "A": (1, 1e6), "B": (1, 1e6), "alpha": (0, 2), "beta": (0, 2)},
    linear=("E", "A", "B"),
)  # fmt: skip


@pytest.fixture(scope="module")
def exact():
    """The law that the tables have, fitted to one that costs 6 N D."""
    plain_cost = bare().assign(flops=lambda x: 6 * x["params"] * x["tokens"])
    return fit("chinchilla", plain_cost, bootstrap=0)


@pytest.mark.parametrize(("total", "near", "slow"), [(False, 0.001, 0.002), (True, 0.02, 0.01)])
def test_a_curve_is_the_cost_of_a_transformer_beyond_the_table(total, near, slow):
    frame = table(total)
    cost = fitted(*columns(frame))
    assert isinstance(cost, Curve) and cost.misfit < 0.01
    body, all_, rate = gpt(np.array([2048.0, 4096, 8192]))
    n = all_ if total else body
    assert cost.flops(n, 1.0) == pytest.approx(rate, rel=near)
    x = np.log(np.geomspace(frame["params"].min() / 1e3, 1e13, 200))
    assert (cost.slope(x) > 0).all() and cost.slope(x[-1:]) == pytest.approx(1, abs=slow)
    numeric = (cost.log_rate(x + 1e-5) - cost.log_rate(x - 1e-5)) / 2e-5
    assert cost.slope(x) == pytest.approx(numeric, abs=1e-4)
    lines = f"{cost.sizes.low:.3g} {cost.sizes.high:.3g}"
    assert lines == f"{frame['params'].min():.3g} {frame['params'].max():.3g}"


def test_draws_of_a_curve_spread_with_the_scatter_of_the_table_and_with_distance():
    spread = {}
    for noise in (0.0, 0.02):
        cost = fitted(*columns(table(noise=noise)))
        rate = cost.drawn(40)
        spread[noise] = np.std(rate.log_rate(np.log([1e7, 1e10])), axis=0)
        truth = np.log(gpt(4096.0)[2])
        ends = np.quantile(rate.log_rate(np.log([gpt(4096.0)[0]])), [0.02, 0.98])
        assert ends[0] - 0.005 < truth < ends[1] + 0.005
    assert (spread[0.02] > (10, 1.5) * spread[0.0]).all() and (spread[0.0] > 0).all() and cost.misfit > 0.02


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("total", [True, False])
def test_shapes_give_the_cost_where_they_reproduce_it(total, shown):
    frame = table(total).assign(N=lambda x: x["params"], D=lambda x: x["tokens"], C=lambda x: x["flops"])
    cost, why = cost_of_shapes(frame if shown else frame.drop(columns="depth"))
    assert (cost is not None) == shown and why == ""
    if cost is not None:
        body, all_, rate = gpt(np.array([64.0, 400, 8192]))
        assert cost.flops(all_ if total else body, 1.0) == pytest.approx(rate, rel=1e-4)
        assert cost.misfit < 1e-4 and "N^0.33" in cost.beyond and "causal attention, head" in cost.description
    none, why = cost_of_shapes(frame.assign(C=frame["C"] * frame["N"] ** 0.1))
    assert none is None and ("do not explain the table's C" in why)
    assert cost_of_shapes(frame.assign(vocab_size=frame["width"])) == (None, "")


@pytest.mark.parametrize(("kappa", "gamma"), [(6.0, 1.0), (300.0, 0.8)])
def test_an_exact_power_has_the_closed_form_that_a_search_finds(exact, kappa, gamma):
    def rate(n):
        return kappa * n**gamma

    n, d, _ = columns(bare())
    power = nearest_power(n, d, rate(n) * d)
    assert fitted(n, d, rate(n) * d) == power and power.gamma == pytest.approx(gamma)
    known, at = counted(rate, n, d, rate(n) * d), np.array([1e17, 1e19, 1e21])
    closed = allocation.best(exact.problem, exact.point, power, at)
    assert allocation.best(exact.problem, exact.point, known, at) == pytest.approx(closed, rel=1e-9)
    if gamma != 1:
        problem = replace(exact.problem, law=SAME)
        point = problem.shift(problem.coordinates(exact.solution), 1.0)[None]
        assert allocation.best(problem, point, power, at[:1])[0] == pytest.approx(closed[0, :1], rel=1e-6)
    a, b, _ = allocation.best_exponents(exact.problem, exact.point, power, np.nan)
    assert a[0] == pytest.approx(BETA / (ALPHA + gamma * BETA), rel=1e-4) and b[0] == pytest.approx(
        1 - gamma * a[0]
    )
    assert allocation.local(exact.problem, exact.point, known, at)[0][0] == pytest.approx(a[0], abs=1e-6)


@pytest.mark.parametrize("total", [False, True])
def test_the_optimum_is_that_on_the_true_cost(exact, total):
    frame = table(total)
    asked = np.array([7e17, 7e19, 7e20])
    truth = np.array([best_size(c, total) for c in asked])
    for given, near in ((frame, 0.001), (bare(total=total), 0.02 if total else 0.001)):
        found = fit("chinchilla", given, bootstrap=0)
        best = found.optimal(asked)
        assert best["N"].to_numpy() == pytest.approx(truth, rel=near)
        assert found.cost.flops(best["N"], best["D"]) == pytest.approx(asked, rel=1e-9)
        low, high = (found.optimal(c * asked)["N"] for c in (0.9, 1 / 0.9))
        local = np.log(high / low) / np.log(0.9**-2)
        assert best["a"].to_numpy() == pytest.approx(local.to_numpy(), abs=0.003)
        assert found.optimum.at == max(given["flops"]) and found.optimum.log_G is None
        assert Fit.from_json(found.to_json()).optimal(asked).equals(best)
    assert any("cost of sizes beyond" in note and "extrapolated" in note for note in best.attrs["notes"])
    if total:
        assert any("a and b drift" in note for note in found.notes)


def test_a_cost_is_given_to_a_fit_or_to_a_question(exact):
    frame, asked = bare(), [7e19]
    truth = best_size(7e19)

    def rate(n):  # of models as in the table
        width = np.cbrt(n * 64 / 12)
        return gpt(width)[2]

    given = fit("chinchilla", frame, cost=rate, bootstrap=0)
    assert (
        isinstance(given.cost, Known)
        and given.cost.misfit < 1e-4
        and not given.optimal(asked).attrs["notes"][1:]
    )
    assert given.optimal(asked)["N"].item() == pytest.approx(truth, rel=0.001)
    assert exact.optimal(asked, cost=rate)["N"].item() == pytest.approx(truth, rel=0.001)
    assert exact.optimal(asked, cost=given.cost)["N"].item() == pytest.approx(truth, rel=0.001)
    six = fit("chinchilla", frame, convention="6nd", bootstrap=0)
    assert six.cost == Power(6.0) and six.optimum.log_G is not None
    assert exact.optimal(asked)["N"].item() == pytest.approx(six.optimal(asked)["N"].item(), rel=1e-3)
    wrong = fit("chinchilla", frame, cost=lambda n: 6 * n, bootstrap=0)
    assert any("differs by" in note and note.startswith("cost: ") for note in wrong.notes)
    for bad, why in ((lambda n: 1 / n, "must rise with N"), (lambda n: "much", "does not take"),
                     (lambda n: np.where(n > 1e6, n, np.nan), "finite and positive")):  # fmt: skip
        with pytest.raises(AnalysisError, match=why):
            fit("chinchilla", frame, cost=bad, bootstrap=0)
    with pytest.raises(AnalysisError, match="must be a function of N"):
        fit("chinchilla", frame, cost="6nd", bootstrap=0)


def test_intervals_include_what_is_not_known_of_the_cost():
    frame = bare(noise=0.02)
    found = fit("chinchilla", frame, bootstrap=40)
    assert isinstance(found.cost, Curve) and any("differs by" in note for note in found.notes)
    certain = replace(found.cost, draws=(found.cost.coefficients,))
    for c in ({"C": 7e20}, {"C": 7e20, "N": 1e9}, {"C": 7e20, "D": 5e10}):
        wide, narrow = (found.predict(c, cost=cost).frame.iloc[0] for cost in (None, certain))
        assert wide["loss"] == narrow["loss"] and wide["se_log"] > narrow["se_log"]
    wide, narrow = (found.optimal(7e20, cost=cost).iloc[0] for cost in (None, certain))
    for x in "ND":
        assert wide[f"{x}_high"] / wide[f"{x}_low"] > narrow[f"{x}_high"] / narrow[f"{x}_low"]


def test_what_lies_beyond_the_data_is_said_of_every_input(exact):
    n, d = max(exact.data["N"]), max(exact.data["D"])
    c = max(exact.data["C"])
    far = exact.predict({"N": [n, 3 * n, n / 1e9, 1.005 * n], "D": [d, 20 * d, d, d]})
    assert far["extrapolation"].tolist() == pytest.approx([1, 60, min(exact.data["N"]) * 1e9 / n, 1])
    assert far["beyond"].tolist()[:2] == ["", "N 3x, D 20x, C 60x"] and far["beyond"].iloc[3] == ""
    assert far["beyond"].iloc[2].startswith("N ") and any(
        "beyond the data (N by" in note for note in far.notes
    )
    with_c = exact.predict({"N": 3 * n, "D": 20 * d, "C": 60 * c}).frame.iloc[0]
    assert (with_c["beyond"], with_c["extrapolation"]) == ("N 3x, D 20x, C 60x", pytest.approx(60))
    best = exact.optimal([c, 30 * c])
    assert best["extrapolation"].iloc[0] == pytest.approx(best["N"].iloc[0] / n)
    assert best["beyond"].iloc[0] == f"N {best['N'].iloc[0] / n:.3g}x" and "C 30x" in best["beyond"].iloc[1]
    assert not exact.predict(N=n, D=d).notes


def test_costs_are_read_back_as_they_were_written(exact):
    for given in (
        Power(6.0),
        fitted(*columns(bare())),
        counted(lambda n: 6 * n + 1e3 * n**0.5, *columns(bare())),
    ):
        assert read(Power | Known | Curve, plain(given)) == given
    old = plain(exact)
    del old["optimum"]["cost"]["kind"]
    assert Fit.from_dict(old).cost == exact.cost


@pytest.mark.parametrize("name", ["gpt_body", "gpt_body_shapes", "gpt_total"])
def test_the_tables_in_the_wild_have_the_optimum_under_their_true_cost(field, name):
    said = {"params": "params_body"} if "shapes" in name else None
    found = fit("chinchilla", load(field / "flops_curvature" / f"{name}.csv", columns=said), bootstrap=40)
    best = found.optimal(6.9e19).iloc[0]
    right, near = {"gpt_body": (5.8e8, 0.15), "gpt_body_shapes": (5.8e8, 0.02), "gpt_total": (5.3e8, 0.15)}[
        name
    ]
    assert (
        best["N"] == pytest.approx(right, rel=near)
        and best["N_low"] < right * 1.02
        and right < best["N_high"] * 1.02
    )
    if "body" in name:
        assert 0.45 < best["a"] < 0.465 and 0.45 < found.optimum.a < 0.465
    assert any("the cost of sizes beyond" in note for note in found.optimal(6.9e20).attrs["notes"])
