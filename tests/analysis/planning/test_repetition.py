"""What a law of repeated text says of a design, at the published worth of repeated tokens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.laws.lookup import require
from analysis.planning.expected import expect
from analysis.planning.prior import Prior
from analysis.planning.statement import expected_text
from analysis.planning.target import Target

CHINCHILLA = Prior.published("chinchilla")


def runs(epochs: tuple[float, ...]) -> pd.DataFrame:
    rows = [(n, 20 * n, 20 * n / e) for n in np.geomspace(5e7, 1e9, 5) for e in epochs]
    rows += [(n, 60 * n, 60 * n) for n in np.geomspace(5e7, 1e9, 5)]
    frame = pd.DataFrame(rows, columns=["params", "tokens", "unique_tokens"])
    return frame.assign(flops=6 * frame["params"] * frame["tokens"], seed=0)


def prior(table: pd.DataFrame) -> Prior:
    inputs = {x: table[c].to_numpy(float) for x, c in (("N", "params"), ("D", "tokens"), ("C", "flops"))}
    return CHINCHILLA.as_law(require("data-constrained"), {**inputs, "unique_tokens": table["unique_tokens"]})  # type: ignore[arg-type]


def test_a_run_of_repeated_text_costs_what_the_law_says() -> None:
    table = runs((1.0, 16.0))
    of = prior(table)
    for name in ("E", "A", "B", "alpha", "beta"):
        assert of.params[name] == pytest.approx(CHINCHILLA.params[name], rel=0.05), name
    found = expect(of, table)
    cost = found.repetition
    assert cost is not None and cost.epochs == pytest.approx(16) and cost.D == 20 * cost.N
    p = of.params
    worth = cost.D / 16 * (1 - p["RD"] * np.expm1(-15 / p["RD"]))
    new, old = (p["E"] + p["A"] / cost.N ** p["alpha"] + p["B"] / d ** p["beta"] for d in (cost.D, worth))
    assert 0 < np.log(old / new) <= cost.above * 1.0001  # the size is worth less too
    assert f"costs {np.expm1(cost.above):.1%} of the loss against as many new tokens" in expected_text(found)


def test_new_text_and_laws_without_it_say_nothing() -> None:
    table = runs((1.0, 1.0))
    assert expect(prior(table), table).repetition is None
    assert expect(CHINCHILLA, runs((1.0, 16.0))).repetition is None


def test_a_target_is_known_to_laws_of_its_inputs() -> None:
    law = require("data-constrained")
    assert not Target.at_compute(1e20).known_to(law)
    assert Target({"N": 1e9, "D": 2e10, "unique_tokens": 1e9}, "here").known_to(law)
    assert Target.at_compute(1e20).known_to(require("chinchilla"))
