"""The objective of a problem with exact derivatives, in closed form for a sum of powers; of any formula it is
:mod:`analysis.solve.formula`.

Shapes: R problems solved together, n rows, P coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from analysis.solve.problem import Problem

Derivatives = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Model(Protocol):
    @property
    def coarse(self) -> Model | None:
        """The same objective with a Hessian that costs less, where there is one."""
        ...

    def fitted(self, u: np.ndarray) -> np.ndarray:
        """(R, n) the law, in the space of the residuals."""
        ...

    def derivatives(self, u: np.ndarray, y: np.ndarray, w: np.ndarray, scaled: bool = True) -> Derivatives:
        """Compute the objectives of R problems and their derivatives.

        Args:
            u: coordinates (R, P), centred.
            y: responses, (n,) or (R, n).
            w: weights, (n,) or (R, n).
            scaled: whether the Gauss-Newton diagonal is asked for; without it that result means nothing.

        Returns:
            Objective (R,), gradient (R, P), Hessian (R, P, P) and its Gauss-Newton part's diagonal (R, P).
        """
        ...

    def jacobian(self, u: np.ndarray) -> np.ndarray:
        """(n, P) of one u (P,)."""
        ...


class PowerSum:
    """A sum of terms exp(M_k u): with s_k the share of term k in the law, J = sum s_k M_k, and the
    derivatives of log L are sums over pairs of terms of products with fixed matrices."""

    coarse = None

    def __init__(self, problem: Problem):
        law, loss = problem.law, problem.loss
        n, size = len(problem.target), len(problem.names)
        group = np.zeros(n, int) if problem.group is None else problem.group
        place = {p: problem.position[group, i] for i, p in enumerate(law.names)}
        every = np.arange(n)
        self.design = np.zeros((len(law.terms), n, size))
        for k, (c, powers) in enumerate(law.terms.items()):
            self.design[k, every, place[c]] = 1.0
            for x, e in powers.items():
                self.design[k, every, place[e]] -= problem.logs[x] - problem.centre[x]
        self.loss, self.size, self.space = loss, size, np.empty(0)
        self.columns = [np.flatnonzero(m.any(0)) for m in self.design]
        self.parts = [np.ascontiguousarray(m[:, c]) for m, c in zip(self.design, self.columns, strict=True)]
        self.squares = [p**2 for p in self.parts]
        self.constant = [bool((p == p[0]).all()) for p in self.parts]
        self.pairs = []
        for k, (left, rows) in enumerate(zip(self.parts, self.columns, strict=True)):
            for m in range(k + 1):
                product = (left[:, :, None] * self.parts[m][:, None, :]).reshape(n, -1)
                at = (rows[:, None] * size + self.columns[m][None]).ravel()
                used = product.any(0)
                self.pairs.append((k, m, np.ascontiguousarray(product[:, used]), at[used]))

    def _terms(self, u: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        terms = []
        for columns, part, constant in zip(self.columns, self.parts, self.constant, strict=True):
            terms.append(np.exp(u[:, columns] @ (part[:1] if constant else part).T))
        return terms, sum(terms[1:], terms[0] + np.zeros((1, len(self.design[0]))))

    def fitted(self, u: np.ndarray) -> np.ndarray:
        return self.loss.to(self._terms(u)[1])

    def derivatives(self, u: np.ndarray, y: np.ndarray, w: np.ndarray, scaled: bool = True) -> Derivatives:
        """Compute what :meth:`Model.derivatives` says, in closed form."""
        # in buffers that are used again: new arrays of this size cost more than what is computed in them
        *shares, total, r, psi, q, mixed, both = self._buffers(len(u))
        for k, (columns, part, constant) in enumerate(
            zip(self.columns, self.parts, self.constant, strict=True)
        ):
            shares[k][:] = u[:, columns] @ (part[:1] if constant else part).T
            np.exp(
                shares[k][:, :1] if constant else shares[k], out=shares[k][:, :1] if constant else shares[k]
            )
            if constant:
                shares[k][:] = shares[k][:, :1]
        total[:] = shares[0]
        for share in shares[1:]:
            total += share
        total += self.loss.added  # the terms' shares in what the logarithm is taken of
        np.subtract(y, total if self.loss.raw else np.log(total, out=r), out=r)
        np.clip(r, -self.loss.delta, self.loss.delta, out=psi)
        np.multiply(w, psi == r, out=q)
        np.multiply(psi, 0.5, out=both)
        r -= both
        r *= psi
        value = np.einsum("rn,rn->r", np.broadcast_to(w, r.shape), r)
        psi *= w
        if not self.loss.raw:
            q += psi
            np.divide(1.0, total, out=total)
            for share in shares:
                share *= total
        flat = np.zeros((len(u), self.size * self.size))
        gradient, scale = np.zeros(u.shape), np.zeros(u.shape)
        for k, (part, columns) in enumerate(zip(self.parts, self.columns, strict=True)):
            np.multiply(psi, shares[k], out=mixed)
            gradient[:, columns] -= mixed @ part
            curved = np.multiply(q, shares[k], out=r)
            for left, right, product, at in self.pairs:
                if left == k:
                    np.multiply(curved, shares[right], out=both)
                    if right == k:
                        both -= mixed
                    block = both @ product
                    flat[:, at] += block
                    if right != k:
                        flat[:, self._transposed(at)] += block
            if scaled:
                np.multiply(shares[k], shares[k], out=both)
                both *= w
                scale[:, columns] += both @ self.squares[k]
        return value, gradient, flat.reshape(-1, self.size, self.size), scale

    def _buffers(self, count: int) -> list[np.ndarray]:
        n, kinds = self.design.shape[1], len(self.design) + 6
        if count * n * kinds > self.space.size:
            self.space = np.empty(count * n * kinds)
        return list(self.space[: count * n * kinds].reshape(kinds, count, n))

    def _transposed(self, at: np.ndarray) -> np.ndarray:
        return (at % self.size) * self.size + at // self.size

    def jacobian(self, u: np.ndarray) -> np.ndarray:
        terms, total = self._terms(u[None])
        shares = [t if self.loss.raw else t / (total + self.loss.added) for t in terms]
        wide = np.stack([np.broadcast_to(s, total.shape)[0] for s in shares])
        return np.einsum("kn,knp->np", wide, self.design)
