"""Training curves of a simulated family that coincide, and the one that does not."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, figures
from analysis.collapse import collapse

ROWS = 80


def family(seed=0, *, sizes=6, seeds=4, bad=None, ratio=20.0, batch=0.003, slow=0.003):
    """Runs and curves of sizes with as many tokens per parameter; ``bad`` bulges by 4 % and comes back."""
    rng, runs, curves = np.random.default_rng(seed), [], []
    share = np.arange(1, ROWS + 1) / ROWS
    shape = 1.5 + share**-0.35 - 0.15 * np.clip((share - 0.8) / 0.2, 0, 1)
    for size, number in [*((i, 0) for i in range(sizes)), *((1, n) for n in range(1, seeds))]:
        n = 1e6 * 2.0**size
        tokens = n * (ratio if np.isscalar(ratio) else ratio[size])
        noise = slow * np.cumsum(rng.normal(size=ROWS)) / np.sqrt(ROWS) + batch * rng.normal(size=ROWS)
        bulge = 0.04 * np.sin(np.pi * np.clip((share - 0.3) / 0.6, 0, 1)) * (size == bad)
        loss = shape * n**-0.02 * np.exp(noise + bulge)
        name = f"s{size}-{number}"
        known = {"seed": number, "schedule": "wsd", "decay_tokens": 0.2 * tokens}
        known |= {"role": "noise" if number else "fit", "params": n, "tokens": tokens, "loss": loss[-1]}
        runs.append({"run_id": name, "label": name, **known})
        curves.append(pd.DataFrame({"run_id": name, "tokens": share * tokens, "train/loss": loss}))
    return pd.DataFrame(runs), pd.concat(curves)


def test_a_tuned_family_coincides_and_a_run_that_went_wrong_is_named():
    found = collapse(*family())
    assert found.status.code == "collapses" and not found.fallen and found.degrees == 3
    assert len(found.curves) == 9 and found.spread < found.noise < 0.01
    wrong = collapse(*family(bad=4))
    assert wrong.status.code == "falls_off" and [curve.label for curve in wrong.fallen] == ["s4-0"]
    assert 0.02 < wrong.fallen[0].off < 0.04 and "s4-0: " in wrong.summary()
    assert json.loads(wrong.to_json())["curves"][0]["run"] == "s0-0"


def test_false_alarms_are_rare_and_a_bulge_is_mostly_seen():
    alarms = [bool(collapse(*family(seed)).fallen) for seed in range(20)]
    seen = [[c.label for c in collapse(*family(seed, bad=0)).fallen] == ["s0-0"] for seed in range(20)]
    assert sum(alarms) <= 3 and sum(seen) >= 17


def test_without_repeated_seeds_the_scatter_of_the_curves_is_the_noise():
    found = collapse(*family(seeds=1, slow=0.0))
    assert found.degrees == 0 and found.status.code == "collapses" and "at least" in found.status.message
    assert found.noise == pytest.approx(0.003 * 2 / np.sqrt(4), rel=0.15)  # 4 rows a bin, of two curves
    steep = collapse(*family(seeds=1, slow=0.0, batch=1e-4))  # a trend is no noise
    assert steep.noise < 5e-4
    assert "repeat" in found.status.advice


def test_runs_at_another_rate_are_no_seeds():
    table, curves = family()
    assert collapse(table.assign(learning_rate=[1e-3] * 6 + [2e-3] * 3), curves).degrees == 2
    of_one = table.drop(index=[7, 8])
    assert collapse(of_one.assign(learning_rate=[1e-3] * 6 + [2e-3]), curves).degrees == 0
    assert collapse(of_one.assign(learning_rate=1e-3), curves).degrees == 1


def test_few_seeds_leave_more_room_and_a_group_is_a_window_of_ratios():
    few, more = collapse(*family(seeds=2)), collapse(*family(seeds=8))
    assert few.limit / few.noise == pytest.approx(2.87, abs=0.01)  # t(4) at two standard deviations
    assert more.limit / more.noise == pytest.approx(2.10, abs=0.01)  # t(28)
    found = collapse(*family(ratio=[10, 14, 19, 21, 22, 80]))
    assert {curve.ratio for curve in found.curves} == {19, 21, 22} and found.aside == 6


def test_a_family_that_does_not_coincide_is_no_matter_of_single_runs():
    table, curves = family(sizes=8)
    powers = dict(zip(table["run_id"], np.linspace(0.0, 0.2, len(table)), strict=True))
    share = curves["tokens"] / curves.groupby("run_id")["tokens"].transform("max")
    curves["train/loss"] *= share ** -curves["run_id"].map(powers)
    found = collapse(table[table["role"] == "fit"], curves)
    assert found.status.code == "spread" and "arXiv:2509.25087" in found.status.advice


def absent(table, curves):
    return table, None


def constant(table, curves):
    return table.assign(decay_tokens=0.0), curves


def few_rows(table, curves):
    return table, curves.groupby("run_id").tail(3)


def other_ratios(table, curves):
    return family(ratio=[10, 14, 19, 26, 35, 48])


def other_schedules(table, curves):
    return table.assign(decay_tokens=table["tokens"] * np.arange(len(table)) / 10), curves


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (absent, "no training curves"),
        (constant, "rate is constant"),
        (few_rows, "0 of 9 runs"),
        (other_ratios, "no 3 sizes"),
        (other_schedules, "no 3 sizes"),
    ],
)
def test_where_it_says_nothing_it_says_why(changed, message):
    found = collapse(*changed(*family()))
    assert found.status.code == "not_applicable" and message in found.status.message and found.status.advice
    assert not found.curves and found.noise is None


def test_the_figure_names_what_falls_off():
    curves, distances = figures.collapse(collapse(*family(bad=4)))
    assert len(curves.get_lines()) == 9
    assert [text.get_text() for text in distances.get_legend().get_texts()] == ["s4-0"]
    (far,) = (line for line in distances.get_lines() if line.get_label() == "s4-0")
    assert 3.5 < max(far.get_ydata()) < 5  # in percent, of a bulge of 4
    assert "1 of 9" in distances.get_title(loc="left")
    with pytest.raises(AnalysisError, match="no training curves"):
        figures.collapse(collapse(family()[0], None))
