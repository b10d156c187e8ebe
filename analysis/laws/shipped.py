"""The laws that we ship, by name: ``LAWS``. Each has its formula (``Law.formula``), paper and equation
(``Law.source``) and what it assumes (``Law.assumptions``).

Inputs: N parameters, D tokens seen, C FLOPs, M = D / N, and columns of a table: ``unique_tokens`` of the
corpus, ``weight_bits``, ``activation_bits`` and ``cache_bits``, and ``sparsity``, the share of a mixture's
experts that a token does not go to (0: dense). ``bnsl`` and ``precision`` make more of their
kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis.errors import AnalysisError
from analysis.laws.law import Law

ANY = (0.0, np.inf)  # the domain of a linear coefficient of the size of losses
LARGE = (0.0, 1e12)  # of one that a power of sizes divides
WIDE = (1e-3, 1e12)  # of one that is not linear
EXPONENT = (0.02, 2.0)
BREAKS = {"C": (1e8, 1e27), "N": (1e2, 1e14), "D": (1e3, 1e16)}  # where a break may lie
MOST = 6  # breaks: with more, parameters outnumber the points of a published curve
BITS = {
    "weights": ("weight_bits", "gw"),
    "activations": ("activation_bits", "ga"),
    "cache": ("cache_bits", "gkv"),
}


def _kaplan(N: Any, D: Any, Nc: Any, Dc: Any, aN: Any, aD: Any) -> Any:
    import jax.numpy as jnp

    size, data = aN / aD * (jnp.log(Nc) - jnp.log(N)), jnp.log(Dc) - jnp.log(D)
    return jnp.exp(aD * jnp.logaddexp(size, data))


def _over_training(C: Any, M: Any, E: Any, A: Any, B: Any, eta: Any) -> Any:
    import jax.numpy as jnp

    compute, ratio = jnp.log(C), jnp.log(M)
    return E + A * jnp.exp(eta * (ratio - compute)) + B * jnp.exp(-eta * (ratio + compute))


def _worth(whole: Any, unique: Any, decay: Any) -> Any:
    """Log of what ``whole`` is worth when its part beyond ``unique`` loses value exponentially; both in
    logs."""
    import jax.numpy as jnp

    repeats = jnp.expm1(jnp.maximum(whole - unique, 0.0))
    return unique + jnp.log1p(-decay * jnp.expm1(-repeats / decay))


def _data_constrained(N: Any, D: Any, unique_tokens: Any, **p: Any) -> Any:
    import jax.numpy as jnp

    alpha, beta = p["alpha"], p.get("beta", p["alpha"])
    size, tokens, a, b = (jnp.log(x) for x in (N, D, p["A"], p["B"]))
    unique = jnp.minimum(jnp.log(unique_tokens), tokens)
    # the size that is best for the unique tokens, N_opt(C) where D_opt(C) = U (Hoffmann et al., eq. 4)
    best = (jnp.log(alpha / beta) + a - b + beta * unique) / alpha
    worth = _worth(size, jnp.minimum(size, jnp.clip(best, 0.0, 700.0)), p["RN"])
    return p["E"] + jnp.exp(a - alpha * worth) + jnp.exp(b - beta * _worth(tokens, unique, p["RD"]))


def _data_bounded(N: Any, D: Any, unique_tokens: Any, **p: Any) -> Any:
    import jax.numpy as jnp

    size, tokens, unique = jnp.log(N), jnp.log(D), jnp.log(unique_tokens)
    h = (
        p["A"] * jnp.exp(-p["alpha"] * size)
        + p["B"] * jnp.exp(-p["beta"] * tokens)
        + p["K"] * jnp.exp(p["gamma"] * size - p["delta"] * unique)
    )
    return (p["E"] + p["L0"] * h) / (1 + h)


def _farseer(N: Any, D: Any, **p: Any) -> Any:
    import jax.numpy as jnp

    def exp(x: Any) -> Any:  # most of the domains overflows
        return jnp.exp(jnp.clip(x, -50.0, 50.0))

    size = jnp.log(N / 1e9)  # so that a coefficient is not its exponent's shadow
    slope = exp(p["a1"] * jnp.exp(p["alpha"] * size) + p["b1"])
    with_data = p["a2"] * jnp.exp(p["beta"] * size) + p["b2"] - slope * jnp.log(D)
    return exp(p["a3"] * jnp.exp(p["gamma"] * size) + p["b3"]) + exp(with_data)


def _sparsity(N: Any, D: Any, sparsity: Any, **p: Any) -> Any:
    import jax.numpy as jnp

    spread = -jnp.log1p(-sparsity)  # log of experts for each one that a token goes to
    size = p["delta"] * spread + (p["alpha"] - p.get("gamma", 0.0) * spread) * jnp.log(N)
    data = p.get("omega", 0.0) * spread + (p["beta"] - p.get("zeta", 0.0) * spread) * jnp.log(D)
    return p["E"] + p["A"] * jnp.exp(-size) + p["B"] * jnp.exp(-data)


def precision(*parts: str) -> Law:
    """Chinchilla's law of the parameters that low precision leaves effective. ``parts``, trained in few bits,
    are of weights, activations and cache (keys and values); left out: all three. Raises AnalysisError."""
    parts = parts or tuple(BITS)
    if unknown := [part for part in parts if part not in BITS]:
        raise AnalysisError(f"precision: unknown parts {', '.join(unknown)}; choose one of {', '.join(BITS)}")
    bits = dict(BITS[part] for part in parts)

    def function(N: Any, D: Any, **p: Any) -> Any:
        import jax.numpy as jnp

        size = jnp.log(N)
        for column, gamma in bits.items():
            size = size + jnp.log(-jnp.expm1(-p[column] / p[gamma]))
        return p["E"] + p["A"] * jnp.exp(-p["alpha"] * size) + p["B"] * jnp.exp(-p["beta"] * jnp.log(D))

    kept = "".join(f" (1 - exp(-{column}/{gamma}))" for column, gamma in bits.items())
    return Law(
        "precision" if len(bits) == len(BITS) else "-".join(("precision", *parts)),
        source="Kumar et al. 2024, arXiv:2411.04330: Chinchilla's law at N_eff, training in low precision",
        function=function,
        domains={"E": ANY, "A": LARGE, "B": LARGE, "alpha": EXPONENT, "beta": EXPONENT}
        | dict.fromkeys(bits.values(), (0.05, 20.0)),
        linear=("E", "A", "B"),
        inputs=("N", "D", *bits),
        text=f"L = E + A / N_eff^alpha + B / D^beta, N_eff = N{kept}",
        assumptions="parts lose parameters independently; nothing is quantized after training; single epoch",
    )


def bnsl(breaks: int, x: str = "C", within: tuple[float, float] | None = None, name: str = "") -> Law:
    """Build a broken power law.

    c0 is the first slope, c_i by how much break i makes it steeper, d_i where it lies, f_i how gradual it is.
    Beyond the first, d_i = d_(i-1) r_i with r_i > 1: breaks in another order are the same law.

    Args:
        breaks: how many breaks.
        x: the input: C, N, D or any column.
        within: where the first break may lie, best the range of the data; a column other than C, N, D needs
            it.
        name: of the law; left out: from the number of breaks and the input, as ``bnsl-1-C``.

    Raises:
        AnalysisError: for too few or too many breaks, or without 0 < low < high of ``within``.
    """
    low, high = within or BREAKS.get(x, (0.0, 0.0))
    if isinstance(breaks, bool) or breaks not in range(1, MOST + 1):
        raise AnalysisError(f"bnsl: breaks = {breaks!r} must be a whole number from 1 to {MOST}")
    if not 0 < low < high < np.inf:
        raise AnalysisError(f"bnsl: within = {within!r} must be 0 < low < high, the range of {x!r}")
    numbers, places = range(1, breaks + 1), ["d1", *(f"r{i}" for i in range(2, breaks + 1))]

    def function(**p: Any) -> Any:
        import jax.numpy as jnp

        log_x, at = jnp.log(p[x]), 0.0
        rest = -p["c0"] * log_x
        for i, place in zip(numbers, places, strict=True):
            at = at + jnp.log(p[place])
            rest = rest - p[f"c{i}"] * p[f"f{i}"] * jnp.logaddexp(0.0, (log_x - at) / p[f"f{i}"])
        return p["a"] + p["b"] * jnp.exp(rest)

    domains = {"a": ANY, "b": ANY, "c0": (-1.0, 3.0)}
    for i, place in zip(numbers, places, strict=True):
        domains |= {
            f"c{i}": (-5.0, 10.0),
            place: (low, high) if i == 1 else (1.001, high / low),
            f"f{i}": (1e-3, 10.0),
        }
    at = ["d1" if i == 1 else f"({' '.join(places[:i])})" for i in numbers]
    shown = "".join(f" (1 + ({x}/{d})^(1/f{i}))^(-c{i} f{i})" for i, d in zip(numbers, at, strict=True))
    return Law(
        name or f"bnsl-{breaks}-{x}",
        source="Caballero et al. 2022, arXiv:2210.14891, eq. 1; breaks in order, d_i = d_(i-1) r_i",
        function=function,
        domains=domains,
        linear=("a", "b"),
        inputs=(x,),
        text=f"L = a + b {x}^-c0{shown}",
        assumptions=f"{breaks} change(s) of slope, each as long in log {x} as f_i says",
    )


def _laws() -> Iterator[Law]:
    two = {"E": {}, "A": {"N": "alpha"}, "B": {"D": "beta"}}
    tied = {"E": {}, "A": {"N": "eta"}, "B": {"D": "eta"}}
    once = "one epoch of fresh tokens, one recipe; size and data add up"
    yield Law(
        "chinchilla", two, "Hoffmann et al. 2022, arXiv:2203.15556, approach 3 (eq. 2)", assumptions=once
    )
    gadre = "Gadre et al. 2024, arXiv:2403.08540, eq. 4"
    yield Law("tied", tied, f"{gadre}: their b = -eta, beta = B 6^(eta/2)", assumptions=once)
    yield Law(
        "over-training", source=f"{gadre}: their alpha = A, beta = B", function=_over_training,
        domains={"E": ANY, "A": LARGE, "B": LARGE, "eta": (0.01, 1.0)}, linear=("E", "A", "B"),
        text="L = E + (A M^eta + B M^-eta) C^-eta",
        assumptions="C = 6 N D; one exponent for size and data: over-training moves a line, not its slope",
    )  # fmt: skip
    yield Law(
        "kaplan", source="Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5", function=_kaplan,
        domains={"Nc": (1e4, 1e20), "Dc": (1e4, 1e20), "aN": (1e-3, 2.0), "aD": (1e-3, 2.0)},
        text="L = ((Nc / N)^(aN / aD) + Dc / D)^aD", assumptions="the loss has no irreducible part",
    )  # fmt: skip
    for x, suffix in (("C", ""), ("N", "-params"), ("D", "-tokens")):
        power, offset = (
            "Kaplan et al. 2020, arXiv:2001.08361, eqs. 1.1-1.3",
            "Henighan et al. 2020, arXiv:2010.14701, eq. 1.1",
        )
        yield Law(
            f"power{suffix}", {"A": {x: "alpha"}}, power, assumptions="the loss has no irreducible part"
        )
        yield Law(
            f"power-offset{suffix}", {"E": {}, "A": {x: "alpha"}}, offset, assumptions="one slope throughout"
        )
        for breaks in (1, 2):
            yield bnsl(breaks, x, name=f"bnsl-{breaks}{suffix}")
    exponents, decays = {"alpha": EXPONENT, "beta": EXPONENT}, {"RN": (1e-2, 1e8), "RD": (1e-2, 1e8)}
    worth = "N' = U_N (1 + RN (1 - exp(-(N/U_N - 1)/RN))), U_N = min(N, N_opt(U)); D' likewise of U, RD"
    for suffix, powers in (("", exponents), ("-tied", {"alpha": EXPONENT})):
        yield Law(
            f"data-constrained{suffix}", source="Muennighoff et al. 2023, arXiv:2305.16264, parametric fit",
            function=_data_constrained, inputs=("N", "D", "unique_tokens"), linear=("E",),
            domains={"E": ANY, "A": WIDE, "B": WIDE, **powers, **decays},
            text=f"L = E + A / N'^alpha + B / D'^{'beta' if 'beta' in powers else 'alpha'}, {worth}",
            assumptions="repeated tokens and excess parameters are worth less, never harmful: no overfitting",
        )  # fmt: skip
    yield Law(
        "data-bounded", source="Practical Scaling Laws 2026, arXiv:2605.09189, the law of its abstract",
        function=_data_bounded, inputs=("N", "D", "unique_tokens"), linear=("E", "L0"),
        domains={"E": ANY, "L0": ANY, "A": WIDE, "B": WIDE, "K": (1e-9, 1e9), **exponents, "gamma": EXPONENT,
                 "delta": EXPONENT},
        text="L = E + (L0 - E) h/(1 + h), h = A/N^alpha + B/D^beta + K N^gamma/unique_tokens^delta",
        assumptions="the loss lies between E and L0, that of knowing nothing; large models overfit",
    )  # fmt: skip
    yield Law(
        "farseer", source="Li et al. 2025, arXiv:2506.10972, its fitted form",
        function=_farseer, inputs=("N", "D"),
        domains={"a1": (-10, 1), "b1": (-5, 10), "alpha": (1e-3, 0.5), "a2": (0.1, 100), "b2": (-30, 5),
                 "beta": (-0.6, -0.01), "a3": (-10, 1), "b3": (-3, 10), "gamma": (0.01, 0.5)},
        text="L = exp(a3 n^gamma + b3) + exp(a2 n^beta + b2) D^(-exp(a1 n^alpha + b1)), n = N / 1e9",
        assumptions="the slope in data depends on size; no floor but what size leaves",
    )  # fmt: skip
    joint = "Ludziejewski et al. 2025, arXiv:2502.05172, their joint law of the number of experts itself"
    sizes, experts = {"E": ANY, "A": LARGE, "B": LARGE, **exponents}, "X = 1 / (1 - sparsity)"
    yield Law(
        "sparsity", source=f"{joint}, gamma = omega = zeta = 0", function=_sparsity,
        inputs=("N", "D", "sparsity"), linear=("E", "A", "B"), domains={**sizes, "delta": (-2.0, 2.0)},
        text=f"L = E + A / (X^delta N^alpha) + B / D^beta, {experts}",
        assumptions="N of convention active; experts are worth one factor of size at every size and length",
    )  # fmt: skip
    yield Law(
        "sparsity-joint", source=joint, function=_sparsity, inputs=("N", "D", "sparsity"),
        linear=("E", "A", "B"),
        domains={**sizes, "delta": (-2.0, 2.0), "omega": (-2.0, 2.0), "gamma": (-0.3, 0.3),
                 "zeta": (-0.3, 0.3)},
        text="L = E + A / (X^delta N^(alpha - gamma ln X)) + B / (X^omega D^(beta - zeta ln X)), " + experts,
        assumptions="N of convention active; all experts are of one granularity",
    )  # fmt: skip
    yield precision()
    yield precision("weights")


LAWS: dict[str, Law] = {law.name: law for law in _laws()}
