"""The objective of a problem whose law is any formula, with exact derivatives by jax.

Shapes: R problems solved together, n rows, P coordinates.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.laws.law import QUICK, check_shape, float64, in_words
from analysis.solve.objective import Derivatives

if TYPE_CHECKING:
    from analysis.solve.problem import Problem

WORK = 300_000  # floats that a batch of derivatives by jax may take per row and coordinate
SHORT = 1_000  # rows of problems computed together: fewer rows than this are lost on overheads
LARGE = 15_000  # rows x coordinates^3, from which programs run longer than they take to compile
FAST: Any = QUICK | {"xla_backend_optimization_level": 2}


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
        large = n * len(self.problem.names) ** 3 > LARGE
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

        def once() -> Any:
            # one pass for value and derivatives: XLA would not see that three do the same work
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
