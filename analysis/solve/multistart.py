"""True optima of robust fits: many starts, the best of them polished by Newton steps.

Shapes: R problems solved together, n rows, P coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.errors import AnalysisError
from analysis.laws.law import ZERO
from analysis.solve.newton import Draw, minimise
from analysis.solve.problem import Problem
from analysis.solve.starts import starts

LARGE = 5_000  # rows, beyond which starts are tried on SAMPLE of them and FEW are polished on all
SAMPLE = 2_000
FEW = 6
SOME = 400  # rows on which the many starts of a formula are tried
TRIED = 256  # of them that are kept
WALK = 100  # Gauss-Newton steps of a start
POLISH = 40  # steps of a start on the true objective
CREEP = 600  # more steps for a best start that has not arrived
FAR = 4_000  # the same of a power sum, whose steps cost little
SHAKEN, ROUNDS = 64, 12  # starts around a best one that few others agree with, and how often
SHAKE = 0.02  # of a domain's width, by which they are off
RARE = 0.2  # of the starts that agree: with fewer there are optima nearby, of kinks or of flat valleys
SAME = 1e-6  # relative difference of objectives below which two ends are one optimum
GRADUAL = (10.0, 3.0)  # times delta, on the way to it: a small delta has kinks that starts get caught in
AT = 1e-6  # of a domain's width: a coordinate this near to its end is at it


@dataclass(frozen=True)
class Solution:
    """The best of many starts: ``u`` (P,) centred, ``value``; ``ends`` (R, P) and ``end_values`` (R,) of all
    starts, of which the first ``tried`` were spread over the domains; ``agree`` of those ended at this value
    within 1e-6; ``zero``: coefficients that ended at 0;
    ``bound``: other parameters that ended at the edge of their domain."""

    u: np.ndarray
    value: float
    converged: bool
    ends: np.ndarray
    end_values: np.ndarray
    tried: int
    agree: int
    zero: tuple[str, ...]
    bound: tuple[str, ...] = ()


def solve(
    problem: Problem,
    *,
    y: np.ndarray | None = None,
    w: np.ndarray | None = None,
    keep: int | None = None,
    start: np.ndarray | None = None,
) -> Solution:
    """Find the global optimum of a problem, as far as many starts can tell.

    Args:
        problem: the law on its rows.
        y: responses (n,), in the space of the residuals; left out: the problem's own.
        w: weights (n,); left out: the problem's own.
        keep: how many of the best starts are polished; left out: 16 for a power sum, 128 for a formula.
        start: the starts (R, P), centred; left out: many over the domains.

    Raises:
        AnalysisError: the law is finite at none of the starts.
    """
    y, w = problem.y if y is None else y, problem.w if w is None else w

    def own(_which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return y, w

    keep = keep or (16 if problem.law.terms else 128)
    if start is not None:
        ends = start
    elif len(y) > LARGE:
        ends = sampled(problem, y, w, keep=min(keep, FEW))
    else:
        ends = _rough(problem, y, w, own, keep)
    tried = len(ends)
    if problem.law.terms:
        ends, end_values, done = minimise(problem, ends, draw=own, steps=POLISH)
    else:
        ends, end_values, done = minimise(problem, ends, draw=own, steps=WALK, exact=False)
        if not np.isfinite(end_values).any():
            raise AnalysisError(_nowhere(problem, ends))
        ends, end_values, done = _polished(problem, ends, end_values, done, own)
        if start is None and len(y) <= LARGE:
            ends, end_values, done = _shaken(problem, ends, end_values, done, own)
    best = int(np.argmin(end_values))
    if not done[best]:  # creeping along a flat valley
        more = minimise(problem, ends[[best]], draw=own, steps=FAR if problem.law.terms else CREEP)
        ends[best], end_values[best], done[best] = (x[0] for x in more)
    agree = int((end_values[:tried] <= end_values[best] * (1 + SAME) + 1e-20).sum())
    u, value, zero = _faces(problem, ends[best], float(end_values[best]), own)
    at = on_edge(problem, u)
    bound = tuple(name for i, name in enumerate(problem.names) if at[i] and name not in zero)
    return Solution(u, value, bool(done[best]), ends, end_values, tried, agree, zero, bound)


def on_edge(problem: Problem, u: np.ndarray) -> np.ndarray:
    """(..., P) which free coordinates of ``u`` lie at an end of their domain; a coefficient at 0 does."""
    low, high = problem.box
    near = AT * np.where(np.isfinite(high - low), high - low, 1.0)
    return problem.free & ((u <= low + near) | (u >= high - near))


Ends = tuple[np.ndarray, np.ndarray, np.ndarray]


def _polished(problem: Problem, ends: np.ndarray, values: np.ndarray, done: np.ndarray, own: Draw) -> Ends:
    few = np.argsort(values, kind="stable")[:FEW]
    ends[few], values[few], done[few] = minimise(problem, ends[few], draw=own, steps=POLISH)
    return ends, values, done


def _shaken(problem: Problem, ends: np.ndarray, values: np.ndarray, done: np.ndarray, own: Draw) -> Ends:
    """Starts around the best end as well, where few agree with it or most residuals are beyond delta, whose
    kinks hold what comes from afar at one of many optima; as long as they find better ones."""
    rng, (low, high) = np.random.default_rng(0), problem.box
    for i in range(ROUNDS):
        best = int(np.argmin(values))
        agree = (values <= values[best] * (1 + SAME) + 1e-20).mean()
        if agree >= RARE and (i or not _kinked(problem, ends[best], own)):
            break
        wide = np.where(np.isfinite(high - low), high - low, np.maximum(np.abs(ends[best]), 1e-3))
        off = SHAKE * wide * problem.free * rng.standard_normal((SHAKEN, len(low)))
        around = minimise(problem, ends[best] + off, draw=own, steps=WALK, exact=False)
        around = _polished(problem, *around, own)
        ends, values, done = (np.concatenate(pair) for pair in zip((ends, values, done), around, strict=True))
        if values.min() >= values[best] * (1 - SAME):
            break
    return ends, values, done


def _kinked(problem: Problem, u: np.ndarray, own: Draw) -> bool:
    y, _ = own(np.zeros(1, int))
    return bool(np.mean(np.abs(y - problem.model.fitted(u[None])) > problem.loss.delta) > 0.5)


def sampled(
    problem: Problem, y: np.ndarray, w: np.ndarray, *, keep: int = FEW, start: np.ndarray | None = None
) -> np.ndarray:
    """Solve on ``SAMPLE`` of the rows: where to begin on all of them.

    Args:
        problem: the law on all rows.
        y: their responses (n,).
        w: their weights (n,).
        keep: how many of the best ends are kept where there is no ``start``.
        start: starts (R, P), centred; left out: many over the domains.

    Returns:
        Ends (R, P), centred.
    """
    mixed = np.random.default_rng(0).permutation(len(y))
    taken = [mixed[:SAMPLE]]
    if problem.group is not None:  # some rows of each, however few there are
        taken += [mixed[problem.group[mixed] == g][:SOME] for g in range(len(problem.labels))]
    rows = np.unique(np.concatenate(taken))
    part = problem.at(rows)
    start = None if start is None else part.shift(problem.shift(start, 1.0), -1.0)
    solved = solve(part, y=y[rows], w=w[rows], keep=keep, start=start)
    ends = (
        solved.ends if start is not None else solved.ends[np.argsort(solved.end_values, kind="stable")[:keep]]
    )
    return problem.shift(part.shift(ends, 1.0), -1.0)


def _rough(problem: Problem, y: np.ndarray, w: np.ndarray, own: Draw, keep: int) -> np.ndarray:
    """The ``keep`` most promising starts, improved on an objective without the kinks of a small delta, then
    on ones with ever more of them."""
    first = starts(problem, y, w)
    delta = problem.loss.delta
    spread = 0.05 * float(np.std(y)) if np.isfinite(delta) else np.inf
    smooth = replace(problem, loss=replace(problem.loss, delta=1.345 * max(spread, delta)))
    if not problem.law.terms:
        first = _tried(smooth, first, y, w)
    ends, rough, _ = minimise(smooth, first, draw=own, steps=3, exact=False)
    if not np.isfinite(rough).any():
        raise AnalysisError(_nowhere(problem, first))
    ends = minimise(smooth, ends[np.argsort(rough, kind="stable")[:keep]], draw=own, steps=12, exact=False)[0]
    for width in (factor * delta for factor in GRADUAL if factor * delta < smooth.loss.delta):
        between = replace(problem, loss=replace(problem.loss, delta=width))
        ends = minimise(between, ends, draw=own, steps=30, exact=False)[0]
    return ends


def _tried(problem: Problem, first: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The more promising of many starts, after a few steps on some of the rows."""
    most = SOME if len(y) > 2 * SOME else len(y)  # another number of rows is compiled again
    rows = np.sort(np.random.default_rng(0).permutation(len(y))[:most])
    part = problem.at(rows)
    ends, rough, _ = minimise(part, first, draw=lambda _: (y[rows], w[rows]), steps=6, exact=False)
    return ends[np.argsort(rough, kind="stable")[:TRIED]]


def _nowhere(problem: Problem, u: np.ndarray) -> str:
    x = problem.parameters(problem.shift(u, 1.0))
    bad = ~np.isfinite(problem.values(x)) | ((not problem.loss.raw) & (problem.values(x) <= 0))
    row = int(np.argmax(bad.sum(0)))
    at = ", ".join(f"{name} = {v:.3g}" for name, v in zip(problem.names, x[0], strict=True))
    given = ", ".join(f"{name} = {v[row]:.6g}" for name, v in problem.inputs.items())
    what = "finite" if problem.loss.raw else "finite and positive"
    return (
        f"law {problem.law.name!r} is not {what} at any of {len(x)} starts (say {at}; first at {given}); "
        "check its formula and the domains of its parameters"
    )


def _faces(
    problem: Problem, u: np.ndarray, value: float, own: Draw
) -> tuple[np.ndarray, float, tuple[str, ...]]:
    """Set coefficients that ended near zero to zero, and solve on that face, if the objective agrees."""
    linear = [i for i, p in enumerate(problem.base) if p in problem.law.linear and problem.in_log[i]]
    linear = [i for i in linear if problem.free[i] and problem.law.domain(problem.base[i])[0] == 0]
    if problem.law.terms:
        design, most = problem.model.design, len(problem.law.terms)  # type: ignore[attr-defined]
        sizes, least = {}, np.maximum(np.abs(problem.target), problem.smallest)
        for i in linear:
            k = problem.law.linear.index(problem.base[i])
            rows = design[k][:, i] > 0
            sizes[i] = float((design[k][rows] @ u - np.log(least[rows])).max())
        small = [i for i in linear if sizes[i] < np.log(1e-5)]
    else:
        floor = np.repeat(u[None], len(linear), 0)
        floor[np.arange(len(linear)), linear] = problem.box[0][linear]
        same = minimise(problem, floor, draw=own, steps=0)[1] if linear else np.zeros(0)
        small = [i for i, v in zip(linear, same, strict=True) if v <= value * (1 + SAME) + 1e-20]
        most = len(problem.names)
    if not small or len(small) == most:
        return u, value, ()
    names = tuple(problem.names[i] for i in small)
    if not problem.law.terms:
        u = u.copy()
        u[small] = problem.box[0][small]
        return u, value, names
    face = replace(problem, fixed={**problem.fixed, **dict.fromkeys(names, 0.0)})
    start = problem.shift(u, 1.0)
    start[small] = ZERO
    on_face, face_value, _ = minimise(face, face.shift(start, -1.0)[None], draw=own)
    if face_value[0] > value * (1 + 1e-4) + 1e-20:
        return u, value, ()
    return problem.shift(face.shift(on_face[0], 1.0), -1.0), float(face_value[0]), names
