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
    small, too = newton._factored(h.copy(), g.copy(), damping)
    assert bent[2] == too[2] == (least < 1e-11)
    assert not too[[0, 1, 3, 4]].any()
    good = ~bent
    assert found[good] == pytest.approx(small[good], rel=1e-9)


def test_a_step_of_many_coordinates_goes_down_where_the_matrix_bends_down():
    h = np.diag(np.linspace(-1.0, 2.0, 12))[None]
    g, wide = np.ones((1, 12)), np.ones((1, 12))
    step, gain = newton._direction((g, h, wide, np.full(1, 1e-3)), np.ones((1, 12), bool), wide)
    assert (step * g).sum() < 0 < gain[0]
    assert step[0, 0] == pytest.approx(-1 / 1.001)
