"""The annealing law of Tissue et al. (arXiv:2408.11029) as a user would write it, on made-up curves."""

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, CurveLaw, Fit, fit, schedules

T, TRUTH = 160, {"L0": 2.6, "A": 0.6, "alpha": 0.45, "C": 0.06}


def annealing(rates, L0, A, alpha, C):
    """L = L0 + A S1^-alpha - C S2; S1 sums the rates, S2 the momentum of their falls (eq. 1)."""
    import jax
    import jax.numpy as jnp

    falls = jnp.concatenate([jnp.zeros_like(rates[:, :1]), rates[:, :-1] - rates[:, 1:]], axis=1)

    def update(momentum, fall):
        momentum = 0.99 * momentum + fall
        return momentum, momentum

    momenta = jax.lax.scan(update, jnp.zeros(len(rates)), falls.T)[1].T
    return L0 + A * jnp.cumsum(rates, 1) ** -alpha - C * jnp.cumsum(momenta, 1)


LAW = CurveLaw("annealing", annealing, linear=("L0", "A", "C"), source="arXiv:2408.11029, eq. 1",
               domains={"L0": (0, 10), "A": (0, np.inf), "alpha": (0.05, 2), "C": (0, np.inf)})  # fmt: skip
AT = np.arange(1, T + 1)
SCHEDULES = {
    "cosine": 0.2 * (0.55 + 0.45 * np.cos(np.pi * AT / T)),
    "constant": np.full(T, 0.2),
    "wsd": 0.2 * np.minimum(1, 1.05 - np.maximum(0, AT / T - 0.8) * 5),
    "two-stage": np.where(AT < 100, 0.2, 0.06),  # the one that is held out
}


def made_up(noise=0.001):
    """Every tenth loss of the first three schedules, computed without jax."""
    rng, frames = np.random.default_rng(0), []
    for name in list(SCHEDULES)[:3]:
        loss = losses(SCHEDULES[name]) * np.exp(noise * rng.standard_normal(T))
        frames.append(pd.DataFrame({"curve": name, "step": AT, "loss": loss}).iloc[9::8])
    return pd.concat(frames, ignore_index=True)


def losses(rates):
    falls, momentum, area = np.concatenate([[0], rates[:-1] - rates[1:]]), 0.0, []
    for fall in falls:
        momentum = 0.99 * momentum + fall
        area.append(momentum)
    return 2.6 + 0.6 * np.cumsum(rates) ** -0.45 - 0.06 * np.cumsum(area)


def without_last():
    return {name: SCHEDULES[name] for name in list(SCHEDULES)[:3]}


@pytest.fixture(scope="module")
def fitted():
    return fit(LAW, made_up(), schedules=without_last(), bootstrap=30)


def test_parameters_come_back_with_intervals_by_curve(fitted):
    exact = fit(LAW, made_up(0.0), schedules=without_last(), bootstrap=0)
    assert exact.solution == pytest.approx(TRUTH, rel=1e-5) and exact.objective.value < 1e-15
    assert fitted.solution == pytest.approx(TRUTH, rel=0.02)
    assert "3 clusters by curve" in fitted.intervals.method and fitted.intervals.degrees == 2
    low, high = fitted.intervals.params["L0"]
    assert low < 2.6 < high and fitted.starts.agree > 1


@pytest.mark.parametrize("groups", [None, pytest.param("size", marks=pytest.mark.slow)])
def test_a_single_curve_has_intervals_by_blocks_of_its_steps(groups):
    table, rates = made_up(0.003).query("curve == 'wsd'"), SCHEDULES["wsd"]
    if groups:
        table = pd.concat([table, table.assign(curve="large", loss=table["loss"] - 0.3)], ignore_index=True)
        table["size"] = table["curve"]
    given = {"schedules": {"wsd": rates, "large": rates}, "groups": groups, "fixed": {"alpha": 0.45}}
    found = fit(LAW, table, **given, bootstrap=0)
    clusters, steps = np.array(found.data["cluster"]), np.array(found.data["step"])
    count = 16 if groups else 8
    assert f"{count} clusters by block of steps" in found.intervals.method
    assert set(np.bincount(clusters)) == {2, 3}
    assert all(np.ptp(steps[clusters == k]) <= 16 for k in range(count))
    (note,) = (note for note in found.notes if "single curve" in note)
    assert "hold for this curve alone" in note and ("in each group" in note) == bool(groups)
    for name in ("L0[wsd]", "A[wsd]") if groups else ("L0", "A"):
        value, (low, high) = found.estimates()[name]
        assert low < value < high and value == pytest.approx(TRUTH[name.partition("[")[0]], rel=0.05)


def test_a_schedule_never_run_is_predicted(fitted):
    rates = SCHEDULES["two-stage"]
    found = schedules.predict(LAW, fitted, rates, steps=[40, 99, 110, 160]).frame
    assert found["loss"].to_numpy() == pytest.approx(losses(rates)[[39, 98, 109, 159]], rel=2e-3)
    assert (found["new_low"] < found["low"]).all() and (found["low"] < found["high"]).all()
    longer = schedules.predict(LAW, fitted, np.full(2 * T, 0.2))
    assert len(longer) == 2 * T and longer["extrapolation"].iloc[-1] == pytest.approx(320 / 154)
    again = type(fitted).from_json(fitted.to_json())
    assert schedules.predict(LAW, again, rates)["loss"].to_numpy() == pytest.approx(
        schedules.predict(LAW, fitted, rates)["loss"]
    )


def test_a_law_bound_to_other_schedules_is_refused(fitted):
    text, other = fitted.to_json(), {name: 3 * rates for name, rates in without_last().items()}
    assert Fit.from_json(text, LAW.on(without_last())).solution == fitted.solution
    with pytest.raises(AnalysisError, match=r"'annealing' does not give the losses.*bound to the schedules"):
        Fit.from_json(text, LAW.on(other))


@pytest.mark.slow
def test_groups_of_curves_have_parameters_of_their_own():
    table = made_up(0.0)
    large = table.assign(curve="large " + table["curve"], loss=table["loss"] - 0.3)
    both = pd.concat([table.assign(size="s"), large.assign(size="l")], ignore_index=True)
    rates = without_last() | {f"large {k}": v for k, v in without_last().items()}
    found = fit(LAW, both, schedules=rates, groups="size", own=("L0",), bootstrap=0)
    assert found.solution["L0[l]"] == pytest.approx(2.3, rel=1e-5)
    assert found.solution["L0[s]"] == pytest.approx(2.6, rel=1e-5)
    ends = [schedules.predict(LAW, found, SCHEDULES["wsd"], steps=[T], group=g)["loss"].item() for g in "sl"]
    assert ends[0] - ends[1] == pytest.approx(0.3, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"curve": "other"}, "curves other have no schedule; schedules: cosine, constant, wsd"),
        ({"step": 161.0}, r"column 'step': row 0 = 161, .* and 37 more: must be a whole number from 1"),
        ({"step": 1.5}, "whole number"),
    ],
)
def test_tables_of_curves_are_checked(change, says):
    with pytest.raises(AnalysisError, match=says):
        fit(LAW, made_up().head(42).assign(**change), schedules=without_last())


def test_schedules_are_checked():
    with pytest.raises(AnalysisError) as error:
        LAW.on({"late": [0.0, 0.1], "odd": [0.1, np.nan], "flat": [[0.1]]})
    assert ["late" in p or "odd" in p or "shape (1, 1)" in p for p in map(str, error.value.problems)] == [
        True
    ] * 3
    with pytest.raises(AnalysisError, match="'step' are missing"):
        fit(LAW, made_up().drop(columns="step"), schedules=without_last())
    wrong = CurveLaw("final", lambda rates, a: a[None] * rates.sum(), domains={"a": (0.1, 2)})
    with pytest.raises(AnalysisError, match=r"it gives shape \(1, 3, 1\) for rows \(3, 160\)"):
        fit(wrong, made_up(), schedules=without_last())
