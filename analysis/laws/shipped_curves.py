"""The laws of training curves that we ship, by name: ``CURVE_LAWS``."""

from __future__ import annotations

from typing import Any

from analysis.laws.curve import CurveLaw
from analysis.laws.shipped import ANY


def _momentum(log_rate: Any, log_area: Any, age: Any, memory: Any) -> Any:
    """What a fall has added to S2 after ``age`` updates: 1 + lambda + ... + lambda^(age - 1)."""
    import jax.numpy as jnp

    return -memory * jnp.expm1(age * jnp.log1p(-1 / memory))


def _power(log_rate: Any, log_area: Any, age: Any, C: Any, beta: Any, gamma: Any) -> Any:
    import jax.numpy as jnp

    return -jnp.expm1(-beta * jnp.log1p(jnp.exp(jnp.log(C) - gamma * log_rate + log_area)))


CURVE_LAWS: dict[str, CurveLaw] = {
    law.name: law
    for law in (
        CurveLaw(
            "annealing",
            kernel=_momentum,
            linear=("L0", "A", "C"),
            domains={"L0": ANY, "A": ANY, "C": ANY, "alpha": (0.01, 3.0),
                     "memory": (10.0, 1e5)},
            source="Tissue et al. 2024, arXiv:2408.11029, eq. 1; their lambda, fixed at .99 to .999, is "
            "1 - 1 / memory: fixed={'memory': 1000} does as they do",
            assumptions="what a change of the rate brings does not depend on the rate; rises of a warmup "
            "count as falls do (to leave them out, give the schedule with its warmup at the peak)",
            text="L(t) = L0 + A S1^-alpha - C S2",
        ),
        CurveLaw(
            "multi-power",
            kernel=_power,
            from_zero=True,
            linear=("L0", "A", "B"),
            domains={"L0": ANY, "A": ANY, "B": ANY, "alpha": (0.01, 3.0), "C": (1e-6, 1e4),
                     "beta": (1e-3, 10.0), "gamma": (0.0, 2.0)},
            source="Luo et al. 2025, arXiv:2503.12811, as their code has it: rises of a warmup, the first "
            "from 0, are summed too",
            assumptions="changes of the rate add up, whatever their order",
            text="L(t) = L0 + A S1^-alpha - B sum_k (rate_(k-1) - rate_k) "
            "(1 - (1 + C rate_k^-gamma (S1 - S1_(k-1)))^-beta)",
        ),
    )
}  # fmt: skip
