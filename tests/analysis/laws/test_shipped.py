"""Shipped laws: their formulas against plain NumPy, and truth given back from simulated runs."""

import numpy as np
import pandas as pd
import pytest

from analysis import LAWS, AnalysisError, bnsl, fit, precision
from analysis.laws.lookup import from_dict

N, D = (x.ravel() for x in np.meshgrid(np.geomspace(3e7, 3e9, 6), np.geomspace(1e9, 1e12, 6)))
U = D / np.tile([1.0, 4.0, 20.0, 100.0], 9)
BITS = {"weight_bits": np.tile([3.0, 4, 8], 12), "activation_bits": np.repeat([3.0, 6, 12], 12),
        "cache_bits": np.tile([3.0, 3, 5, 12], 9)}  # fmt: skip
SPARSITY = np.tile([0.0, 3 / 4, 7 / 8, 15 / 16], 9)
INPUTS = {"N": N, "D": D, "C": 6 * N * D, "M": D / N, "unique_tokens": U, "sparsity": SPARSITY, **BITS}
TRUTH = {
    "over-training": {"E": 1.7, "A": 140.0, "B": 190.0, "eta": 0.12},
    "data-constrained": {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.35, "beta": 0.34, "RN": 5.3,
                         "RD": 15.4},
    "data-constrained-tied": {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.35, "RN": 5.3, "RD": 15.4},
    "data-bounded": {"E": 1.8, "L0": 10.8, "A": 60.0, "B": 180.0, "K": 3.0, "alpha": 0.35, "beta": 0.36,
                     "gamma": 0.3, "delta": 0.5},
    "farseer": {"a1": -1.17, "b1": -0.1826, "alpha": 0.1943, "a2": 17.6, "b2": -14.0414, "beta": -0.0614,
                "a3": -0.665, "b3": -0.8188, "gamma": 0.239},
    "precision": {"E": 2.76, "A": 4300.0, "B": 18000.0, "alpha": 0.5, "beta": 0.51, "gw": 2.7, "ga": 2.2,
                  "gkv": 0.96},
    "precision-weights": {"E": 2.76, "A": 4300.0, "B": 18000.0, "alpha": 0.5, "beta": 0.51, "gw": 2.7},
    "sparsity": {"E": 1.8, "A": 400.0, "B": 900.0, "alpha": 0.33, "beta": 0.3, "delta": 0.15},
    "sparsity-joint": {"E": 1.8, "A": 400.0, "B": 900.0, "alpha": 0.33, "beta": 0.3, "delta": 0.4,
                       "gamma": 0.02, "omega": -0.1, "zeta": -0.01},
    "bnsl-1": {"a": 0.4, "b": 300.0, "c0": 0.11, "c1": 0.2, "d1": 1e19, "f1": 0.3},
    "bnsl-2": {"a": 0.4, "b": 300.0, "c0": 0.11, "c1": 0.5, "d1": 1e18, "f1": 0.1, "c2": -0.4, "r2": 300.0,
               "f2": 0.2},
}  # fmt: skip


def formula(name, p):
    """The published formulas, once more."""
    if name == "over-training":
        return (
            p["E"] + (p["A"] * (D / N) ** p["eta"] + p["B"] * (D / N) ** -p["eta"]) * (6 * N * D) ** -p["eta"]
        )
    if name.startswith("data-constrained"):
        alpha, beta = p["alpha"], p.get("beta", p["alpha"])
        g = (alpha * p["A"] / (beta * p["B"])) ** (1 / (alpha + beta))
        c = 6 * (g * U) ** ((alpha + beta) / alpha)  # so that D_opt(C) = U
        un = np.minimum(N, g * (c / 6) ** (beta / (alpha + beta)))
        rn, rd = N / un - 1, D / U - 1
        size = un + un * p["RN"] * (1 - np.exp(-rn / p["RN"]))
        return (
            p["E"] + p["A"] / size**alpha + p["B"] / (U + U * p["RD"] * (1 - np.exp(-rd / p["RD"]))) ** beta
        )
    if name == "data-bounded":
        h = p["A"] / N ** p["alpha"] + p["B"] / D ** p["beta"] + p["K"] * N ** p["gamma"] / U ** p["delta"]
        return p["E"] + (p["L0"] - p["E"]) * h / (1 + h)
    if name == "farseer":
        n = N / 1e9
        floor = np.exp(p["a3"] * n ** p["gamma"] + p["b3"])
        return floor + np.exp(p["a2"] * n ** p["beta"] + p["b2"]) * D ** -np.exp(
            p["a1"] * n ** p["alpha"] + p["b1"]
        )
    if name.startswith("sparsity"):
        x = 1 / (1 - INPUTS["sparsity"])
        on = {"gamma": 0.0, "omega": 0.0, "zeta": 0.0} | p
        size = N ** (-p["alpha"] + on["gamma"] * np.log(x))
        data = D ** (-p["beta"] + on["zeta"] * np.log(x))
        return p["E"] + p["A"] * x ** -p["delta"] * size + p["B"] * x ** -on["omega"] * data
    if name.startswith("precision"):
        size = N
        for gamma, bits in zip(("gw", "ga", "gkv"), BITS.values(), strict=True):
            size = size * (1 - np.exp(-bits / p[gamma])) if gamma in p else size
        return p["E"] + p["A"] / size ** p["alpha"] + p["B"] / D ** p["beta"]
    c = 6 * N * D
    y = p["b"] * c ** -p["c0"] * (1 + (c / p["d1"]) ** (1 / p["f1"])) ** (-p["c1"] * p["f1"])
    if "c2" in p:
        y = y * (1 + (c / (p["d1"] * p["r2"])) ** (1 / p["f2"])) ** (-p["c2"] * p["f2"])
    return p["a"] + y


@pytest.mark.parametrize("name", TRUTH)
def test_a_law_is_its_published_formula(name):
    law = LAWS[name]
    assert law.values(TRUTH[name], INPUTS) == pytest.approx(formula(name, TRUTH[name]), rel=1e-10)
    assert all(law.domain(k)[0] <= v <= law.domain(k)[1] for k, v in TRUTH[name].items())


def test_every_law_says_where_it_comes_from():
    for name, law in LAWS.items():
        assert (
            law.name == name and "arXiv:" in law.source and law.assumptions and law.formula.startswith("L = ")
        )
        assert from_dict(law.to_dict()) is law


def table(name, noise=0.0):
    loss = LAWS[name].values(TRUTH[name], INPUTS)
    noise = np.exp(noise * np.random.default_rng(0).standard_normal(len(loss)))
    columns = {"params": N, "tokens": D, "flops": 6 * N * D, "unique_tokens": U, "sparsity": SPARSITY}
    return pd.DataFrame({**columns, **BITS, "loss": loss * noise})


@pytest.mark.slow
def test_over_training_is_tied_in_other_words():
    """Gadre et al., eq. 4: eta is half of tied's exponent; M comes from N and D."""
    runs = table("over-training", 0.003)
    one, two = (fit(name, runs, bootstrap=0, delta=0.004) for name in ("over-training", "tied"))
    assert one.objective.value == pytest.approx(two.objective.value, rel=1e-7)
    assert 2 * one.solution["eta"] == pytest.approx(two.solution["eta"], rel=1e-4)
    at = {"N": [1e10], "D": [1e12], "C": [6e22]}
    assert one.predict(at)["loss"].item() == pytest.approx(two.predict(at)["loss"].item(), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTH)
def test_truth_is_given_back(name):
    near = {"d1": (2e17, 2e21), "r2": (2, 1e4)} if name == "bnsl-2" else {}
    found = fit(name, table(name), bootstrap=0, objective="log-ls", bounds=near)
    assert found.objective.value < 1e-10
    for parameter, value in TRUTH[name].items():
        assert found.solution[parameter] == pytest.approx(value, rel=1e-3), parameter


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: bnsl(0), "breaks = 0 must be a whole number"),
        (lambda: bnsl(1, "width"), "within = None must be 0 < low < high, the range of 'width'"),
        (
            lambda: precision("gradients"),
            "unknown parts gradients; choose one of weights, activations, cache",
        ),
    ],
)
def test_makers_of_laws_refuse_in_words(make, says):
    with pytest.raises(AnalysisError, match=says):
        make()
