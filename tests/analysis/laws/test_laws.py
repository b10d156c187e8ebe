"""Laws of a user's own, by formula: what they get without more words, and what goes wrong in words."""

import numpy as np
import pandas as pd
import pytest

from analysis import LAWS, AnalysisError, Fit, Law, fit
from analysis.laws.lookup import find

SCRIPT = """
import jax.numpy as jnp
from analysis import Law

def bent(width, E, A, alpha, knee):
    return E + A * jnp.exp(-alpha * jnp.log1p(width / knee))

BENT = Law("bent", function=bent, linear=("E", "A"), source="nowhere",
           domains={"E": (0, 10), "A": (0, 100), "alpha": (0.01, 2), "knee": (1.0, 1e6)})
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("laws") / "mine.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def table():
    width = np.repeat(np.geomspace(10, 1e5, 15), 2)
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(30))
    return pd.DataFrame({"width": width, "loss": (1.5 + 3 * (1 + width / 300) ** -0.6) * noise})


@pytest.fixture(scope="module")
def fitted(script, table):
    return fit(f"{script}:BENT", table, cluster="width", bootstrap=40)


def test_a_law_from_a_script_gets_everything(fitted, script):
    assert fitted.solution == pytest.approx({"E": 1.5, "A": 3, "alpha": 0.6, "knee": 300}, rel=0.25)
    assert fitted.status.code == "ok" and fitted.starts.agree > 3
    assert fitted.intervals.params["E"][0] < 1.5 < fitted.intervals.params["E"][1]
    found = fitted.predict(width=1e6).frame.iloc[0]
    assert found["new_low"] < found["low"] < 1.5 + 3 * (1 + 1e6 / 300) ** -0.6 < found["high"]
    assert found["extrapolation"] == pytest.approx(10)
    assert "15 clusters by width" in fitted.intervals.method and "N = all parameters" not in str(fitted)
    value = fitted.law.values({"E": 1.5, "A": 3.0, "alpha": 0.6, "knee": 300.0}, {"width": [7.0]})
    assert value == pytest.approx(1.5 + 3 * np.exp(-0.6 * np.log1p(7 / 300)), rel=1e-13)  # float64
    held = fitted.profile("alpha", simulations=0)
    assert held.low < fitted.solution["alpha"] < held.high
    law = find(f"{script}:BENT")
    assert Fit.from_json(fitted.to_json(), fitted.law) == fitted and law.to_dict() == fitted.law.to_dict()
    with pytest.raises(AnalysisError, match=r"give its Law to Fit.from_json"):
        Fit.from_json(fitted.to_json()).predict(width=1e6)


def test_fitting_leaves_jax_as_it_was(fitted, table):
    import jax
    import jax.numpy as jnp

    def training_step():
        x = jnp.arange(64, dtype=jnp.float32) / 7
        return jax.jit(jax.grad(lambda v: jnp.tanh(v).sum()))(x)

    before, flag = training_step(), jax.config.jax_enable_x64
    again = fit(fitted.law, table, bootstrap=0)
    after = training_step()
    assert again.solution["E"] == pytest.approx(fitted.solution["E"], rel=1e-9)
    assert jax.config.jax_enable_x64 == flag and jnp.ones(3).dtype == jnp.float32
    assert after.dtype == jnp.float32 and np.array_equal(before, after)


def test_a_law_that_is_nowhere_finite_says_where(table):
    law = Law(
        "gone",
        function=lambda width, A, k: (A - 10.0) ** k + 0 * width,
        domains={"A": (0, 1), "k": (0.1, 0.9)},
    )
    with pytest.raises(AnalysisError, match=r"not finite and positive at any of .* starts"):
        fit(law, table)


def test_numpy_in_a_formula_is_refused_in_words(table):
    law = Law("np", function=lambda width, A, k: A * np.interp(width, [1, 1e5], [k, 1.0]),
              domains={"A": (0.1, 9), "k": (0.1, 2)}, linear=("A",))  # fmt: skip
    with pytest.raises(AnalysisError, match=r"write it with operators and jax.numpy"):
        fit(law, table)


def raises(width, A, k):
    raise KeyError("boom")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda width, A, k: A * width**-k + np.nan, r"not finite and positive at any of .* starts \(say A"),
        (lambda width, A, k: (A * width**-k)[:5], r"it gives shape \(5, 30\) for rows \(64, 30\)"),
        (lambda width, A, k: (A * width**-k)[:, None], r"it gives shape \(64, 1, 30\) for rows"),
        (lambda width, A, k: None, "its function fails"),
        (raises, r"law 'bad': its function fails \(KeyError: 'boom'\); write it with operators"),
    ],
)
def test_a_law_that_fails_says_how(table, function, says):
    law = Law("bad", function=function, domains={"A": (0, 9), "k": (0.1, 2)}, linear=("A",))
    with pytest.raises(AnalysisError, match=says):
        fit(law, table)
    flat = Law("bad", function=function, domains={"A": (0.1, 9), "k": (0.1, 2)})
    with pytest.raises(AnalysisError, match="law 'bad'"):
        fit(flat, table)


@pytest.mark.parametrize("column", ["width", "loss", "w"])
def test_unusable_cells_are_left_out_by_name(table, column):
    law = Law("plain", {"E": {}, "A": {"width": "k"}})
    bad = table.assign(w=1.0).astype({column: object})
    values = {7: 1e-320, 8: 0.0, 11: -1.0, 12: np.inf, 17: np.nan, 18: 1e300, 23: "12M"}
    bad[column] = [values.get(i, value) for i, value in enumerate(bad[column])]
    found = fit(law, bad, weights="w", cluster="width", bootstrap=0)
    clean = fit(law, table.drop(index=[*values]), cluster="width", bootstrap=0)
    assert found.solution == pytest.approx(clean.solution)
    name = {"loss": "L"}.get(column, column)
    for left_out, (row, value) in zip(found.excluded, values.items(), strict=True):
        assert left_out["row"] == f"row {row}" and left_out["reason"].startswith(f"{name} = {value} is not ")


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing.py:X", "no such file"), ("{}:BEND", "it has BENT"), ("chinchila", "unknown")],
)
def test_laws_not_found(script, name, words):
    with pytest.raises(AnalysisError, match=words):
        find(name.format(script))


def test_a_definition_is_checked():
    with pytest.raises(AnalysisError) as error:
        Law("bad", function=lambda N, a, b: a, domains={"a": (2, 1), "b": (0, np.inf)}, linear=("c",))
    assert len(error.value.problems) == 3


@pytest.mark.slow
def test_kaplan_joint_gives_back_its_truth_and_its_allocation():
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    truth = {"Nc": 8.8e13, "Dc": 5.4e13, "aN": 0.076, "aD": 0.095}
    loss = LAWS["kaplan"].values(truth, {"N": n, "D": d})
    bracket = (truth["Nc"] / n) ** (truth["aN"] / truth["aD"]) + truth["Dc"] / d
    assert loss == pytest.approx(bracket ** truth["aD"], rel=1e-13)
    found = fit("kaplan", pd.DataFrame({"params": n, "tokens": d, "loss": loss}), bootstrap=0)
    assert found.solution == pytest.approx(truth, rel=1e-4)
    # at 6 N D = C the two terms of the bracket, N^-r and D^-1, give N* ~ C^(1 / (1 + r))
    assert found.optimum.a == pytest.approx(1 / (1 + 0.076 / 0.095), rel=1e-3)
    best = found.optimal(1e20).iloc[0]
    losses = found.predict(N=best["N"] * np.array([0.8, 1, 1.25]), D=best["D"] / np.array([0.8, 1, 1.25]))[
        "loss"
    ]
    assert int(np.argmin(losses)) == 1


def test_columns_that_are_missing_are_all_named(fitted):
    with pytest.raises(AnalysisError) as error:
        fit(fitted.law, pd.DataFrame({"params": [1.0]}), weights="w")
    assert [p.split("'")[1] for p in map(str, error.value.problems)] == ["width", "loss", "w"]
