"""The objective of a problem with exact derivatives: in closed form for a sum of powers, else by jax.

Shapes: R problems solved together, n rows, P coordinates.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from analysis.laws.law import QUICK, check_shape, float64, in_words

if TYPE_CHECKING:
    from analysis.solve.problem import Problem

WORK = 300_000  # floats that a batch of derivatives by jax may take per row and coordinate
SHORT = 1_000  # rows of problems computed together: fewer rows than this are lost on overheads
LARGE = 80_000  # rows x coordinates^4, from which programs run longer than they take to compile
FAST: Any = QUICK | {"xla_backend_optimization_level": 2}

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


class Formula:
    """Any formula, by jax in a float64 scope. Not ``exact``: the Hessian is its Gauss-Newton part alone, a
    tenth of the work. Batches have one size, so that each law is compiled once."""

    def __init__(self, problem: Problem, exact: bool = True):
        self.problem, self.loss, self.exact = problem, problem.loss, exact
        n, size = len(problem.target), len(problem.names)
        self.batch = int(np.clip(WORK // (n * size), 1, 64))
        self.chunk = int(np.clip(SHORT // n, 1, min(8, self.batch)))
        self.chunk = min(2, self.chunk) if problem.law.heavy else self.chunk  # more would not stay in cache
        self.batch -= self.batch % self.chunk
        # a product, and no look-up in rows, whose derivative backwards is slow
        group = np.zeros(n, int) if problem.group is None else problem.group
        self.member = (group[:, None] == np.arange(len(problem.position))).astype(float)
        self.inputs = tuple(np.asarray(problem.inputs[x], float) for x in problem.law.inputs)

    @cached_property
    def coarse(self) -> Formula | None:
        return Formula(self.problem, exact=False) if self.exact else None

    def _call(self, u: np.ndarray, y: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
        law, size, shape = self.problem.law, self.batch, (len(u), len(self.problem.target))
        in_log, n = tuple(self.problem.in_log.tolist()), len(self.problem.target)
        large = n * len(self.problem.names) ** 4 > LARGE
        run = _compiled(law.function, law.names, law.inputs, in_log, self.chunk, large, law.heavy)
        whole, parts = (u, np.broadcast_to(y, shape), np.broadcast_to(w, shape)), []
        shared = (self.exact, self.member, self.problem.position, self.inputs, float(self.loss.delta))
        with float64():
            for i in range(0, len(u), size):
                block = [x[i : i + size] for x in whole]
                count = len(block[0])
                block = [np.concatenate([x, np.repeat(x[-1:], size - count, 0)]) for x in block]
                with in_words(law):
                    chunks = -(-count // self.chunk)
                    out = run(chunks, *block, *shared, self.loss.raw, self.loss.added)
                parts.append([np.asarray(x)[:count] for x in out])
        return [np.concatenate(x) for x in zip(*parts, strict=True)]

    def _linear(self, u: np.ndarray) -> list[np.ndarray]:
        """Fitted values (n,) and Jacobian (n, P) at one u (P,)."""
        return [x[0] for x in (self.coarse or self)._call(u[None], self.problem.y, self.problem.w)[4:]]

    def fitted(self, u: np.ndarray) -> np.ndarray:
        return np.array([self._linear(x)[0] for x in u])

    def derivatives(self, u: np.ndarray, y: np.ndarray, w: np.ndarray, scaled: bool = True) -> Derivatives:
        """Compute what :meth:`Model.derivatives` says, by jax; inf where it or a derivative is not finite."""
        value, gradient, hessian, scale, *_ = self._call(u, y, w)
        finite = np.isfinite(value) & np.isfinite(gradient).all(1) & np.isfinite(hessian).all((1, 2))
        # room for sums and products
        gradient, hessian, scale = (
            np.clip(np.nan_to_num(x), -1e150, 1e150) for x in (gradient, hessian, scale)
        )
        return np.where(finite, value, np.inf), gradient, hessian, scale

    def jacobian(self, u: np.ndarray) -> np.ndarray:
        return self._linear(u)[1]


@lru_cache(maxsize=128)
def _compiled(
    function: Any,
    names: tuple[str, ...],
    inputs: tuple[str, ...],
    in_log: tuple[bool, ...],
    chunk: int,
    large: bool,
    heavy: bool,
) -> Any:
    """Objective, gradient, Hessian and scale of a batch, fitted values and Jacobian of its last chunk, in one
    compiled program. Of the batch it computes the first chunks, as many as asked."""
    import jax
    import jax.numpy as jnp

    def law(u: Any, member: Any, place: Any, x: Any, raw: Any, added: Any) -> Any:
        natural = jnp.where(jnp.array(in_log), jnp.exp(jnp.where(jnp.array(in_log), u, 0.0)), u)
        params = {name: member @ natural[place[:, i]] for i, name in enumerate(names)}
        value = function(**params, **dict(zip(inputs, x, strict=True)))
        check_shape(jnp.shape(value), (len(member),))
        value = value + jnp.zeros(len(member))
        return jnp.where(raw, value, jnp.log(jnp.where(raw, 1.0, value + added)))

    def derivatives(
        u: Any, y: Any, w: Any, exact: Any, member: Any, place: Any, x: Any, delta: Any, *space: Any
    ) -> Any:
        def values_at(v: Any) -> Any:
            return law(v, member, place, x, *space)

        def slopes(v: Any) -> Any:
            slope, value = jax.jacfwd(lambda v: (values_at(v),) * 2, has_aux=True)(v)
            return slope, (slope, value)

        def weighed(fitted: Any) -> tuple[Any, Any]:
            r = y - fitted
            return r, w * jnp.clip(r, -delta, delta)

        def once() -> (
            Any
        ):  # one pass for value and derivatives: XLA would not see that three do the same work
            bent, (jacobian, fitted) = jax.jacfwd(slopes, has_aux=True)(u)
            return fitted, jacobian, jnp.tensordot(weighed(fitted)[1], bent, 1)

        def coarse() -> Any:
            jacobian, (_, fitted) = slopes(u)
            return fitted, jacobian, jnp.zeros((len(u), len(u)))

        if heavy:
            fitted, jacobian, curved = jax.lax.cond(exact, once, coarse)
            r, weighted = weighed(fitted)
        else:
            fitted, jacobian = _linearised(values_at, u)
            r, weighted = weighed(fitted)
            curved = jax.lax.cond(
                exact,
                lambda: jax.hessian(lambda v: weighted @ values_at(v))(u),
                lambda: jnp.zeros((len(u), len(u))),
            )
        inside = w * (jnp.abs(r) <= delta)
        value = (weighted * (r - 0.5 * jnp.clip(r, -delta, delta))).sum()
        hessian = jacobian.T @ (inside[:, None] * jacobian) - curved
        return value, -weighted @ jacobian, hessian, w @ jacobian**2, fitted, jacobian

    batched = jax.vmap(derivatives, in_axes=(0, 0, 0, *(None,) * 7))

    def some(count: Any, *given: Any) -> Any:
        whole, shared = given[:3], given[3:]

        def step(i: Any, out: Any) -> Any:
            part = [jax.lax.dynamic_slice_in_dim(v, i * chunk, chunk) for v in whole]
            parts = batched(*part, *shared)
            put = jax.lax.dynamic_update_slice_in_dim
            return [put(o, f, i * chunk, 0) for o, f in zip(out[:4], parts[:4], strict=True)] + [*parts[4:]]

        shapes = jax.eval_shape(batched, *(v[:chunk] for v in whole), *shared)
        sizes = [(len(whole[0]), *s.shape[1:]) if i < 4 else s.shape for i, s in enumerate(shapes)]
        return jax.lax.fori_loop(0, count, step, [jnp.zeros(size) for size in sizes])

    return jax.jit(some, compiler_options=FAST if large else QUICK)


def _linearised(function: Any, u: Any) -> tuple[Any, Any]:
    """Values (n,) and Jacobian (n, P) at ``u`` (P,). The barrier keeps XLA from computing anew for each
    column what all have in common."""
    import jax
    import jax.numpy as jnp

    value, slope = jax.linearize(function, u)
    slope = jax.tree.map(jax.lax.optimization_barrier, slope)
    return value, jax.vmap(slope, out_axes=1)(jnp.eye(len(u)))
