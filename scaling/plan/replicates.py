"""Runs at corners of the design again with other seeds: the noise of initial weights and of order, apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from scaling.counts.model import counts_of
from scaling.plan.designs import Asked, Wanted, label_of
from scaling.spec.base import SeedPair
from scaling.spec.designs.cells import Corner, Replicates
from scaling.spec.models import Study

FIRST = 1001  # of the seeds that are drawn, away from those that people write


def replicates(study: Study, kept: Sequence[Wanted]) -> list[Wanted]:
    """Return the repetitions that ``study.noise`` asks for at corners of what the design trains, in each
    variant; of several values on an axis, with the first."""
    if not isinstance(study.noise, Replicates) or study.design.unfinished:
        return []  # corners are those of the whole design
    asked, variants = list[Wanted](), dict[str | None, list[Wanted]]()
    for w in kept:
        if w.role == "fit":
            variants.setdefault(w.setting.variant, []).append(w)
    for of_variant in variants.values():
        corners = (_corner(of_variant, corner) for corner in study.noise.corners)
        for w in {id(w): w for w in corners}.values():
            asked += _repeated(w, study.noise, study)
    return asked


def _corner(fitted: Sequence[Wanted], corner: Corner) -> Wanted:
    """Return the first run at a corner: it has the first seed of the study."""
    size, horizon = corner.split("-")
    of_size = min if size == "smallest" else max
    params = of_size(counts_of(w.shape).total for w in fitted)
    of_horizon = min if horizon == "shortest" else max
    return of_horizon((w for w in fitted if counts_of(w.shape).total == params), key=lambda w: w.tokens)


def _repeated(w: Wanted, noise: Replicates, study: Study) -> Iterator[Wanted]:
    taken = {number for seed in study.seeds for number in _numbers(seed)} | {w.seed, w.order}
    fresh = (number for number in itertools.count(FIRST) if number not in taken)
    order = w.seed if w.order is None else w.order
    seeds = [("init", SeedPair(init=next(fresh), order=order)) for _ in range(noise.init)]
    seeds += [("order", SeedPair(init=w.seed, order=next(fresh))) for _ in range(noise.order)]
    for field, seed in seeds:
        path, pair = ("noise", field), (seed.init, seed.order)
        label = label_of(Asked("noise", w.setting.choice, w.point, seed, path))
        yield replace(w, label=label, role="noise", seed=pair[0], order=pair[1], path=path, min_steps=1)


def _numbers(seed: int | SeedPair) -> tuple[int, ...]:
    pair = (seed,) if isinstance(seed, int) else (seed.init, seed.order)
    return tuple(number for number in pair if isinstance(number, int))
