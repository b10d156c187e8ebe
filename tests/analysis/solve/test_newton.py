"""Steps of Newton's method: both ways to solve for them agree."""

import numpy as np
import pytest

from analysis.solve import newton


@pytest.mark.parametrize("least", [1.0, 1e-13, -0.5])
def test_matrices_are_solved_alike_and_those_not_positive_are_found(least):
    """Eigenvalues of 12 x 12 matrices: positive, one too small to be told from 0, one negative."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((5, 12, 12)))[0]
    values = np.linspace(1.0, 3.0, 12) * np.ones((5, 1))
    values[2, 0] = least
    h = np.einsum("rip,rp,rjp->rij", axes, values, axes)
    g, damping = rng.standard_normal((5, 12)), np.full(5, 1e-14)
    found, bent = newton._solved(h, g, damping)
    small, too = newton._factored(h, g, damping)
    assert bent[2] == too[2] == (least < 1e-11)
    good = [0, 1, 3, 4]
    assert not bent[good].any() and not too[good].any()
    assert found[good] == pytest.approx(small[good], rel=1e-9)


def test_a_step_of_many_coordinates_goes_down_where_the_matrix_bends_down():
    h = np.diag(np.linspace(-1.0, 2.0, 12))[None]
    g, wide = np.ones((1, 12)), np.ones((1, 12))
    step, gain = newton._direction((g, h, wide, np.full(1, 1e-3)), np.ones((1, 12), bool), wide)
    assert (step * g).sum() < 0 < gain[0]
    assert step[0, 0] == pytest.approx(-1 / 1.001)


@pytest.mark.parametrize("size", [6, 12])
def test_a_step_alone_is_the_step_in_company(size):
    """Lowest eigenvalues: positive, negative by less than the damping (which mends that), by as much,
    and by more."""
    rng, damping = np.random.default_rng(0), 1e-3
    lowest = [1.0, -1e-4, -damping, -1.0, 0.5]
    axes = np.linalg.qr(rng.standard_normal((len(lowest), size, size)))[0]
    values = np.linspace(1.0, 3.0, size) * np.ones((len(lowest), 1))
    values[:, 0] = lowest
    h = np.einsum("rip,rp,rjp->rij", axes, values, axes)
    g, wide = rng.standard_normal((2, len(lowest), size))
    local, movable = (g, h, wide, np.full(len(lowest), damping)), np.ones(g.shape, bool)
    weight = np.ones(g.shape)
    steps, gains = newton._direction(local, movable, weight)
    for i in range(len(lowest)):
        one = slice(i, i + 1)
        step, gain = newton._direction(tuple(x[one] for x in local), movable[one], weight[one])
        assert step[0] == pytest.approx(steps[i], rel=1e-9) and gain[0] == pytest.approx(gains[i], rel=1e-9)
    direct = np.linalg.solve(h[1] + damping * np.eye(size), -g[1])
    assert steps[1] == pytest.approx(direct, rel=1e-6)


def test_a_step_is_there_where_two_curvatures_drown_what_they_do_not_share():
    """Two coordinates near a pole of a law: Cholesky's factor is there, while elimination with a choice of
    pivots finds the matrix singular."""
    h = np.eye(12)[None].copy()
    shared = float.fromhex("0x1.999629c884dc8p+111")
    h[0, 8:10, 8:10] = [
        [float.fromhex("0x1.092eea06611d6p+96"), shared],
        [shared, float.fromhex("0x1.3c4fcf04a9497p+127")],
    ]
    wide = np.ones((1, 12))
    step, gain = newton._direction((wide, h, wide, np.full(1, 1e-5)), np.ones((1, 12), bool), wide)
    assert np.isfinite(step).all() and gain[0] > 0
    assert step[0, 0] == pytest.approx(-1 / 1.00001)
