"""One law on one table: coordinates, bounds, objective.

Shapes: R problems solved together, n rows, P coordinates. A coordinate is a parameter or its logarithm
(``Law.in_log``); inputs of power sums are centred in log, where coefficients and exponents nearly decouple.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.laws.law import ZERO, Law

if TYPE_CHECKING:
    from analysis.solve.objective import Model

FLOOR = 1e-9  # a term smaller than this times the smallest loss counts as zero
TINY = 1e-12  # of the upper end of a domain from 0: where its logarithm begins


@dataclass(frozen=True)
class Loss:
    """Huber's rho on residuals: r^2/2 inside ``delta``, linear outside; delta = inf: least squares.
    ``space`` of the residuals: ``log``, ``raw`` (of the loss itself) or ``log1p`` (of log(1 + loss))."""

    delta: float = np.inf
    space: str = "log"

    @property
    def raw(self) -> bool:
        return self.space == "raw"

    @property
    def added(self) -> float:
        """Offset added before the log."""
        return 1.0 if self.space == "log1p" else 0.0

    def to(self, value: np.ndarray) -> np.ndarray:
        """Losses in the space of the residuals."""
        return value if self.raw else np.log(value + self.added)

    def back(self, y: np.ndarray) -> np.ndarray:
        return y if self.raw else np.exp(y) - self.added

    def psi(self, r: np.ndarray) -> np.ndarray:
        return np.clip(r, -self.delta, self.delta)


@dataclass(frozen=True)
class Problem:
    """``inputs`` and ``target`` (n,); ``fixed`` parameters; ``weights`` (n,) of rows. With ``labels`` of
    groups and the ``group`` (n,) of each row, every parameter in ``own`` has a value per group, named
    ``A[label]``. ``bounds`` replace domains. ``fixed`` and ``bounds`` take either name."""

    law: Law
    inputs: Mapping[str, np.ndarray]
    target: np.ndarray
    loss: Loss
    fixed: Mapping[str, float] = field(default_factory=dict)
    weights: np.ndarray | None = None
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    group: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        pairs = [[f"{p}[{g}]" for g in self.labels] if p in self.own else [p] for p in self.law.names]
        return tuple(name for names in pairs for name in names)

    @cached_property
    def position(self) -> np.ndarray:
        """(groups, law's parameters) -> coordinate."""
        labels = self.labels or ("",)
        at = {name: i for i, name in enumerate(self.names)}
        rows = [[at[f"{p}[{g}]" if p in self.own else p] for p in self.law.names] for g in labels]
        return np.array(rows)

    @cached_property
    def base(self) -> tuple[str, ...]:
        """The law's parameter that each coordinate is."""
        out = [""] * len(self.names)
        for row in self.position:
            for i, p in zip(row, self.law.names, strict=True):
                out[i] = p
        return tuple(out)

    def held(self, i: int) -> float | None:
        return self.fixed.get(self.names[i], self.fixed.get(self.base[i]))

    @cached_property
    def in_log(self) -> np.ndarray:
        return np.array([self.law.in_log(p) for p in self.base])

    @cached_property
    def positive(self) -> np.ndarray:
        """(P,) whether it can only be positive: intervals are ratios to it. A signed exponent is not."""
        low = np.array([self.law.domain(p)[0] for p in self.base])
        return self.in_log | (low >= 0 if self.law.terms else np.zeros(len(low), bool))

    @cached_property
    def free(self) -> np.ndarray:
        return np.array([self.held(i) is None for i in range(len(self.names))])

    @cached_property
    def y(self) -> np.ndarray:
        return self.loss.to(self.target)

    @cached_property
    def smallest(self) -> float:
        """The smallest loss in size that is not 0."""
        return float(np.abs(self.target[self.target != 0]).min(initial=np.inf))

    @cached_property
    def w(self) -> np.ndarray:
        return np.ones(len(self.target)) if self.weights is None else self.weights

    @cached_property
    def logs(self) -> dict[str, np.ndarray]:
        """Logs of the inputs, of a power sum."""
        return {x: np.log(self.inputs[x]) for x in self.law.inputs}

    @cached_property
    def centre(self) -> dict[str, float]:
        # a shifted term changes its coefficient by its exponent: a fixed coefficient, or one shared between
        # groups of different exponents, would be no single coordinate
        kept = set()
        for c, powers in self.law.terms.items():
            given = {c, *(f"{c}[{g}]" for g in self.labels)} & {*self.fixed, *self.bounds}
            if given or (c not in self.own and set(powers.values()) & set(self.own)):
                kept |= set(powers)
        return {x: 0.0 if x in kept else float(np.mean(v)) for x, v in self.logs.items()}

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds (P,) of the coordinates, centred."""
        pairs = [self._ends(name, base) for name, base in zip(self.names, self.base, strict=True)]
        low, high = np.array(pairs, float).T
        return low, high

    @cached_property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Where coordinates may move to, below and above (P,): the box, and none for what is fixed, which may
        lie outside it."""
        low, high = self.box
        return np.where(self.free, low, -np.inf), np.where(self.free, high, np.inf)

    def ends(self, name: str, base: str) -> tuple[float, float]:
        """Where a parameter is searched: its bounds, else those of its base, else the law's domain."""
        return self.bounds.get(name, self.bounds.get(base, self.law.domain(base)))

    def _ends(self, name: str, base: str) -> tuple[float, float]:
        low, high = self.ends(name, base)
        if not self.law.in_log(base):
            return low, high
        if not self.law.terms:
            most = high if np.isfinite(high) else 1e6 * float(np.abs(self.target).max())
            return np.log(max(low, TINY * most)), np.log(most)
        # a term may be steep, but at the centre it is no larger than the losses are
        reach = sum(self.law.domain(e)[1] * abs(np.log(self.inputs[x]).max()) * (self.centre[x] == 0)
                    for x, e in self.law.terms[base].items())  # fmt: skip
        floor = np.log(FLOOR * self.smallest)
        ceiling = np.log(1e3 * np.abs(self.target).max()) + reach
        return max(floor, np.log(low) if low > 0 else floor), min(ceiling, np.log(high))

    @cached_property
    def reach(self) -> np.ndarray:
        """(P,) the longest step of a coordinate."""
        low, high = self.box
        wide = np.where(np.isfinite(high - low), 0.5 * (high - low), np.inf)
        return np.where(self.in_log | bool(self.law.terms), 2.0, wide)

    def at(self, rows: np.ndarray) -> Problem:
        """The same problem of some rows."""
        weights, group = (None if x is None else x[rows] for x in (self.weights, self.group))
        inputs = {name: v[rows] for name, v in self.inputs.items()}
        return replace(self, inputs=inputs, target=self.target[rows], weights=weights, group=group)

    @cached_property
    def model(self) -> Model:
        from analysis.solve.formula import Formula
        from analysis.solve.objective import PowerSum

        chosen: Any = PowerSum(self) if self.law.terms else Formula(self)
        return chosen

    def shift(self, u: np.ndarray, sign: float) -> np.ndarray:
        """Coordinates from centred to plain inputs (sign +1), or back (sign -1)."""
        u = np.array(u, float)
        done = set()
        for row in self.position if self.law.terms else ():
            place = dict(zip(self.law.names, row, strict=True))
            for c, powers in self.law.terms.items():
                if place[c] not in done:
                    done.add(place[c])
                    for x, e in powers.items():
                        u[..., place[c]] += sign * u[..., place[e]] * self.centre[x]
        return u

    def coordinates(self, params: Mapping[str, float]) -> np.ndarray:
        """Centred coordinates (P,) of parameters by their full names."""
        x = np.array([params[name] for name in self.names], float)
        with np.errstate(divide="ignore"):
            return self.shift(np.where(self.in_log, np.maximum(np.log(np.abs(x)), ZERO), x), -1.0)

    def parameters(self, u: np.ndarray) -> np.ndarray:
        """Parameters (..., P) at plain coordinates."""
        return np.where(self.in_log, np.exp(np.minimum(np.where(self.in_log, u, 0.0), 700.0)), u)

    def values(
        self, x: np.ndarray, inputs: Mapping[str, np.ndarray] | None = None, group: Any = None
    ) -> np.ndarray:
        """(R, m) the law at parameters ``x`` (R, P) by full name, at its own rows, or at ``inputs``, (m,) or
        of each draw (R, m), with the parameters of ``group`` (an index, or (m,) of them)."""
        group = self.group if inputs is None else group
        at = self.position[0 if group is None else group].reshape(-1, len(self.law.names))
        params = {name: x[:, at[:, i]] for i, name in enumerate(self.law.names)}
        given = {
            k: np.atleast_2d(np.asarray(v, float))
            for k, v in (self.inputs if inputs is None else inputs).items()
        }
        with np.errstate(all="ignore"):
            out = self.law.values(params, given)
        rows = max(v.shape[1] for v in given.values())
        return np.broadcast_to(out, (len(x), rows))
