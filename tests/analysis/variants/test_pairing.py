"""Runs of the same cell and seed side by side."""

import numpy as np
import pandas as pd
import pytest

from analysis.tables.runs import select
from analysis.variants.pairing import PAIR, difference, match, regression
from analysis.variants.text import paired_lines


def chosen(table):
    return select(table, cells="all")[0]


def apart(table):
    matched = match(chosen(table), "variant", "base", "new")
    return matched, difference(matched, "variant", "base", "new", 0.9)


def test_what_the_runs_of_a_pair_share_falls_out(studied):
    exact = studied(noise=0.0, shared=0.05)
    _, found = apart(exact.assign(loss=exact["loss"] * np.where(exact["variant"] == "new", 1.02, 1.0)))
    assert found is not None and found.pairs == 28 and found.clusters == 7
    assert found.mean == pytest.approx(np.log(1.02)) and found.sd < 1e-12
    assert found.slope == pytest.approx(0, abs=1e-12) and found.within == pytest.approx(found.mean)
    assert found.alike == ("params", "flops", "seed")


def test_a_trend_over_compute_is_found_with_its_interval(studied):
    table = studied(1)
    decades = np.log10(table["flops"] / 2.83e11)
    table["loss"] *= np.exp(np.where(table["variant"] == "new", -0.02 * decades, 0.0))
    _, found = apart(table)
    low, high = found.slope_ends
    assert low < -0.02 < high < 0 and found.ends.low < 0 < found.ends.high


def test_an_architecture_is_paired_by_shape_and_equal_compute(studied):
    table = studied()
    new = table["variant"] == "new"
    table.loc[new, "params"] *= 1.3
    table.loc[new, "tokens"] /= 1.3
    matched, _ = apart(table)
    assert matched.count == 28 and matched.alike == ("depth", "width", "flops", "seed")
    table.loc[new, "flops"] *= 1.3
    table["tokens"] = np.tile([1e6, 2e6, 4e6, 8e6], 14)
    assert apart(table)[0].alike == ("depth", "width", "tokens", "seed")


def test_what_an_axis_varies_in_a_cell_is_alike_in_a_pair(studied):
    table = studied(noise=0.0, shared=0.0)
    part = table.assign(unique_tokens=1e5, loss=1.1 * table["loss"], run_id=table["run_id"] + "p")
    both = pd.concat([table.assign(unique_tokens=9e9), part], ignore_index=True)
    both = both[~((both["variant"] == "new") & (both["unique_tokens"] == 1e5) & (both["width"] < 40))]
    matched, found = apart(both)
    assert matched.count == 28 + 16 and "unique_tokens" in matched.alike
    assert found.sd < 1e-12 and found.mean == pytest.approx(0.0, abs=1e-12)
    other = table.assign(unique_tokens=np.where(table["variant"] == "new", 1e5, 9e9))
    assert apart(other)[0].count == 28 and "unique_tokens" not in apart(other)[0].alike


@pytest.mark.parametrize(
    ("level", "slope", "word"),
    [(0.05, 0.01, "grows"), (0.05, -0.01, "shrinks"), (-0.05, 0.01, "shrinks"), (-0.05, -0.01, "grows"),
     (0.0, 0.01, "rises"), (0.0, -0.01, "falls")],
)  # fmt: skip
def test_a_trend_is_told_by_what_it_does_to_the_difference(studied, level, slope, word):
    table = studied(1, noise=0.0005)
    decades = np.log10(table["flops"] / 2.83e11)
    table["loss"] *= np.exp(np.where(table["variant"] == "new", level + slope * decades, 0.0))
    _, found = apart(table)
    (trend,) = [line for line in paired_lines(found) if "ten times the compute" in line]
    assert trend.endswith(f": it {word}")


def test_other_seeds_make_no_pair_and_none_is_no_difference(studied):
    table = studied()
    both = pd.concat(
        [table, table.assign(seed=1, run_id=table["run_id"] + "x", trunk_id=table["trunk_id"] + "x")]
    )
    matched, found = apart(both)
    assert matched.count == 56 and found.clusters == 14
    other = table.assign(seed=np.where(table["variant"] == "new", 1, 0))
    matched, found = apart(other)
    assert matched.count == 0 and found is None and matched.frame[PAIR].is_unique


def test_errors_are_those_of_clusters_or_of_rows_whichever_say_more():
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.normal(size=6), 10)
    cluster = np.repeat(np.arange(6), 10)
    ones = np.ones((60, 1))
    together = regression(ones, shared + 0.01 * rng.normal(size=60), cluster)
    assert together[1][0] == pytest.approx(shared[::10].std(ddof=1) / np.sqrt(6), rel=0.02)
    assert together[2] == 5
    alike = np.tile(rng.normal(size=10), 6)  # the means of all clusters are the same
    assert regression(ones, alike, cluster)[1][0] == pytest.approx(alike.std(ddof=1) / np.sqrt(60), rel=0.02)
