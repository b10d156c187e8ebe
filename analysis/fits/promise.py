"""What a law promises beyond its data: the improvement in log loss that its errors there are a share of.

At a target the promise is the law's slope there times the way. A law that holds nearly all of the loss
irreducible has no slope far out, but is no truer there than halfway. So the promise is the most of any place
on the way to the target: from the data to their largest compute on the target's own line, along which
inputs grow as a family's do (``GROWTH``), and up that line. It is the same line for all targets on it.
Where a fit does not settle what is irreducible, it is no less than that of a power law through the data,
which holds nothing irreducible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.fits.allocation import values
from analysis.fits.earlier import scale_of
from analysis.solve.problem import Problem

if TYPE_CHECKING:
    from analysis.fits.result import Fit

GROWTH = {"N": 0.5, "D": 0.5, "C": 1.0}  # of log inputs with log C, where a family grows as one
TINY = 1e-12  # of a way, for targets within the data
STEP = 1e-3  # in log, over which a slope of the law is taken
PLACES = np.geomspace(0.25, 25.0, 16)  # distances in log from the data at which a law is asked too
FEW = "few_clusters"
SETTLED = ("ok", "partly_identified", "none_identified")  # of fits that are an optimum, and the only one


def promised(
    problem: Problem,
    draws: np.ndarray,
    data: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    group: np.ndarray,
    least: Mapping[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say what a law promises from its data to targets.

    Args:
        problem: the law on its rows.
        draws: of its parameters (R, P), plain coordinates.
        data: of the rows, N, D, C where known and other inputs of the law, (n,) each.
        inputs: of the targets, likewise (m,).
        group: index of each target's group (m,).
        least: slopes of a power law that promises no more; left out: none is asked.

    Returns:
        The promise (R, m); the distance in log C, or what stands for it, from the data, and that above them,
        (m,) each.
    """
    law = problem.law.inputs
    beyond = {x: outside(inputs[x], np.asarray(data[x])) for x in law if x in GROWTH}
    scale, target = scale_of(data, law), scale_of(inputs, law)
    assert scale is not None and target is not None  # as of the rows fitted
    h = np.empty(len(group))
    above = np.empty(len(group))
    for g in np.unique(group):
        mine = scale if problem.group is None else scale[problem.group == g]
        h[group == g] = outside(target[group == g], mine)
        above[group == g] = np.maximum(0.0, np.log(target[group == g] / mine.max()))
    most = promise(problem, draws, inputs, beyond, h, group)
    if least is not None:
        most = np.maximum(most, improvement(least, h, beyond))
    return most, np.abs(h), above


def promise(
    problem: Problem,
    draws: np.ndarray,
    inputs: Mapping[str, np.ndarray],
    beyond: Mapping[str, np.ndarray],
    h: np.ndarray,
    group: np.ndarray,
) -> np.ndarray:
    """The most that a law promises anywhere on the way to targets (R, m): along compute, or along single
    inputs where that is more.

    Args:
        problem: the law.
        draws: of its parameters (R, P), plain coordinates.
        inputs: of the targets (m,).
        beyond: how far in log each of its inputs lies above the data (m,), negative: below.
        h: how far in log C (m,), likewise.
        group: index of each target's group (m,).
    """
    sign, far = np.sign(h), np.abs(h)
    begin = {x: _nearer(one, GROWTH[x] * h) for x, one in beyond.items()}  # of where the line begins
    way = np.maximum(sum(np.abs(one) for one in begin.values()), TINY)
    most = np.zeros((len(draws), len(h)))
    for place in PLACES:
        share, left = np.minimum(1.0, place / way), np.maximum(0.0, far - place)
        if (far > 0).any():
            at = {x: v * np.exp(-sign * GROWTH[x] * left) if x in beyond else v for x, v in inputs.items()}
            near = {x: _nearer(one, sign * GROWTH[x] * left) for x, one in beyond.items()}
            slopes = steepness(problem, draws, at, group)
            most = np.maximum(most, improvement(slopes, far - left, near))
        if (way > TINY).any():
            back = {x: sign * GROWTH[x] * far + (1 - share) * one for x, one in begin.items()}
            at = {x: v * np.exp(-back[x]) if x in back else v for x, v in inputs.items()}
            slopes = steepness(problem, draws, at, group)
            most = np.maximum(most, share * improvement(slopes, 0 * h, begin))
        if (far <= place).all() and (share == 1).all():  # all the places that are left are the targets
            return most
    return np.maximum(most, improvement(steepness(problem, draws, inputs, group), h, beyond))


def _nearer(beyond: np.ndarray, back: np.ndarray) -> np.ndarray:
    """How far above the data (m,), negative: below, a place lies that is so far ``back`` from one ``beyond``
    them; as far where that leads away from them."""
    less = np.sign(beyond) * np.maximum(0.0, np.abs(beyond) - np.abs(back))
    return np.where(beyond * back > 0, less, beyond)


def steepness(
    problem: Problem, draws: np.ndarray, inputs: Mapping[str, np.ndarray], group: np.ndarray
) -> dict[str, np.ndarray]:
    """- d log L / d log x of draws (R, P) at each target (R, m), of the inputs x of the law that grow with a
    family."""
    out = {}
    for x in (x for x in problem.law.inputs if x in GROWTH):
        sides = [dict(inputs) | {x: inputs[x] * np.exp(sign * STEP)} for sign in (-1, 1)]
        low, high = (np.log(values(problem, draws, side, group)) for side in sides)
        out[x] = (low - high) / (2 * STEP)
    return out


def improvement(
    slopes: Mapping[str, np.ndarray], h: np.ndarray, beyond: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The improvement in log loss (R, m) by ``slopes`` (R, m) over a distance ``h`` in log C, or over those
    ``beyond`` the data in single inputs where that is more."""
    steep: Any = sum(GROWTH[x] * slope for x, slope in slopes.items())
    alone: Any = sum(np.abs(slope * beyond[x]) for x, slope in slopes.items())
    return np.maximum(np.abs(steep * h), alone)


def unsettled(fit: Fit) -> bool:
    """Whether a fit leaves open what share of the loss is irreducible: an exponent or coefficient is at a
    bound, other optima fit as well, or the offset (of any group) has too wide an interval, other than because
    its clusters are few. The law is then no measure of how wrong it may be."""
    named = (x for x, base in zip(fit.problem.names, fit.problem.base, strict=True) if base == fit.law.offset)
    found = (fit.identified[name] for name in named if name in fit.identified)
    wide = any(one.verdict != "yes" and one.code != FEW for one in found)
    return wide or fit.status.code not in SETTLED


def unbending(problem: Problem) -> dict[str, np.ndarray]:
    """- d log L / d log x (1,) of the power law with nothing irreducible, L = G N^-a D^-b, by weighted least
    squares through the rows of a problem, G that of each group; of the inputs x that grow with a family."""
    grown = [x for x in problem.law.inputs if x in GROWTH]
    group = np.zeros(len(problem.target), int) if problem.group is None else problem.group
    levels = (group[:, None] == np.unique(group)).astype(float)
    logs = np.column_stack([np.log(problem.inputs[x]) for x in grown])
    root = np.sqrt(problem.w)[:, None]
    found = np.linalg.lstsq(root * np.hstack([logs, levels]), root[:, 0] * np.log(problem.target), rcond=None)
    return {x: -slope[None] for x, slope in zip(grown, found[0], strict=False)}


def outside(asked: np.ndarray, data: np.ndarray) -> np.ndarray:
    """How far in log ``asked`` (m,) lies above the range of ``data``, negative: below; 0 within."""
    asked = np.log(asked)
    return np.maximum(0.0, asked - np.log(data.max())) - np.maximum(0.0, np.log(data.min()) - asked)
