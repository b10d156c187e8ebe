"""Requests that contradict themselves, and what predictions and text make of a fit."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, Law, fit
from analysis.tables.table import tell


@pytest.fixture(scope="module")
def table():
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e12, 5)))
    return pd.DataFrame({"params": n, "tokens": d, "loss": 1.8 + 480 / n**0.35 + 2100 / d**0.37})


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"fixed": {"E": 1.8}, "bounds": {"E": (0, 1)}}, "but it is fixed at 1.8, which lies outside"),
        ({"bounds": {"zz": (0, 1)}}, "not one of E, A, B, alpha, beta, the parameters of law 'chinchilla'"),
        ({"bounds": {"E": (1, 0)}}, "ends must rise"),
        ({"delta": 1e-3, "objective": "log-ls"}, "belongs to objective 'huber', not 'log-ls'"),
    ],
)
def test_contradictions_are_refused(table, asked, says):
    with pytest.raises(AnalysisError, match=says):
        fit("chinchilla", table, **asked)


def test_a_constant_above_the_losses_is_named(table):
    with pytest.raises(
        AnalysisError, match=r"fixed=.'E': 5.0.: must lie below the smallest loss, 2.028 in row 24; take E"
    ):
        fit("chinchilla", table, fixed={"E": 5.0}, bootstrap=0)
    two = pd.concat([table.assign(kind="a"), table.assign(kind="b", loss=2 * table["loss"])])
    with pytest.raises(AnalysisError, match=r"'E.a.': 3.0.: must lie below"):
        fit("chinchilla", two, groups="kind", own=("E",), fixed={"E[a]": 3.0, "E[b]": 3.0}, bootstrap=0)
    bounded = fit("chinchilla", table, bounds={"E": (5, 6)}, bootstrap=0).status
    assert bounded["message"].startswith("E is bounded from below by 5")
    rising = fit("chinchilla", table.assign(loss=5 - table["loss"]), bootstrap=0).status
    assert rising["message"].startswith("'loss' rises with size and tokens")


def test_a_loss_that_does_not_fall_is_named():
    n, d = np.repeat([1e7, 1e8, 1e9, 1e10], 4), np.tile([1e9, 1e10, 1e11, 1e12], 4)
    noise = np.random.default_rng(1).standard_normal(32)[16:]  # correlates with neither, by luck
    loss = 3 + 0.0002 * np.log(n) + 0.01 * noise
    status = fit("chinchilla", pd.DataFrame({"params": n, "tokens": d, "loss": loss}), bootstrap=0).status
    assert status.message == "the loss does not fall with N, D"


def test_size_or_tokens_follow_from_compute(table):
    found = fit("chinchilla", table, convention="total", bootstrap=0)
    whole = found.predict(N=1e9, D=2e10)["loss"]
    np.testing.assert_allclose(found.predict(N=1e9, C=1.2e20)["loss"], whole)
    np.testing.assert_allclose(found.predict(D=2e10, C=1.2e20)["loss"], whole)
    cost = table["params"] ** 0.9 * table["tokens"] * 50
    other = fit("chinchilla", table.assign(flops=cost), bootstrap=0)
    for given in ({"N": 1e9}, {"D": 2e10}):
        found = other.predict(C=50 * 1e9**0.9 * 2e10, **given)
        np.testing.assert_allclose(found["loss"], whole, rtol=1e-6)
    six = fit("chinchilla", table.assign(flops=cost), convention="6nd", bootstrap=0)
    np.testing.assert_allclose(six.predict(N=1e9, C=1.2e20)["loss"], whole, rtol=1e-6)


def test_text_has_the_unit_and_what_is_known_of_a_formula(table):
    table = table.copy()
    tell(table, units={"loss": "nats per byte"})
    law = Law(
        "bent", function=lambda N, E, A, k: E + A * jnp.exp(-k * jnp.log(N)), linear=("E", "A"),
        domains={"E": (0, 9), "A": (0, 1e4), "k": (0.1, 2)}, source="a notebook", assumptions="D is nothing",
    )  # fmt: skip
    text = fit(law, table, bootstrap=0).summary()
    assert "L in nats per byte" in text and "bent: L = bent(N)" in text
    for line in ("parameters: E, A, k", "source: a notebook", "assumes: D is nothing"):
        assert f"\n  {line}\n" in text
    other = fit("power-params", table.assign(y=table["loss"]), target="y", bootstrap=0).summary()
    assert "L is the column 'y'" in other
