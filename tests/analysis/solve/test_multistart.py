from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import lsq_linear

from analysis import LAWS, Law, fit
from analysis.solve.multistart import minimise, solve
from analysis.solve.problem import Loss, Problem


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


def cubic(N, D, a, b, c, d, e, f, g):
    return a + b * N + c * D + d * N**2 + e * N * D + f * D**2 + g * N**3


def test_steps_follow_the_faces_of_the_box():
    """Least squares on features that go together, the optimum on two faces of the box: every start is there
    in 15 steps. Steps cut short one coordinate at a time need more than 40 for half of the starts."""
    rng = np.random.default_rng(0)
    n = rng.uniform(3, 5, 60)
    inputs = {"N": n, "D": n + 0.3 * rng.standard_normal(60)}
    loss = 2 + np.exp(-n + 0.3 * inputs["D"]) + 0.3 * (n - inputs["D"]) ** 2 + 0.01 * rng.standard_normal(60)
    domains = {p: (-10, 10) if p == "a" else (-0.3, 0.3) for p in "abcdefg"}
    problem = Problem(Law("cubic", function=cubic, domains=domains), inputs, loss, Loss(np.inf, "raw"))
    zero = dict.fromkeys("abcdefg", 0.0)
    features = np.stack([cubic(**inputs, **(zero | {p: 1.0})) for p in domains], 1)
    best = lsq_linear(features, loss, np.array(list(domains.values()), float).T, method="bvls", tol=1e-14)
    assert np.abs(best.active_mask).sum() == 2
    low, high = problem.box
    start = rng.uniform(low, high, (64, 7))
    _, values, _ = minimise(problem, start, steps=15)
    assert values == pytest.approx(best.cost, rel=1e-9)
    ends, *_ = minimise(problem, start, steps=3, exact=False)  # every second one keeps off the faces
    at = ((ends == low) | (ends == high)).any(1)
    assert at[::2].any() and not at[1::2].any()


def uneven(N, D, a, b, c, k, m):
    return jnp.exp(a + b * jnp.log(N) + c * jnp.log(D) + k / N + m / N**2)


def test_coordinates_of_any_scale_move():
    """k is 1e8 and m 1e14 where the others are about 1: every start gets there."""
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(18, 21, 80)), np.exp(rng.uniform(20, 24, 80))
    truth = {"a": 3.0, "b": -0.06, "c": -0.04, "k": -4e6, "m": 3e14}
    loss = uneven(n, d, **truth) * np.exp(1e-4 * rng.standard_normal(80))
    domains = {"a": (-9, 9), "b": (-1, 1), "c": (-1, 1), "k": (-1e9, 1e9), "m": (-1e17, 1e17)}
    law = Law("uneven", function=uneven, domains=domains)
    found = solve(Problem(law, {"N": n, "D": d}, loss, Loss(np.inf)))
    assert found.agree == found.tried
    assert found.u[:3] == pytest.approx([3.0, -0.06, -0.04], rel=0.05)


def decay(x, a, b, c, d):
    return a + b * jnp.exp(-c * x) + d * x


@pytest.fixture(scope="module")
def bent():
    """A problem of :func:`decay` with most residuals beyond delta; c is fixed outside its domain."""
    x = np.linspace(0.1, 4, 40)
    loss = decay(x, 2.0, 3.0, 1.5, 0.1) * np.exp(0.01 * np.random.default_rng(0).standard_normal(40))
    domains = {"a": (0, 9), "b": (0, 9), "c": (0.1, 2.0), "d": (-1, 1)}
    law = Law("decay", function=decay, domains=domains)
    return Problem(law, {"x": x}, np.asarray(loss), Loss(1e-3), fixed={"c": 3.0})


def test_what_is_fixed_outside_its_domain_stays_there(bent):
    found = solve(bent)
    assert found.u[2] == 3.0 and found.agree == found.tried
    assert minimise(bent, found.u[None])[1][0] == pytest.approx(found.value, rel=1e-9)
    n, d = np.repeat(np.geomspace(1e7, 1e9, 5), 6), np.tile(np.geomspace(1e9, 1e11, 6), 5)
    loss = 1.7 + 400 / n**0.34 + 2000 / d**0.37
    limits = {"alpha": (0.35, 0.5), "beta": (0.05, 0.5)}
    plain = Problem(LAWS["chinchilla"], {"N": n, "D": d}, loss, Loss(0.01), fixed={"E": 0.0}, bounds=limits)
    found = solve(plain)
    assert found.agree == found.tried and found.bound


def test_an_objective_with_kinks_is_searched_around_its_best_end(bent):
    """Though all starts agree: those that come from afar may all be held by one of many optima."""
    smooth = solve(replace(bent, loss=Loss(1.0)))
    kinked = solve(bent)
    assert smooth.agree == smooth.tried == len(smooth.ends)
    assert kinked.agree == kinked.tried < len(kinked.ends)


def steep(x, a, b, c, d, e, f, g, h, k):
    return (
        a + b * x + c * x**2 + d * x**3 + e / x + f * jnp.sin(x) + g * jnp.cos(x) + h + jnp.exp(500 * k * x)
    )


def test_a_gradient_beyond_all_numbers_ends_no_fit():
    x = np.linspace(0.5, 4, 40)
    domains = {**dict.fromkeys("abcdefgh", (-5, 5)), "k": (-1, 1)}
    loss = 2 + 0.1 * x + 0.01 * np.random.default_rng(0).standard_normal(40)
    problem = Problem(Law("steep", function=steep, domains=domains), {"x": x}, loss, Loss(np.inf, "raw"))
    assert solve(problem).value < 0.5 * 40 * 0.01**2
