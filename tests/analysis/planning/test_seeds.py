"""How well noise will be known: degrees of freedom and chi-square, against noise that is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.planning.seeds import degrees_for, expect_noise, factors, noise_text
from analysis.tables.noise import noise_between, repeated, seed_noise


def corners(draws: int, cells: int = 2, *, trunks: bool = False) -> pd.DataFrame:
    """Fitted runs of one size at horizons, each again with ``draws`` other initial weights and as many other
    orders; ``trunks``: horizons of one pair of seeds have one."""
    pairs = [("fit", 0, 0)]
    pairs += [("noise", 1001 + i, 0) for i in range(draws)] + [("noise", 0, 2001 + i) for i in range(draws)]
    rows = [
        {"role": role, "params": 1000, "tokens": 10**6 * (1 + cell), "seed": init, "seed_order": order,
         "trunk_id": f"{init} {order}" if trunks else f"{init} {order} {cell}", "flops": 1.0}
        for cell in range(cells)
        for role, init, order in pairs
    ]  # fmt: skip
    return pd.DataFrame(rows)


def losses(table: pd.DataFrame, rng: np.random.Generator, init: float = 0.01, order: float = 0.01) -> Any:
    """Of runs: their logs are the sum of an effect of their initial weights and one of their order of data,
    of these standard deviations, in each cell anew."""
    effects = list[Any]()
    for name, sd in (("seed", init), ("seed_order", order)):
        which = table.groupby(["params", "tokens", name]).ngroup()
        effects.append(rng.normal(0, sd, which.max() + 1)[which])
    return 2.0 * np.exp(sum(effects))


def test_the_true_noise_lies_within_the_factors_as_often_as_stated() -> None:
    table, rng, truth = corners(2), np.random.default_rng(0), 0.01 * 2**0.5
    found = expect_noise(table, 24)
    assert found is not None
    low, high = found.parts[0].factors
    rows, inside = repeated(table.assign(loss=1.0)), list[bool]()
    for _ in range(100):
        sd = (noise_between(rows.assign(L=losses(rows, rng))) or {})["sd_log"]
        inside.append(low * sd <= truth <= high * sd)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.07)


@pytest.mark.parametrize(("init", "order"), [(0.01, 0.01), (0.003, 0.01)])
def test_noise_is_unbiased_where_repeats_share_weights_or_order(init: float, order: float) -> None:
    table = corners(2, 2000)
    found = seed_noise(table.assign(loss=losses(table, np.random.default_rng(1), init, order)))
    assert found is not None
    assert found["sd_log"] ** 2 == pytest.approx(init**2 + order**2, rel=0.03)
    of_two = sum(sd**2 for sd in (init, order)) ** 2 / sum(sd**4 / 4000 for sd in (init, order))
    assert found["degrees"] == pytest.approx(of_two, rel=0.05)  # Satterthwaite's, of two means of squares


def test_repeats_that_share_nothing_are_pooled_with_those_that_do() -> None:
    """A star of initial weights and orders, and cells of other seeds altogether."""
    star, other = corners(2, 600), corners(2, 1200).assign(params=2000)
    other["seed"] = other.groupby("tokens").cumcount()
    table = pd.concat([star, other.assign(seed_order=other["seed"])], ignore_index=True)
    found = seed_noise(table.assign(loss=losses(table, np.random.default_rng(2))))
    assert found is not None and found["cells"] == 1800
    assert found["sd_log"] == pytest.approx(0.01 * 2**0.5, rel=0.03)
    assert found["degrees"] == pytest.approx(4 * 1800, rel=0.01)


def test_degrees_are_those_that_a_fit_would_pool() -> None:
    table = corners(3)
    counted, found = seed_noise(table.assign(loss=2.0)), expect_noise(table, None)
    assert counted is not None and found is not None
    assert [one.degrees for one in found.parts] == [
        counted["degrees"], counted["apart"]["init"]["degrees"], counted["apart"]["order"]["degrees"]
    ]  # fmt: skip
    assert [one.degrees for one in found.parts] == [12, 6, 6]
    assert expect_noise(table[table["role"] == "fit"], 24) is None


def test_runs_of_one_trunk_may_be_one_draw() -> None:
    apart, shared = (expect_noise(corners(2, trunks=trunks), 24) for trunks in (False, True))
    assert apart is not None and shared is not None
    assert [one.alone for one in apart.parts[:3]] == [one.degrees for one in apart.parts[:3]] == [8, 4, 4]
    assert [one.alone for one in shared.parts[:3]] == [4, 2, 2]
    assert "2 d.f., x0.58 to x4.42" in noise_text(shared) and "d.f., x" not in noise_text(apart)


@pytest.mark.parametrize(
    "seen",
    [
        [(1, 0), (2, 0), (4, 0), (4, 1), (4, 2)],  # one trunk of three horizons, the last with other seeds
        [(1, 0), (1, 1), (4, 0), (4, 2)],  # each of two horizons with another seed
    ],
)
def test_one_draw_counts_cells_that_share_a_trunk_together(seen: list[tuple[int, int]]) -> None:
    table = pd.DataFrame(
        {"role": "noise" if seed else "fit", "params": 1000, "tokens": tokens, "seed": seed,
         "seed_order": seed, "trunk_id": f"t{seed}", "flops": 1.0}
        for tokens, seed in seen
    )  # fmt: skip
    found = expect_noise(table, None)
    assert found is not None
    assert [(one.degrees, one.alone) for one in found.parts] == [(2, 2)]
    assert "d.f., x" not in noise_text(found)


def test_a_hopeless_number_of_draws_is_said_and_how_many_it_takes() -> None:
    few, many = (expect_noise(corners(draws, 1), 24) for draws in (2, 12))
    assert few is not None and many is not None
    assert factors(2).high > 4 and [one.poor for one in few.parts] == [True, True, True, False]
    assert "known to little more than its magnitude: all seeds" in noise_text(few)
    assert not any(one.poor for one in many.parts) and "little more" not in noise_text(many)
    low, high = factors(degrees_for())
    assert 0.78 < low < 0.82 and 1.25 < high < 1.4
    assert few.ratio is not None and many.ratio is not None and few.ratio > 2 * many.ratio
