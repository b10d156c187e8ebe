"""Coordinate checks: exponents of sizes that are known, and what is said of them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, coordinates, figures

WIDTHS, LAYERS = (32, 64, 128, 256), ("attention", "mlp", "residual")


def measured(sizes=WIDTHS, over="width", noise=0.01, seeds=3, variant="mup", **exponents):
    """Rows of models whose sizes follow powers; ``exponents`` by place, those of others are 0."""
    rng, rows = np.random.default_rng(0), []
    for size in sizes:
        shape = {"width": 32, "depth": 2} | {over: size}
        for seed in range(seeds):
            for step in range(3):
                for place in coordinates.PLACES:
                    for layer in range(shape["depth"] if place in LAYERS else 1):
                        value = size ** exponents.get(place, 0.0) * np.exp(noise * rng.normal())
                        change = 0.1 * step * value
                        row = {"variant": variant, "seed": seed, **shape, "step": step, "place": place}
                        rows.append(row | {"layer": layer, "size": value, "change": change})
    return pd.DataFrame(rows)


def verdicts(found, place):
    return {e.measure: e.verdict for e in found.exponents if e.place == place}


def test_exponents_are_those_of_the_sizes():
    found = coordinates.check(measured(mlp=0.5, logits=-1.0))
    at = {(e.place, e.measure): e for e in found.exponents}
    for (place, measure), truth in {
        ("last mlp", "end"): 0.5,
        ("logits", "change"): -1.0,
        ("embedding", "start"): 0.0,
    }.items():
        exponent = at[place, measure]
        assert exponent.exponent == pytest.approx(truth, abs=0.02)
        # of 12 points with 3 intercepts, 8 degrees of freedom: 1.86 x 0.01 / sqrt(sum of squares of x)
        assert exponent.high - exponent.exponent == pytest.approx(
            1.86 * 0.01 / (15 * np.log(2) ** 2) ** 0.5, rel=0.6
        )
    assert verdicts(found, "first mlp") == {"start": "grows", "end": "grows", "change": "grows"}
    assert verdicts(found, "logits")["end"] == "shrinks" and verdicts(found, "embedding")["end"] == "flat"
    assert found.statuses["mup"].code == "not_flat" and "6 growing" in found.statuses["mup"].message


def test_flat_needs_an_interval_that_says_so():
    assert coordinates.check(measured()).statuses["mup"].code == "flat"
    noisy = coordinates.check(measured(noise=0.2))
    assert noisy.statuses["mup"].code == "unclear"
    two = coordinates.check(measured(sizes=(32, 64), seeds=1))  # no degree of freedom left
    assert {e.verdict for e in two.exponents} == {"unclear"} and np.isnan(two.exponents[0].low)


def test_over_depth_layers_are_taken_together_and_the_stream_may_shrink_to_its_start():
    table = measured((2, 4, 8), "depth", residual=-0.1)
    found = coordinates.check(table, over="depth")
    assert [e.place for e in found.exponents[::3]] == [
        "embedding",
        "attention, all layers",
        "mlp, all layers",
        "middle residual",
        "last residual",
        "logits",
    ]
    assert verdicts(found, "last residual") == {"start": "bounded", "end": "shrinks", "change": "shrinks"}
    layers = table[(table["place"] == "mlp") & (table["seed"] == 0) & (table["step"] == 0)]
    (together,) = [
        rows for name, rows in coordinates.placed(table, "depth").items() if name == "mlp, all layers"
    ]
    eight = together[(together["depth"] == 8) & (together["seed"] == 0) & (together["step"] == 0)]
    assert eight["size"].item() == pytest.approx((layers[layers["depth"] == 8]["size"] ** 2).mean() ** 0.5)


def test_what_is_zero_is_not_fitted_and_what_diverged_is_said():
    table = measured()
    table.loc[(table["place"] == "logits") & (table["step"] == 0), "size"] = 0.0
    found = coordinates.check(table)
    assert verdicts(found, "logits")["start"] == "zero" and found.statuses["mup"].code == "flat"
    table.loc[(table["width"] == 256) & (table["seed"] == 1) & (table["step"] == 2), ["size", "change"]] = (
        None
    )
    lost = coordinates.check(table)
    assert lost.statuses["mup"].code == "diverged" and verdicts(lost, "logits")["end"] == "diverged"
    figures.coordinates(lost)


def test_text_json_and_figure_hold_all_variants():
    both = pd.concat([measured(), measured(variant="standard", mlp=1.0, residual=1.0)])
    found = coordinates.check(both)
    text = found.summary()
    assert text.startswith("mup: flat over width 32, 64, 128, 256, at depth 2")
    assert "standard: not flat" in text and "3 seeds, 2 steps" in text
    assert coordinates.Coordinates.from_json(found.to_json()).summary() == text
    exponents: Any = figures.coordinates(found)[-3:]
    labels = [label.get_text() for label in exponents[0].get_yticklabels()]
    dots = [line.get_xdata()[0] for line in exponents[1].lines if line.get_marker() == "o"]
    ends = [e.exponent for e in found.exponents if e.measure == "end"]
    assert "Last MLP" in labels and sorted(dots) == pytest.approx(sorted(ends))


def test_a_table_of_one_size_or_of_other_columns_is_refused():
    with pytest.raises(AnalysisError, match="no column layer, change"):
        coordinates.check(measured().drop(columns=["layer", "change"]))
    with pytest.raises(AnalysisError, match="measure at two or more"):
        coordinates.check(measured(sizes=(32,)))
