"""What fits say of runs not bought: laws about their optima, noise and misfit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from analysis.planning.field import Field, Misfit, places
from analysis.planning.prior import NoiseLevel
from analysis.planning.split import split
from analysis.solve.problem import Loss, Problem
from buying.instances import Group, Outputs

FLOOR = 0.002  # noise as a share of a loss, where residuals say no more
NONE = 1e-9  # a misfit that is none


def fields(group: Group, fits: list[np.ndarray], bought: np.ndarray, *, bend: bool) -> Iterator[Field]:
    """What the best fit of each output says of all runs of pool and target: a law about its optimum, with
    noise of the size of the residuals and no less than usual. With ``bend``: with noise and misfit
    (:func:`analysis.planning.split.split`), and the other fits likewise."""
    taken = max(int(bought.sum()) - group.params / group.losses, 0.25 * bought.sum())
    for one, optima, rows in zip(group.outputs, fits, group.rows, strict=True):
        pool = one.pool
        for u, label in product(optima if bend else optima[:1], range(max(len(pool.labels), 1))):
            fitted = pool.values(pool.parameters(u)[None], pool.inputs, pool.group)[0]
            mine = np.ones(len(rows), bool) if pool.group is None else pool.group == label
            here = mine & bought[rows]
            residuals, scale = (pool.target - fitted)[here], float(np.mean(np.abs(pool.target[here])))
            whole, count = _whole(one, label, scale), int(mine.sum())
            low, high = whole.box
            at, cells = np.clip(whole.shift(u, -1.0), low, high), np.arange(len(whole.target))
            left = float(np.sqrt((residuals**2).sum() / taken))
            plain = Field(whole, at, Misfit(NONE), NoiseLevel(max(FLOOR * scale, left)), cells,
                          np.zeros((0, len(at))), cells[count:])  # fmt: skip
            yield apart(plain, np.flatnonzero(bought), residuals, left, scale) if bend else plain


def apart(field: Field, bought: np.ndarray, residuals: np.ndarray, left: float, scale: float) -> Field:
    """The field with noise and misfit as residuals (n,) of the runs that were ``bought`` (n,) have both."""
    at = places(field.problem.inputs)
    unit = Misfit(1.0).covariance(at[bought], at[field.targets].mean(axis=0))
    cluster = field.cluster[bought]
    noise, misfit = split(field.slopes[bought], unit, residuals, cluster, left=left, scale=scale, floor=FLOOR)
    return replace(field, noise=noise, misfit=misfit)


def _whole(one: Outputs, label: int, scale: float) -> Problem:
    """The law of an output on all runs of pool and target, whose losses are not known."""
    pool, target = one.pool, one.target
    mine = [slice(None) if p.group is None else p.group == label for p in (pool, target)]
    inputs = {x: np.append(pool.inputs[x][mine[0]], target.inputs[x][mine[1]]) for x in pool.inputs}
    flat = np.full(len(next(iter(inputs.values()))), scale)
    group = None if pool.group is None else np.full(len(flat), label)
    return Problem(pool.law, inputs, flat, Loss(space="raw"), group=group, labels=pool.labels, own=pool.own)
