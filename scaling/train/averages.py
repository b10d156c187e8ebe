"""Averages of a run's weights. Exponential ones are kept by the compiled program, at every step; merges are
sums of snapshots, taken where chunks end.

A merge has a sum of its own on each line, trunk or branch, for every run whose window is open: several at
once on a trunk. Sums are arrays that never change, so a branch shares those of its trunk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scaling.model.roles import Params
from scaling.store.records import JobRun, RunEMA, RunMerge
from scaling.train.step import TrainState

Sums = Mapping[str, Params]  # by "RUN_ID/NAME" of a merge


class Carried(NamedTuple):
    """What a line carries from chunk to chunk: its state, and the sums of snapshots so far."""

    state: TrainState
    sums: Sums


@dataclass(frozen=True)
class Averages:
    """What is averaged on a line: the decays of the exponential averages, in the order of a state's ``emas``,
    and the steps after which each merge takes its snapshots."""

    decays: tuple[float, ...] = ()
    merges: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, members: Sequence[JobRun]) -> Averages:
        """Return what these runs of one job ask for."""
        merges = {
            _key(member, average): average.steps
            for member in members
            for average in member.averages
            if isinstance(average, RunMerge)
        }
        return cls(decays_of(members), merges)

    def among(self, others: Averages) -> Averages:
        """Keep those that ``others`` have too, snapshot for snapshot."""
        merges = {key: steps for key, steps in self.merges.items() if others.merges.get(key) == steps}
        return Averages(tuple(d for d in self.decays if d in others.decays), merges)

    def by(self, step: int) -> Averages:
        """Return what of them there is after ``step``: merges that have begun, with the snapshots so far."""
        begun = {key: tuple(s for s in steps if s <= step) for key, steps in self.merges.items()}
        return replace(self, merges={key: steps for key, steps in begun.items() if steps})

    def within(self, others: Averages) -> bool:
        """Tell whether ``others`` have all of these."""
        return self.among(others) == self

    def is_due(self, step: int) -> bool:
        """Tell whether a snapshot is due after ``step``."""
        return any(step in steps for steps in self.merges.values())

    def snapshot(self, step: int, carried: Carried) -> Carried:
        """Take the snapshots that are due after ``step``."""
        params, sums = carried.state.params, dict(carried.sums)
        for key, steps in self.merges.items():
            if step in steps:
                sums[key] = _sum(sums[key], params) if key in sums else _copy(params)
        return carried._replace(sums=sums)

    def own(self, sums: Sums) -> Sums:
        return {key: total for key, total in sums.items() if key in self.merges}


def decays_of(members: Sequence[JobRun]) -> tuple[float, ...]:
    """Return the decays that the runs of one job ask for."""
    return tuple(average.decay for average in members[0].averages if isinstance(average, RunEMA))


def along_the_way(member: JobRun, state: TrainState) -> Iterator[tuple[str, Params]]:
    """Give the averages of a run that stand at every step, by name."""
    names = [average.name for average in member.averages if isinstance(average, RunEMA)]
    for name, ema, decay in zip(names, state.emas, decays_of([member]), strict=True):
        yield name, _debiased(ema, decay, state)


def at_the_end(member: JobRun, carried: Carried, kept: Averages) -> Iterator[tuple[str, Params]]:
    """Give the averages of a finished run, by name, one at a time.

    Args:
        member: the run.
        carried: after its last step.
        kept: what was averaged; others are left out.
    """
    for average in member.averages:
        match average:
            case RunEMA(decay=decay) if decay in kept.decays:
                ema = carried.state.emas[kept.decays.index(decay)]
                yield average.name, _debiased(ema, decay, carried.state)
            case RunMerge() if _key(member, average) in kept.merges:
                yield average.name, _scaled(carried.sums[_key(member, average)], 1 / len(average.steps))
            case _:
                continue


def ema_names(members: Collection[JobRun]) -> list[str]:
    first = next(iter(members))
    return [average.name for average in first.averages if isinstance(average, RunEMA)]


def _key(member: JobRun, average: RunMerge) -> str:
    return f"{member.run_id}/{average.name}"


def _debiased(ema: Params, decay: float, state: TrainState) -> Params:
    """Take the last weights into an average, and divide by the weights that one from zero has after so many
    steps (Kingma & Ba, arXiv:1412.6980, section 3)."""
    factor = 1 / (1 - decay ** int(state.step))
    return _mixed(ema, state.params, decay * factor, (1 - decay) * factor)


_copy = partial(jax.tree.map, jnp.copy)
_sum = jax.jit(partial(jax.tree.map, jnp.add))
_scaled = jax.jit(lambda params, factor: jax.tree.map(lambda array: array * factor, params))
_mixed = jax.jit(lambda one, other, a, b: jax.tree.map(lambda x, y: a * x + b * y, one, other))
