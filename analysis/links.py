"""Links from a loss to an accuracy, as laws of one input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.errors import AnalysisError
from analysis.laws.law import Law

INPUT = "intermediate_loss"  # what the links call the loss, whatever column it is


def _sigmoid(intermediate_loss: Any, floor: Any, ceiling: Any, k: Any, L0: Any) -> Any:
    import jax

    return floor + (ceiling - floor) * jax.nn.sigmoid(k * (L0 - intermediate_loss))


def _exponential(intermediate_loss: Any, floor: Any, k: Any, gamma: Any) -> Any:
    import jax.numpy as jnp

    return floor + k * jnp.exp(-gamma * intermediate_loss)


LINKS: dict[str, Law] = {
    "sigmoid": Law(
        "sigmoid-link",
        function=_sigmoid,
        domains={"floor": (0.0, 1.0), "ceiling": (0.0, 1.0), "k": (1e-3, 1e5), "L0": (0.0, 100.0)},
        source="Bhagia et al. 2024, arXiv:2412.04403, sec. 2: their b = ceiling, a = floor - ceiling",
        text="accuracy = floor + (ceiling - floor) / (1 + exp(k (L - L0)))",
        assumptions="accuracy depends on the run through this loss alone",
    ),
    "exponential": Law(
        "exponential-link",
        function=_exponential,
        linear=("k",),
        domains={"floor": (0.0, 1.0), "k": (0.0, np.inf), "gamma": (1e-3, 1e5)},
        source="Gadre et al. 2024, arXiv:2403.08540, eq. 5: their epsilon = 1 - floor",
        text="accuracy = floor + k exp(-gamma L)",
        assumptions="accuracy depends on the run through this loss alone, and is far from its ceiling",
    ),
}


def link_of(link: str, given: Mapping[str, float | None], options: Mapping[str, Any]) -> Law:
    """The link of a name, for the plateaus ``given`` (None: fitted) and the ``options`` of both steps. Raises
    AnalysisError for what it does not have."""
    problems = []
    if link not in LINKS:
        problems.append(f"link {link!r} is unknown; choose one of {', '.join(LINKS)}")
    for name, value in given.items():
        if value is not None and (isinstance(value, bool) or not 0 <= value <= 1):
            problems.append(f"{name} = {value!r} must be an accuracy between 0 and 1")
        elif value is not None and link in LINKS and name not in LINKS[link].names:
            problems.append(f"{name} = {value!r}: the {link} link has none; leave it out")
    low, high = given["floor"], given["ceiling"]
    if low is not None and high is not None and low >= high:
        problems.append(f"floor = {low!r} must lie below ceiling = {high!r}")
    known = ("bootstrap", "method", "cluster", "where", "seed", "level", "roles", "convention")
    for name in options:
        if name not in known:
            problems.append(
                f"option {name!r} is not for both steps; choose one of {', '.join(known)}, or fit each"
            )
    if problems:
        raise AnalysisError(problems)
    return LINKS[link]


def bounds_of(law: Law, losses: np.ndarray) -> dict[str, tuple[float, float]]:
    """Where the parameters of a link can lie that these losses could show."""
    if len(losses) < 2 or not np.ptp(losses):
        return {}
    low, high, span = float(losses.min()), float(losses.max()), float(np.ptp(losses))
    ends = {"L0": (max(low - 2 * span, 0.0), high + 2 * span), "gamma": (0.01 / span, 100 / span)}
    if "L0" in law.names:
        ends["k"] = (0.05 / span, 500 / span)
    return {name: pair for name, pair in ends.items() if name in law.names}
