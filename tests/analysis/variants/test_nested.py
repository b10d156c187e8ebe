"""The test of shared exponents."""

import numpy as np
import pytest

from analysis import fit
from analysis.tables.runs import select
from analysis.tables.table import Table
from analysis.variants.nested import shared
from analysis.variants.pairing import PAIR, match

EACH = ("A", "B", "alpha", "beta")


def share_test(table, count=99):
    matched = match(select(table, cells="all")[0], "variant", "base", "new")
    one = fit("chinchilla", Table(matched.frame), own=("A", "B"), groups="variant", pairs=PAIR, bootstrap=0)
    return shared(one, EACH, count)


def test_a_worse_coefficient_alone_leaves_exponents_shared(studied):
    found = share_test(studied(2, worth=1.3))
    assert found.shared and found.p > 0.1 and found.replicates == 99


def test_steeper_exponents_are_found(studied):
    found = share_test(studied(2, steeper=0.1))
    assert not found.shared and found.p < 0.1 and found.fall > 0.2


def test_a_law_without_noise_is_shared(studied):
    found = share_test(studied(noise=0.0, shared=0.0, worth=1.2), 19)
    assert found.shared and found.fall == pytest.approx(0.0, abs=1e-2)


@pytest.mark.slow
def test_shared_exponents_are_rejected_as_often_as_the_level_says(studied):
    p = np.array([share_test(studied(100 + i, worth=1.3)).p for i in range(60)])
    assert (p <= 0.1).mean() <= 0.2
