"""The curve laws of the literature: sums in few terms, parameters that come back, schedules."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from analysis import CURVE_LAWS, AnalysisError, CurveLaw, fit, schedules
from analysis.laws.kernel_sums import SMALL, Changes, Sums, sampled
from analysis.laws.law import QUICK, float64

TRUTH = {
    "annealing": {"L0": 2.6, "A": 0.6, "C": 0.4, "alpha": 0.45, "memory": 60.0},
    "multi-power": {"L0": 2.6, "A": 0.6, "B": 12.0, "alpha": 0.45, "C": 1.5, "beta": 0.6, "gamma": 0.6},
}
T, PEAK = 300, 1e-2
AT = np.arange(36, T + 1, 12)
ONE = schedules.standard(T, peak=PEAK, end=PEAK / 10, warmup=30)
RUN = {name: ONE[name] for name in ("cosine", "constant", "wsd")}
NEVER = np.where(np.arange(T) < 150, ONE["constant"], 0.3 * PEAK)


def losses(name: str, rates: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """As the papers define them, term by term."""
    p, out = TRUTH[name], []
    for t in steps:
        eta, before = (
            rates[:t],
            np.concatenate([[0.0 if name == "multi-power" else rates[0]], rates[: t - 1]]),
        )
        if name == "annealing":
            momentum = area = 0.0
            for fall in before - eta:
                momentum = (1 - 1 / p["memory"]) * momentum + fall
                area += momentum
            gain = p["C"] * area
        else:
            left = np.array([eta[k:].sum() for k in range(t)])
            gain = (
                p["B"] * ((before - eta) * (1 - (1 + p["C"] * eta ** -p["gamma"] * left) ** -p["beta"])).sum()
            )
        out.append(p["L0"] + p["A"] * eta.sum() ** -p["alpha"] - gain)
    return np.array(out)


def table(name: str) -> pd.DataFrame:
    frames = [pd.DataFrame({"curve": c, "step": AT, "loss": losses(name, r, AT)}) for c, r in RUN.items()]
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("name", TRUTH)
def test_laws_are_as_their_papers_define_them(name):
    law, at = CURVE_LAWS[name], (np.zeros(len(AT)), AT.astype(float))
    params = {k: np.array([[v]]) for k, v in TRUTH[name].items()}
    found = law.on({"never": NEVER}, at).values(params, {"curve": at[0][None], "step": at[1][None]})[0]
    assert found == pytest.approx(losses(name, NEVER, AT), rel=1e-12)
    with float64():
        again = law.losses(jnp.asarray(NEVER), jnp.asarray(AT), TRUTH[name])
    assert np.asarray(again) == pytest.approx(found, rel=1e-12)


def test_few_terms_do_for_all():
    """A jagged schedule, rates of 0 included: the tree against the sum of all changes, over the domains."""
    law = CURVE_LAWS["multi-power"]
    rng, steps = np.random.default_rng(0), 3000
    rates = np.linspace(1, 0, steps) * np.repeat(rng.uniform(0.2, 1, 60), 50)
    domains = {n: law.domains[n] for n in law.own}
    changes = Changes(rates, sampled(law.kernel, list(domains.values())), from_zero=True)
    direct = np.diff(changes.rates, prepend=0.0)
    wanted = 1e-10 * np.abs(direct).sum()
    cases = [
        (3000, 1e-6, 10, 2.0),
        (2999, 1.0, 0.5, 0.5),
        (1531, 1e4, 1e-3, 1.3),
        (64, 30.0, 2, 0),
        (7, 0.01, 1, 1),
    ]
    for t, C, beta, gamma in cases:

        def worth(k, t=t, C=C, beta=beta, gamma=gamma):
            x, y, _ = changes.kernel_inputs(k, t)
            return -np.expm1(-beta * np.log1p(C * np.exp(y - gamma * x)))

        updates, weights = changes.terms(t)
        every = np.arange(1, t + 1)
        assert weights @ worth(updates) == pytest.approx(direct[:t] @ worth(every), abs=wanted)
        assert len(updates) < 400


def test_derivatives_are_exact():
    law, steps = CURVE_LAWS["multi-power"], np.array([200, 300])
    domains = {n: law.domains[n] for n in law.own}
    sums = Sums((NEVER,), np.zeros(2, int), steps, law.kernel, domains, True)
    assert len(steps) * T < SMALL and sums.blocks

    def total(u, derivatives):
        return sums([jnp.full(2, x) for x in u], derivatives=derivatives)

    first = jax.jacfwd(lambda u: total(u, True))
    both = jax.jit(lambda u: (total(u, False), first(u), jax.jacfwd(first)(u)), compiler_options=QUICK)
    h = 1e-5
    with float64():
        u = jnp.array([1.5, 0.6, 0.7])
        above, below = ([both(u + sign * h * s) for s in np.eye(3)] for sign in (1, -1))
        slopes, bends = (
            np.stack([(a[i] - b[i]) / (2 * h) for a, b in zip(above, below, strict=True)], -1) for i in (0, 1)
        )
        _, slope, bend = map(np.asarray, both(u))
    assert slope == pytest.approx(slopes, rel=1e-6, abs=1e-12)
    assert bend == pytest.approx(bends, rel=1e-6, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTH)
def test_parameters_come_back_and_the_best_schedule_beats_the_usual(name):
    law = CURVE_LAWS[name]
    fitted = fit(law, table(name), schedules=RUN, delta=1e-3, bootstrap=0)
    assert fitted.solution == pytest.approx(TRUTH[name], rel=1e-4)
    found = schedules.predict(law, fitted, NEVER, steps=AT.tolist())
    assert found["loss"].to_numpy() == pytest.approx(losses(name, NEVER, AT), rel=1e-7)
    best = schedules.best_schedule(law, fitted, 2 * T, peak=PEAK, end=PEAK / 10, warmup=30)
    rates = best.rates
    assert (np.diff(rates[30:]) <= 1e-12).all() and rates[30:].min() >= PEAK / 10 and rates.max() <= PEAK
    assert best.compared.loc["best", "loss"] == pytest.approx(
        losses(name, rates, np.array([2 * T]))[0], rel=1e-7
    )
    assert (best.compared["worse"].drop("best") > 1e-4).all()
    assert best.compared.loc["cosine", "worse_low"] > 0
    assert any("600 updates; the longest fitted schedule has 300" in note for note in best.notes)
    with pytest.raises(AnalysisError, match="end < peak"):
        schedules.best_schedule(law, fitted, 100, peak=0.1, end=0.2)


def test_a_kernel_needs_its_parts():
    with pytest.raises(AnalysisError, match="not both"):
        CurveLaw("none")
    with pytest.raises(AnalysisError, match="three linear parameters"):
        CurveLaw("short", kernel=lambda x, y, n: n, linear=("L0",), domains={"L0": (0, 1), "alpha": (0, 1)})


def logged(every: int = 1, first: int = 1) -> pd.DataFrame:
    step = np.arange(first, 101, every)
    rate = np.minimum(step / 10, 1.0) * 0.3
    extra = pd.DataFrame({"run_id": "a", "step": [50], "train/learning_rate": [np.nan]})  # an evaluation
    return pd.concat([pd.DataFrame({"run_id": "a", "step": step, "train/learning_rate": rate}), extra])


def test_schedules_of_logged_curves():
    full = np.minimum(np.arange(1, 101) / 10, 1.0) * 0.3
    found, notes = schedules.schedules(logged())
    assert found["a"] == pytest.approx(full) and notes == ()
    says = (
        r"curve 'a': the rate is known at 5 of 100 updates, up to 20 apart; .*how the first 20 were reached"
    )
    with pytest.raises(AnalysisError, match=says):
        schedules.schedules(logged(20, 20))
    with pytest.raises(AnalysisError, match="warmup="):
        schedules.schedules(logged(20, 20), interpolate=True)
    found, notes = schedules.schedules(logged(20, 20), interpolate=True, warmup=10)
    assert found["a"] == pytest.approx(full) and "up to 20 apart" in notes[0]
    with pytest.raises(AnalysisError, match="'step' are missing"):
        schedules.schedules(logged().drop(columns="step"))


@pytest.mark.slow
def test_the_figure_has_every_curve_and_marks_the_unseen():
    from analysis.figures import curves_and_law

    law, name = CURVE_LAWS["annealing"], "annealing"
    fitted = fit(
        law,
        table(name).iloc[::4],
        schedules=RUN,
        delta=1e-3,
        bootstrap=0,
        fixed={"memory": 60.0, "alpha": 0.45},
    )
    never = pd.DataFrame({"curve": "never", "step": AT, "loss": 1.01 * losses(name, NEVER, AT)})
    both = pd.concat([table(name), never])
    figure = curves_and_law(law, fitted, both, RUN | {"never": NEVER}, heldout=["never"])
    above, left, rate = figure.axes
    assert len(rate.lines) == 4 and len(above.lines) == 8
    assert left.lines[3].get_ydata() == pytest.approx(1.0, abs=1e-3)
    assert [x.get_text() for x in above.get_legend().get_texts()][3] == "never (held out)"
    with pytest.raises(AnalysisError, match="never have no schedule"):
        curves_and_law(law, fitted, both, RUN)


@pytest.mark.slow
def test_the_best_schedule_is_no_worse_than_a_usual_one_that_no_knots_reach(monkeypatch):
    law = CURVE_LAWS["annealing"]
    fitted = fit(
        law,
        table("annealing").iloc[::4],
        schedules=RUN,
        delta=1e-3,
        bootstrap=0,
        fixed={"memory": 60.0, "alpha": 0.45},
    )
    poor = ONE["constant"]
    monkeypatch.setattr(schedules, "_lowest", lambda *_: (poor, True))
    best = schedules.best_schedule(law, fitted, T, peak=PEAK, end=PEAK / 10, warmup=30)
    assert (
        best.compared["loss"].min()
        == best.compared.loc["best", "loss"]
        < best.compared.loc["constant", "loss"]
    )
    again = json.loads(best.to_json())
    assert again["rates"] == best.rates.tolist() and again["names"] == list(best.compared.index)
    assert best._repr_html_().startswith("<pre>final loss")


def test_a_schedule_comes_back_from_its_json():
    compared = pd.DataFrame({"loss": [2.0, 2.1], "low": [1.9, np.nan]}, index=["best", "cosine"])
    best = schedules.BestSchedule(
        np.array([0.1, 0.05]), compared, {"cosine": np.array([0.1, 0.0])}, 0.9, ("n",)
    )
    text = best.to_json()
    again = schedules.BestSchedule.from_json(text)
    pd.testing.assert_frame_equal(again.compared, compared)
    assert again.to_json() == text and str(again) == str(best) and again.rates.tolist() == [0.1, 0.05]
    assert again.others["cosine"].tolist() == [0.1, 0.0] and again.notes == ("n",)
    for broken in ("[]", "{", text.replace('"schema": 1', '"schema": 0'), text.replace('"rates"', '"rate"')):
        with pytest.raises(AnalysisError, match="best schedule"):
            schedules.BestSchedule.from_json(broken)
