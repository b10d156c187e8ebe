"""Curve laws by a kernel: as their papers define them, in few terms, with exact derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import CURVE_LAWS, AnalysisError, CurveLaw
from analysis.laws.kernel_sums import SMALL, Changes, Sums, sampled
from analysis.laws.law import QUICK, float64
from tests.analysis.curves import AT, NEVER, TRUTH, T, losses


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


def test_a_kernel_needs_its_parts():
    with pytest.raises(AnalysisError, match="not both"):
        CurveLaw("none")
    with pytest.raises(AnalysisError, match="three linear parameters"):
        CurveLaw("short", kernel=lambda x, y, n: n, linear=("L0",), domains={"L0": (0, 1), "alpha": (0, 1)})
