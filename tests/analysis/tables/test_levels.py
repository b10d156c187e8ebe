"""Values that are one level of an input."""

import numpy as np
import pandas as pd

from analysis import fit
from analysis.tables.levels import count_levels, levels


def test_sizes_read_off_a_plot_are_one_wherever_they_lie():
    sizes = np.geomspace(1e7, 1e10, 60)  # of which any grid of fixed bins would cut some in two
    read = np.concatenate([sizes * 0.9995, sizes * 1.0005, sizes])
    index = levels(read)
    assert (index.reshape(3, 60) == np.arange(60)).all()
    assert count_levels(read) == 60 and count_levels(sizes[0] * np.array([1, 1.01])) == 2


def test_values_that_are_not_positive_are_told_apart_exactly():
    assert levels(np.array([1.0, 0.0, -1.0, 1.0])).tolist() == [2, 1, 0, 2]
    assert count_levels(np.array([])) == 0


def test_a_fit_and_its_referee_count_sizes_alike():
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 8), np.geomspace(1e9, 3e10, 4)))
    n = n * np.tile([0.9995, 1.0, 1.0005, 1.0], 8)
    found = fit(
        "chinchilla",
        pd.DataFrame({"params": n, "tokens": d, "loss": 1.8 + 400 / n**0.34 + 2e3 / d**0.37}),
        bootstrap=0,
    )
    assert len(set(found.data["cluster"])) == 8
