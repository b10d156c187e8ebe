import numpy as np
import pandas as pd
import pytest

from analysis import LAWS, Law, fit
from analysis.problem import Loss, Problem
from analysis.solver import minimise, solve


def made(law=LAWS["chinchilla"], delta=0.005, space="log", **options):
    rng = np.random.default_rng(1)
    n, d = np.exp(rng.uniform(16, 22, 40)), np.exp(rng.uniform(20, 27, 40))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(0.01 * rng.standard_normal(40))
    return Problem(law, {"N": n, "D": d}, loss, Loss(delta, space), **options)


@pytest.fixture
def problem():
    return made()


def two_terms(N, D, E, A, B, alpha, beta):
    return E + A * N**-alpha + B * D**-beta


SAME = Law(
    "same", function=two_terms, linear=("E", "A", "B"),
    domains={"E": (0, np.inf), "A": (0, np.inf), "B": (0, np.inf), "alpha": (1e-3, 3), "beta": (1e-3, 3)},
)  # fmt: skip
GROUPS = {"group": np.arange(40) % 3, "labels": ("x", "y", "z"), "own": ("E", "B")}


@pytest.mark.parametrize("law", [LAWS["chinchilla"], SAME], ids=["closed form", "jax"])
@pytest.mark.parametrize("space", ["log", "raw", "log1p"])
@pytest.mark.parametrize("groups", [{}, GROUPS], ids=["one", "groups"])
def test_derivatives_are_exact(law, space, groups):
    problem = made(law, 0.02, space, **groups)
    rng = np.random.default_rng(0)
    x = {"E": 1.7, "A": 400.0, "B": 2000.0, "alpha": 0.34, "beta": 0.36}
    u = problem.coordinates({name: x[p] for name, p in zip(problem.names, problem.base, strict=True)})[None]
    w, y = rng.uniform(0.5, 2, (1, 40)), problem.y

    def at(v):
        return problem.model.derivatives(v, y, w)

    _, gradient, hessian, _ = at(u)
    fitted = problem.model.fitted(u)[0]
    for i in range(len(problem.names)):
        h = np.eye(len(problem.names))[i] * 1e-6
        up, down = at(u + h), at(u - h)
        assert gradient[0, i] == pytest.approx((up[0][0] - down[0][0]) / 2e-6, rel=1e-4, abs=1e-7)
        np.testing.assert_allclose(hessian[0, i], (up[1][0] - down[1][0]) / 2e-6, rtol=1e-3, atol=1e-4)
        slope = (problem.model.fitted(u + h)[0] - problem.model.fitted(u - h)[0]) / 2e-6
        np.testing.assert_allclose(problem.model.jacobian(u[0])[:, i], slope, rtol=1e-4, atol=1e-7)
    to = {"log": np.log, "raw": np.array, "log1p": np.log1p}[space]
    assert fitted == pytest.approx(to(problem.target), rel=0.2)


def test_starts_get_through_the_kinks_of_a_small_delta():
    """25 of 30 residuals are beyond delta, so that the objective is nearly a sum of absolute values."""
    rng = np.random.default_rng(3)
    n, d = np.repeat(np.geomspace(5e7, 2e9, 5), 6), np.tile(np.geomspace(1e9, 3e11, 6), 5)
    loss = (1.7 + 400 / n**0.34 + 2000 / d**0.37) * np.exp(0.004 * rng.standard_t(3, 30))
    assert solve(Problem(LAWS["chinchilla"], {"N": n, "D": d}, loss, Loss(1e-4))).agree >= 8


def test_closed_form_and_jax_find_the_same_optimum(problem):
    other = solve(made(SAME))
    here = solve(problem)
    assert other.value == pytest.approx(here.value, rel=1e-9)
    one, two = (problem.parameters(p.shift(s.u, 1.0)) for p, s in ((problem, here), (made(SAME), other)))
    assert two == pytest.approx(one, rel=1e-5)


def test_weights_repeat_rows(problem):
    counts = np.random.default_rng(2).integers(0, 3, 40)
    weighted = solve(made(weights=counts.astype(float)))
    rows = np.repeat(np.arange(40), counts)
    inputs = {x: v[rows] for x, v in problem.inputs.items()}
    repeated = solve(Problem(problem.law, inputs, problem.target[rows], problem.loss))
    assert weighted.value == pytest.approx(repeated.value, rel=1e-9)


def test_replicates_from_the_optimum_reach_what_many_starts_reach(problem):
    weights = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=6).astype(float)
    start = np.repeat(solve(problem).u[None], 6, axis=0)
    _, found, done = minimise(problem, start, draw=lambda which: (problem.y, weights[which]))
    assert done.all()
    for value, w in zip(found, weights, strict=True):
        assert value == pytest.approx(solve(problem, w=w).value, rel=1e-6)


def test_a_large_table_is_sampled_with_all_its_groups():
    """8 rows of 6,000 are seldom among 2,000."""
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(16, 20, 6_008)), np.exp(rng.uniform(18, 22, 6_008))
    group = np.where(np.arange(6_008) < 8, "few", "many")
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(0.01 * rng.standard_normal(6_008))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": loss, "group": group})
    found = fit("chinchilla", table, groups="group", own=["E"], bootstrap=0)
    assert found.solution["alpha"] == pytest.approx(0.34, rel=0.1)
