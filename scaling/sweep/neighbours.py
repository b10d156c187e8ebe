"""Flags that only other runs can give: optima at the end of what was tried, differences within the error of
the evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import groupby, pairwise
from statistics import fmean, stdev
from typing import Any

from scaling.canonical import canonical_json
from scaling.plan.plan import PlannedRun
from scaling.run import ExternalRun

Run = tuple[PlannedRun, float, Mapping[str, float]]  # its loss, and those of the documents of the evaluation
SAME_TOKENS = 0.01  # relative: batches of several sizes end a little apart
FEWEST = 3  # values tried, below which an end says nothing
COMPARED = ("fit", "tuning")  # a held-out run says nothing of those that are fitted
TUNED = ("learning_rate", "learning_rates", "weight_decay")  # not part of what a cell is


def compared(runs: Mapping[str, Run]) -> dict[str, list[str]]:
    """Return flags by run id, of runs that have a loss.

    ``rate_edge`` and ``batch_edge``: the best of at least three learning rates (batches) at one size and
    token count is the least or the largest. ``size_edge``: so is the best of at least three sizes at one
    budget. ``eval_noise``: the loss differs from that of its neighbour by less than the standard error of
    that difference, paired over documents; the neighbour is the nearest token count of the same size, else
    the nearest size of the same token count.
    """
    flags: dict[str, list[str]] = {}

    def note(run: Run, flag: str) -> None:
        flags.setdefault(run[0].run_id, []).append(flag)

    best = list[Run]()
    for cell in _cells([run for run in runs.values() if run[0].role in COMPARED]):
        winner = min(cell, key=_loss)
        best.append(winner)
        for flag, value in (("rate_edge", _rate), ("batch_edge", _batch)):
            if _at_end(winner, cell, value):
                note(winner, flag)
    for budget in _by(best, lambda run: (_setting(run[0], size=False), run[0].budget)):
        winner = min(budget, key=_loss)
        if winner[0].budget is not None and _at_end(winner, budget, _size):
            note(winner, "size_edge")
    for run, other in _neighbours(best):
        if _within_noise(run, other):
            note(run, "eval_noise")
    return flags


def _loss(run: Run) -> float:
    return run[1]


def _rate(run: Run) -> float | None:
    return run[0].run.learning_rate


def _batch(run: Run) -> float:
    return run[0].run.batch_tokens


def _size(run: Run) -> float:
    return run[0].params


def _tokens(run: Run) -> float:
    return run[0].run.tokens


def _at_end(winner: Run, others: list[Run], value: Callable[[Run], float | None]) -> bool:
    tried = {v for run in others if (v := value(run)) is not None}
    return len(tried) >= FEWEST and value(winner) in (min(tried), max(tried))


def _setting(planned: PlannedRun, *, size: bool = True) -> str:
    """Say all that a run is but what is tuned and how long it is; without ``size`` of any size."""
    run = planned.run
    plain: dict[str, Any] = json.loads(canonical_json(run))
    for name in ("steps", "batch_sequences", "schedule"):
        plain.pop(name, None)
    if isinstance(run, ExternalRun):
        plain["data"].pop("tokens")
        recipe, shape = plain["recipe"], "size"
        recipe.pop("schedule", None)
    else:
        recipe, shape = plain["optimizer"], "shape"
        plain["schedule"] = run.schedule.kind
    for name in TUNED:
        recipe.pop(name, None)
    if not size:
        plain[shape] = {"context": run.context}
    return json.dumps([planned.variant, plain], sort_keys=True)


def _by(runs: list[Run], key: Callable[[Run], Hashable]) -> Iterator[list[Run]]:
    groups: dict[Hashable, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    yield from groups.values()


def _alike(runs: list[Run], value: Callable[[Run], float], tolerance: float) -> Iterator[list[Run]]:
    """Yield runs whose values lie within ``tolerance`` of the least of them, by rising values."""
    begin = 0.0
    ordered, number = [], 0
    for run in sorted(runs, key=value):
        if value(run) > begin * (1 + tolerance):
            begin, number = value(run), number + 1
        ordered.append((number, run))
    for _, group in groupby(ordered, key=lambda pair: pair[0]):
        yield [run for _, run in group]


def _cells(runs: list[Run]) -> Iterator[list[Run]]:
    """Yield the runs of each size and token count that differ in what is tuned alone."""
    for same in _by(runs, lambda run: _setting(run[0])):
        yield from _alike(same, _tokens, SAME_TOKENS)


def _neighbours(best: list[Run]) -> Iterator[tuple[Run, Run]]:
    """Yield the runs of a token count of their own beside the nearest of the same size, and others beside the
    nearest size of the same token count."""
    alone = list[Run]()
    for same in _by(best, lambda run: _setting(run[0])):
        if len(same) > 1:
            yield from _nearest(same, _tokens)
        else:
            alone += same
    for same in _by(alone, lambda run: _setting(run[0], size=False)):
        for group in _alike(same, _tokens, SAME_TOKENS):
            yield from _nearest(group, _size)


def _nearest(runs: list[Run], value: Callable[[Run], float]) -> Iterator[tuple[Run, Run]]:
    runs = sorted(runs, key=value)
    gaps = [math.inf, *(math.log(value(b) / value(a)) for a, b in pairwise(runs)), math.inf]
    for i, run in enumerate(runs):
        if len(runs) > 1:
            yield run, runs[i - 1] if gaps[i] <= gaps[i + 1] else runs[i + 1]


def _within_noise(run: Run, other: Run) -> bool:
    (_, _, mine), (_, _, others) = run, other
    gaps = [loss - others[name] for name, loss in mine.items() if name in others]
    return len(gaps) > 1 and abs(fmean(gaps)) < stdev(gaps) / math.sqrt(len(gaps))
