"""What sizes of a family cost that no study has planned."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.counts.flops import training_flops
from scaling.counts.params import count_parameters
from scaling.plan.family_cost import flops_per_token
from scaling.spec.architecture import NamedShape
from scaling.spec.families import DepthDial, Shapes, WidthDial

WIDE = WidthDial(kind="width-dial", depth=2, widths=(16, 24, 120), head_dim=8)
DEEP = DepthDial(kind="depth-dial", width=64, depths=(2, 3, 8), head_dim=16)


@pytest.mark.parametrize("body", [False, True])
@pytest.mark.parametrize(("family", "sizes"), [(WIDE, (8, 24, 120, 1600)), (DEEP, (1, 3, 400))])
def test_members_cost_what_is_counted(family, sizes, body):
    cost = flops_per_token(family, 256, 64, body=body)
    for size in sizes:
        shape = family.member(size).shape(256, 64)
        counts = count_parameters(shape)
        exact = training_flops(shape, 1).flops / 64
        assert cost(counts.body if body else counts.total) == pytest.approx(exact, rel=1e-3)


def test_what_lies_between_members_and_what_follows_no_rule():
    cost = flops_per_token(WIDE, 256, 64)
    n = np.geomspace(2e4, 1e9, 50)
    assert (np.diff(cost(n)) > 0).all() and np.isnan(cost(100))
    assert cost(1e9) == pytest.approx(6e9, rel=0.01)
    shape = NamedShape(name="small", depth=2, width=16, heads=2)
    assert flops_per_token(Shapes(kind="shapes", shapes=(shape,)), 256, 64) is None
