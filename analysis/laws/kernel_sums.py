"""Sums over all changes of a learning rate, in few terms.

After update t a kernel law needs sum_{k <= t} (rate_k - rate_{k-1}) kernel(rate_k, area, age), where area is
the sum of the rates of updates k..t and age = t - k + 1: 3e8 terms for a curve of 24,000 updates. From afar a
stretch of updates acts as a dozen of them do with other weights: interpolative decompositions, up a tree of
stretches (Cheng et al. 2005, SIAM J. Sci. Comput. 26:1389), good for all parameters in the kernel's domains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import qr, solve_triangular
from scipy.stats import qmc

from analysis.laws.law import DARK, DECADES, float64

LEAF = 32  # updates of the smallest stretch; those nearer than that are summed one by one
SMALL = 1_000_000  # terms of a curve that are summed one by one: fewer than it takes to find better ones
TARGETS, SAMPLES = 6, 5  # later updates, and log2 of the parameters, at which a stretch must act the same
TOLERANCE = 1e-12  # of the largest of them
PAD = 64
CHUNK, BLOCK = 16, 64  # terms summed at a time, and chunks: a block stays in cache
SAME = 1e-14  # of the highest rate: a smaller change is rounding

Kernel = Callable[..., Any]
Stretch = tuple[np.ndarray, np.ndarray]  # updates and their weights


def sampled(kernel: Kernel, domains: Sequence[tuple[float, float]]) -> Kernel:
    """(log rate (c,), log area (t, c), age (t, c)) -> the kernel (samples t, c) over its domains."""
    import jax
    import jax.numpy as jnp

    points = qmc.Sobol(len(domains), scramble=False).random_base2(SAMPLES)
    low, high = np.array(domains, float).T
    log = (low > 0) & (high >= DECADES * low)
    a, b = (np.where(log, np.log(np.where(log, x, 1.0)), x) for x in (low, high))
    params = a + points * (b - a)
    params = np.where(log, np.exp(np.where(log, params, 0.0)), params)

    def one(x: Any, y: Any, n: Any, values: Any) -> Any:
        return jnp.broadcast_to(kernel(x, y, n, *values), jnp.shape(y))

    return jax.jit(lambda x, y, n: jax.vmap(one, (None, None, None, 0))(x, y, n, params))


class Changes:
    """The changes of one schedule, ``rates`` (T,), in a tree of stretches. ``many``: of :func:`sampled`;
    without it the tree has leaves only. ``from_zero``: the first rate is a change too, from 0."""

    def __init__(self, rates: np.ndarray, many: Kernel | None, *, from_zero: bool):
        top = rates.max()
        self.rates = np.maximum(rates, DARK * top)
        self.sums = np.concatenate([[0.0], np.cumsum(self.rates)])
        change = np.diff(self.rates, prepend=0.0 if from_zero else self.rates[0])
        changed = np.flatnonzero(np.abs(change) > SAME * top)
        leaves = {int(i): changed[changed // LEAF == i] for i in np.unique(changed // LEAF)}
        self.tree: list[dict[int, Stretch]] = [{i: (k + 1, change[k]) for i, k in leaves.items()}]
        while many is not None and 4 * (size := LEAF << (len(self.tree) - 1)) <= len(rates):
            below, above = self.tree[-1], {}
            for i in sorted({j // 2 for j in below}):
                if (i + 2) * 2 * size <= len(rates):  # else nothing comes late enough to be far from it
                    parts = [below[j] for j in (2 * i, 2 * i + 1) if j in below]
                    updates, weights = (np.concatenate(x) for x in zip(*parts, strict=True))
                    above[i] = self._fewer(updates, weights, (i + 1) * 2 * size, 2 * size, many)
            self.tree.append(above)

    def kernel_inputs(self, updates: np.ndarray, step: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log rate, log area and age of changes at ``updates``, after update ``step``."""
        area = self.sums[step] - self.sums[updates - 1]
        return np.log(self.rates[updates - 1]), np.log(area), (step - updates + 1).astype(float)

    def _fewer(self, updates: np.ndarray, weights: np.ndarray, last: int, size: int, many: Kernel) -> Stretch:
        far = len(self.rates) - last
        at = last + np.unique(np.geomspace(size, max(far, size), TARGETS).astype(int))[:, None]
        count = len(updates)
        x, y, n = self.kernel_inputs(
            np.pad(updates, (0, -count % PAD), mode="edge"), np.minimum(at, last + far)
        )
        with float64():
            acts = np.asarray(many(x, y, n)).reshape(-1, len(x))[:, :count]
        acts = acts / np.maximum(np.abs(acts).max(1, keepdims=True), 1e-300)
        factors: Any = qr(acts, mode="r", pivoting=True)
        upper, order = factors
        sizes = np.abs(np.diag(upper))
        rank = max(1, int((sizes > TOLERANCE * sizes[0]).sum()))
        moved = upper[:rank, rank:count] @ weights[order[rank:]]
        return updates[order[:rank]], weights[order[:rank]] + solve_triangular(upper[:rank, :rank], moved)

    def terms(self, step: int) -> Stretch:
        """Updates and weights whose sum is that of all changes up to ``step``."""
        stretches: list[Stretch] = []

        def gather(level: int, i: int) -> None:
            size = LEAF << level
            if i * size >= step:
                return
            if level == 0:
                updates, weights = self.tree[0].get(i, (np.zeros(0, int), np.zeros(0)))
                stretches.append((updates[updates <= step], weights[updates <= step]))
            elif (i + 2) * size <= step:
                if i in self.tree[level]:
                    stretches.append(self.tree[level][i])
            else:
                gather(level - 1, 2 * i)
                gather(level - 1, 2 * i + 1)

        top = len(self.tree) - 1
        for i in range(-(-step // (LEAF << top))):
            gather(top, i)
        updates, weights = (np.concatenate(x) for x in zip(*stretches, strict=True))
        return updates, weights


@dataclass(frozen=True)
class Sums:
    """The sums of a kernel after some updates of some schedules: rows (curve, step), each (n,), in order.
    ``schedules``: rates (T,); ``domains`` of the kernel's parameters, in its order."""

    schedules: tuple[np.ndarray, ...]
    curve: np.ndarray
    step: np.ndarray
    kernel: Kernel
    domains: Mapping[str, tuple[float, float]]
    from_zero: bool

    @cached_property
    def _changes(self) -> list[Changes]:
        many = sampled(self.kernel, tuple(self.domains.values()))
        asked = np.bincount(self.curve, minlength=len(self.schedules))
        return [
            Changes(x, many if n * len(x) > SMALL else None, from_zero=self.from_zero)
            for x, n in zip(self.schedules, asked, strict=True)
        ]

    @cached_property
    def areas(self) -> np.ndarray:
        """(n,) the sum of the rates so far."""
        return np.array([self._changes[c].sums[t] for c, t in zip(self.curve, self.step, strict=True)])

    @cached_property
    def blocks(self) -> tuple[np.ndarray, ...]:
        """Weights and the kernel's inputs (blocks, BLOCK, CHUNK), and their rows (blocks, BLOCK)."""
        parts = []
        for row, (c, t) in enumerate(zip(self.curve, self.step, strict=True)):
            updates, weights = self._changes[c].terms(int(t))
            if not len(updates):
                updates, weights = np.array([t]), np.zeros(1)
            short = -len(updates) % CHUNK
            updates = np.pad(updates, (0, short), mode="edge")
            inputs = self._changes[c].kernel_inputs(updates, int(t))
            terms = (np.pad(weights, (0, short)), *inputs)
            parts.append((*(x.reshape(-1, CHUNK) for x in terms), np.full(len(updates) // CHUNK, row)))
        arrays = [np.concatenate(x) for x in zip(*parts, strict=True)]
        short = -len(arrays[0]) % BLOCK
        arrays = [np.concatenate([x, np.repeat(x[-1:], short, 0)]) for x in arrays]
        arrays[0][len(arrays[0]) - short :] = 0.0
        return tuple(x.reshape(-1, BLOCK, *x.shape[1:]) for x in arrays)

    def __call__(self, params: Sequence[Any], *, derivatives: bool) -> Any:
        """(n,) sums at ``params``, each (n,). With ``derivatives`` those up to the second are exact: sums of
        the kernel's own, given to jax as a parabola about the point, so that it follows no term by itself."""
        import jax
        import jax.numpy as jnp

        count = len(params)
        still = [jax.lax.stop_gradient(p) for p in params]
        pairs = [(i, j) for i in range(count) for j in range(i + 1)] if derivatives else []

        def along(f: Kernel, i: int) -> Kernel:
            def slope(*at: Any) -> Any:
                one = lambda v: f(*at[:i], v, *at[i + 1 :])  # noqa: E731
                return jax.jvp(one, (at[i],), (jnp.ones_like(at[i]),))[1]

            return slope

        def block(terms: Any) -> Any:
            weight, x, y, n, row = terms
            at = [p[row][:, None] for p in still]
            f = lambda *v: self.kernel(x, y, n, *v)  # noqa: E731
            sums_and_slopes = [f(*at), *(along(f, i)(*at) for i in range(count) if pairs)]
            sums_and_slopes += [along(along(f, i), j)(*at) for i, j in pairs]
            return jnp.stack([(weight * v).sum(1) for v in sums_and_slopes], 1)

        parts = jax.lax.map(block, tuple(map(jnp.asarray, self.blocks)))
        rows = jnp.asarray(self.blocks[-1]).ravel()
        sums = jax.ops.segment_sum(
            parts.reshape(len(rows), -1), rows, len(self.step), indices_are_sorted=True
        )
        total = sums[:, 0]
        if pairs:
            d = [p - s for p, s in zip(params, still, strict=True)]
            total = total + sum(sums[:, 1 + i] * d[i] for i in range(count))
            for m, (i, j) in enumerate(pairs):
                total = total + sums[:, 1 + count + m] * d[i] * d[j] * (0.5 if i == j else 1.0)
        return total
