"""Cells that a study might train beside those it has: which sizes, for how long, at what cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from scaling.counts.model import Model, sequence_flops
from scaling.errors import UserError
from scaling.plan.designs import compact, flops_per_step, nearest
from scaling.plan.member import Counting, nearest_size
from scaling.plan.plan import PlannedRun
from scaling.plan.scales import batch_of, horizon_scales, shape_scales
from scaling.plan.tuned import settled
from scaling.plan.warnings import has_long_warmup, warms_long
from scaling.recipe.written import RuleError
from scaling.run import ExternalRun
from scaling.spec.designs.cells import Cell
from scaling.spec.external import ExternalRecipe
from scaling.spec.families import Size, naming_fields
from scaling.spec.models import Study
from scaling.spec.sections import Recipe
from scaling.spec.source import SpecError

SIZES_A_DECADE, BUDGETS_A_DECADE = 8, 6
MOST = 1200  # cells
SAME, SAME_SIZE = 0.03, 0.002  # of log D and log N, within which a cell is a run that is there
MARGIN = 2.0  # by which D/N may lie outside what is there and what is asked for


@dataclass(frozen=True)
class Offer:
    """A ``cell`` of a family that may be trained: its N (``params``, ``params_body`` where it is stated), D,
    C, and ``cost``, the FLOPs that it adds; ``trunk`` names what it may share with other cells, of which
    ``continued`` steps are trained already."""

    cell: Cell
    label: str
    size: Size
    params: int
    params_body: int | None
    tokens: int
    steps: int
    flops: int
    cost: float
    trunk: str
    continued: int


@dataclass(frozen=True)
class Bounds:
    """Where cells are looked for: the largest N, the compute of a run, D/N, and the fewest steps."""

    most_params: float
    flops: tuple[float, float]
    ratio: tuple[float, float]
    least_steps: int = 1

    @classmethod
    def about(
        cls, runs: Sequence[tuple[float, float, float]], target: tuple[float, float, float], most_flops: float
    ) -> Bounds:
        """Take those of runs (N, D, C) and of the target; runs cost at most ``most_flops``."""
        ratios = [d / n for n, d, _ in (*runs, target)]
        most = max(n for n, _, _ in (*runs, target))
        lowest = min((c for _, _, c in runs), default=target[2] / 1e3)
        return cls(most, (lowest, most_flops), (min(ratios) / MARGIN, max(ratios) * MARGIN))


def offers(
    study: Study,
    vocab_size: int,
    bounds: Bounds,
    have: Iterable[PlannedRun] = (),
    elsewhere: Iterable[tuple[float, float]] = (),
) -> list[Offer]:
    """List the cells within ``bounds`` whose rows a fit would take.

    Args:
        study: whose family, recipe and context they have.
        vocab_size: entries of the vocabulary.
        bounds: of sizes, compute and D/N.
        have: runs that are planned or done: their cells are left out, and their trunks continued.
        elsewhere: (N, D) of runs that were trained without this package, whose cells are left out too.

    Raises:
        UserError: a tuned rule cannot be read, or the family has no sizes.
    """
    recipe, wrong = settled(study.recipe, study.source.folder)
    if wrong:
        raise SpecError(study.source, wrong)
    known, found, flagged = list(have), list[Offer](), list[Offer]()
    trunks = {run.run.counts.total: run for run in sorted(known, key=_branch) if not run.is_external}
    taken = [(run.params, run.run.tokens, run.run.batch_tokens) for run in known]
    taken += [(n, d, None) for n, d in elsewhere]
    for size in _sizes(study, vocab_size, bounds):
        shape = study.family.member(size).shape(vocab_size, study.data.context)
        for budget in _budgets(bounds):
            try:
                tokens = budget * shape.context / sequence_flops(shape)
                batch = batch_of(recipe.batch_tokens, shape, tokens).tokens
                offer = _offer(study, size, shape, budget, batch, trunks.get(_total(shape)))
                long = warms_long(_warmup(recipe, shape, offer, batch), offer.steps)
            except RuleError:
                continue  # the plan says so where the cell is asked for
            within = bounds.ratio[0] <= offer.tokens / offer.params <= bounds.ratio[1]
            if not within or offer.steps < max(bounds.least_steps, study.design.least_steps):
                continue
            if not any(_same(offer, batch, *run) for run in taken):
                (flagged if long else found).append(offer)
    if not found and all(map(has_long_warmup, known)):
        found = flagged  # a fit takes runs that all have a flag
    return found[:: max(1, math.ceil(len(found) / MOST))]


def _same(offer: Offer, batch: int, params: float, tokens: float, its_batch: int | None) -> bool:
    """Whether a cell is a run of N, D and a batch, None where that is not known."""
    alike = its_batch in (None, batch) and abs(math.log(offer.params / params)) < SAME_SIZE
    return alike and abs(math.log(offer.tokens / tokens)) < SAME


def _warmup(recipe: Recipe | ExternalRecipe, shape: Model, offer: Offer, batch: int) -> int:
    """Steps of warmup, where the recipe says how many, whatever the horizon: percent of it are alike for all
    runs, and no reason to leave one out. Raises RuleError."""
    if isinstance(recipe, ExternalRecipe) or getattr(recipe.schedule.warmup, "unit", None) == "%":
        return 0
    scales = shape_scales(shape) | horizon_scales(shape, offer.tokens)
    scales["batch_tokens"] = batch
    scales["learning_rate"] = recipe.optimizer.peak(scales)
    return recipe.schedule.resolved(offer.steps, offer.steps, scales).warmup


def _total(shape: Model) -> int:
    return Counting().params(shape)


def _branch(run: PlannedRun) -> int:
    return 0 if isinstance(run.run, ExternalRun) else run.run.branch_step


def _offer(study: Study, size: Size, shape: Model, budget: float, batch: int, on: PlannedRun | None) -> Offer:
    """Price a cell; ``on`` is the run of its size with the longest trunk, where there is one."""
    unit = flops_per_step(shape, batch)
    steps = max(nearest(budget, unit), 1)
    label, continued = study.family.label(size), 0
    shared = (
        study.execution.share_trunk and study.trainer is None and getattr(study.recipe, "shares_trunk", False)
    )
    if shared and on is not None and on.run.batch_tokens == batch:
        decay = 1 - on.built_in.branch_step / on.run.steps
        continued = min(on.built_in.branch_step, int(steps * (1 - decay)))
    counts = Counting(body=True)
    try:
        body = counts.params(shape)
    except UserError:
        body = None
    return Offer(
        Cell.model_validate({**naming_fields(study.family, size), "flops": float(f"{budget:.4g}")}),
        f"{label}-{compact(float(f'{budget:.4g}'))}", size, _total(shape), body, steps * batch, steps,
        steps * unit, float((steps - continued) * unit), f"{label}-{batch}" if shared else "", continued,
    )  # fmt: skip


def _budgets(bounds: Bounds) -> Iterator[float]:
    low, high = bounds.flops
    if high < low:
        return
    number = max(1, round(math.log10(high / low) * BUDGETS_A_DECADE))
    for i in range(number + 1):
        yield float(f"{high * (low / high) ** (1 - i / number):.3g}") if i < number else float(f"{high:.12g}")


def _sizes(study: Study, vocab_size: int, bounds: Bounds) -> list[Size]:
    """The sizes of the family, and others of its dial up to the largest that is asked for."""
    counting, members = Counting(), list(study.family.members)
    params = {
        size: counting.params(study.family.member(size).shape(vocab_size, study.data.context))
        for size in members
    }
    low, high = min(params.values()), max(bounds.most_params, *params.values())
    number = max(2, round(math.log10(high / low) * SIZES_A_DECADE))
    between = [low * (high / low) ** (i / number) for i in range(number + 1)]
    more = [nearest_size(study, n, vocab_size, counting) for n in between]
    return list(dict.fromkeys([*members, *more]))
