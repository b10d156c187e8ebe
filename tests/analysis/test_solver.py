import numpy as np
import pytest

from analysis.laws import LAWS
from analysis.solver import Loss, Problem, derivatives, minimise, solve


@pytest.fixture
def problem():
    rng = np.random.default_rng(1)
    n, d = rng.uniform(16, 22, 40), rng.uniform(20, 27, 40)
    loss = 1.8 + 480 * np.exp(-0.35 * n) + 2100 * np.exp(-0.37 * d)
    return Problem(
        LAWS["chinchilla"], {"N": n, "D": d}, np.log(loss) + 0.01 * rng.standard_normal(40), Loss(0.005), {}
    )


def test_derivatives_are_exact(problem):
    rng = np.random.default_rng(0)
    u = np.array([[0.5, -1.0, -1.5, 0.3, 0.4]])
    design, w = problem.design, rng.uniform(0.5, 2, (1, 40))
    _, gradient, hessian, _ = derivatives(design, u, problem.log_loss, w, problem.loss)
    for i in range(5):
        h = np.eye(5)[i] * 1e-6
        up, down = (derivatives(design, u + s * h, problem.log_loss, w, problem.loss) for s in (1, -1))
        assert gradient[0, i] == pytest.approx((up[0][0] - down[0][0]) / 2e-6, rel=1e-5, abs=1e-9)
        np.testing.assert_allclose(hessian[0, i], (up[1][0] - down[1][0]) / 2e-6, rtol=1e-4, atol=1e-6)


def test_weights_repeat_rows(problem):
    counts = np.random.default_rng(2).integers(0, 3, 40)
    weighted = solve(problem, weights=counts.astype(float))
    rows = np.repeat(np.arange(40), counts)
    logs = {x: v[rows] for x, v in problem.logs.items()}
    repeated = solve(Problem(problem.law, logs, problem.log_loss[rows], problem.loss, {}))
    assert weighted.value == pytest.approx(repeated.value, rel=1e-9)


def test_replicates_from_the_optimum_reach_what_many_starts_reach(problem):
    weights = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=6).astype(float)
    start = np.repeat(solve(problem).u[None], 6, axis=0)
    _, found, done = minimise(problem, start, weights=weights)
    assert done.all()
    for value, w in zip(found, weights, strict=True):
        assert value == pytest.approx(solve(problem, weights=w).value, rel=1e-6)
