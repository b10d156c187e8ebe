"""Laws as names plus one formula: a sum of terms, each a coefficient times powers of the inputs.

With u = (log coefficients, exponents) every term is exp(M u) for a matrix M of the inputs, so the log of a
law is a log-sum-exp of linear maps: values, exact first and second derivatives follow from ``terms`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

EXPONENTS = (1e-3, 3.0)  # the domain of an exponent
ZERO = -1e4  # the log of a coefficient that is 0: exp(ZERO) == 0.0, and ZERO * 0 == 0 unlike -inf


@dataclass(frozen=True)
class Law:
    """L = sum over ``terms`` of coefficient / prod input^exponent.

    ``terms``: coefficient -> {input: exponent}; inputs are N (parameters), D (tokens), C (FLOPs). An empty
    mapping is a constant, the irreducible loss. Coefficients enter linearly and are >= 0; exponents lie in
    ``domains`` (default 0.001 .. 3). An exponent named twice is shared.
    """

    name: str
    terms: Mapping[str, Mapping[str, str]]
    source: str = ""
    domains: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def coefficients(self) -> tuple[str, ...]:
        return tuple(self.terms)

    @property
    def exponents(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(e for powers in self.terms.values() for e in powers.values()))

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.coefficients, *self.exponents)

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(x for powers in self.terms.values() for x in powers))

    @property
    def offset(self) -> str | None:
        """The name of the constant term, if there is one."""
        return next((c for c, powers in self.terms.items() if not powers), None)

    @property
    def formula(self) -> str:
        parts = []
        for coefficient, powers in self.terms.items():
            below = " ".join(f"{x}^{e}" for x, e in powers.items())
            parts.append(f"{coefficient} / {below}" if below else coefficient)
        return "L = " + " + ".join(parts)

    def domain(self, exponent: str) -> tuple[float, float]:
        return self.domains.get(exponent, EXPONENTS)

    def design(self, logs: Mapping[str, np.ndarray]) -> np.ndarray:
        """M (terms, rows, parameters) with log term = M u, from the logs of the inputs (rows,)."""
        rows = len(next(iter(logs.values())))
        matrix = np.zeros((len(self.terms), rows, len(self.names)))
        for k, powers in enumerate(self.terms.values()):
            matrix[k, :, k] = 1.0
            for x, exponent in powers.items():
                matrix[k, :, self.names.index(exponent)] -= logs[x]
        return matrix

    def coordinates(self, params: Mapping[str, float]) -> np.ndarray:
        """u (parameters,): logs of coefficients (``ZERO`` for 0), then exponents."""
        heads = [np.log(params[c]) if params[c] > 0 else ZERO for c in self.coefficients]
        return np.concatenate([heads, [params[e] for e in self.exponents]])

    def parameters(self, u: np.ndarray) -> dict[str, float]:
        heads = len(self.terms)
        values = np.concatenate([np.exp(u[:heads]), u[heads:]])
        return dict(zip(self.names, map(float, values), strict=True))

    def log_value(self, u: np.ndarray, inputs: Mapping[str, Any]) -> np.ndarray:
        """log L (..., rows) at coordinates u (..., parameters)."""
        design = self.design({x: np.log(np.asarray(inputs[x], float)) for x in self.inputs})
        return np.logaddexp.reduce([u @ m.T for m in design], axis=0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "formula": self.formula,
            "terms": {c: dict(p) for c, p in self.terms.items()},
            "domains": {e: list(self.domain(e)) for e in self.exponents},
            "source": self.source,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Law:
        domains = {e: (float(low), float(high)) for e, (low, high) in data["domains"].items()}
        defaults = all(bounds == EXPONENTS for bounds in domains.values())
        return Law(data["name"], data["terms"], data["source"], {} if defaults else domains)


def _laws() -> dict[str, Law]:
    laws = [
        Law(
            "chinchilla",
            {"E": {}, "A": {"N": "alpha"}, "B": {"D": "beta"}},
            "Hoffmann et al. 2022, arXiv:2203.15556, approach 3 (eq. 2)",
        )
    ]
    for x, suffix in (("C", ""), ("N", "-params"), ("D", "-tokens")):
        power = "Kaplan et al. 2020, arXiv:2001.08361, eqs. 1.1-1.3"
        offset = "Henighan et al. 2020, arXiv:2010.14701, eq. 1.1"
        laws.append(Law(f"power{suffix}", {"A": {x: "alpha"}}, power))
        laws.append(Law(f"power-offset{suffix}", {"E": {}, "A": {x: "alpha"}}, offset))
    return {law.name: law for law in laws}


LAWS: dict[str, Law] = _laws()
