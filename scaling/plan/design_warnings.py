"""What may spoil a study by how its runs lie to one another.

To add a danger: a function here, and its place in :data:`OF_DESIGNS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from scaling.errors import plural
from scaling.plan.danger import Check, PlanWarning, ids_of, warmup_share
from scaling.plan.leverage import Place, hinges
from scaling.plan.plan import Plan, PlannedRun

FARTHEST = 10.0  # times the largest fitted compute
SAME = 1.5  # ratio up to which two warmups are alike
NOTHING_LEFT = 100.0  # times a standard error, beyond which nothing is known
ALIKE = 0.002  # relative: token counts that are one
FEWEST_RUNS, FEWEST_LEVELS = 6, 3  # that Chinchilla's law takes: runs; sizes, and token counts


def design_warnings(plan: Plan) -> tuple[PlanWarning, ...]:
    """Return what may spoil a study by how its runs lie to one another."""
    return tuple(warning for check in OF_DESIGNS for warning in check(plan))


def _too_few(plan: Plan) -> Iterator[PlanWarning]:
    """Find variants whose runs Chinchilla's law, which has five parameters, cannot be fitted to, unless they
    are there for another question and nothing is held out."""
    if compares_recipes(plan):
        return
    variants, fitted = dict[tuple[int, int, int], list[str]](), plan.with_roles(("fit",))
    for variant in dict.fromkeys(run.variant for run in fitted):
        runs = [run for run in fitted if run.variant == variant]
        found = len(runs), len({run.params for run in runs}), _distinct(run.run.tokens for run in runs)
        if found[0] < FEWEST_RUNS or min(found[1:]) < FEWEST_LEVELS:
            variants.setdefault(found, []).append(variant or "")
    for (runs, sizes, horizons), names in variants.items():
        of = f"{', '.join(names)}: " if any(names) else ""
        message = (
            f"{of}{plural(runs, 'fitted run')} of {plural(sizes, 'size')} and "
            f"{plural(horizons, 'token count')} are too few for Chinchilla's law, which takes {FEWEST_RUNS} "
            f"runs, {FEWEST_LEVELS} sizes and {FEWEST_LEVELS} token counts: nothing could be forecast, and "
            "held-out runs would stay untrained"
        )
        yield PlanWarning("too_few", message, "add sizes or horizons")


def compares_recipes(plan: Plan) -> bool:
    """Whether fields on axes, or batches at the same N and D, are what a design varies, and nothing is held
    out."""
    if plan.with_roles(("holdout",)):
        return False
    cells = {(run.variant, run.params, run.run.tokens, run.run.batch_tokens) for run in plan.runs}
    return bool(plan.axes) or len(cells) > len({cell[:3] for cell in cells})


def _distinct(amounts: Iterable[float]) -> int:
    """How many amounts there are; those that differ by ``ALIKE`` are one, as fits count them."""
    number, least = 0, 0.0
    for amount in sorted(amounts):
        if amount > least * (1 + ALIKE):
            number, least = number + 1, amount
    return number


def _far_away(plan: Plan) -> Iterator[PlanWarning]:
    fitted, held_out = plan.with_roles(("fit",)), plan.with_roles(("holdout",))
    if not held_out:
        return
    largest, far = max(run.flops for run in fitted), max(held_out, key=lambda run: run.flops)
    ratio = far.flops / largest
    if ratio > FARTHEST:
        message = f"held-out {far.label} is {ratio:.3g} times the compute of the largest fitted run"
        hint = f"add fitted runs nearer to it: beyond {FARTHEST:.0f} times misfit outweighs noise"
        yield PlanWarning("extrapolation", message, hint, (far.run_id,))


def _inside(plan: Plan) -> Iterator[PlanWarning]:
    """Find held-out runs that lie within the fitted ones of their variant, by N, D and C."""
    fitted = dict[str | None, list[tuple[int, int, int]]]()
    for run in plan.with_roles(("fit",)):
        fitted.setdefault(run.variant, []).append(_place(run))
    ends = {name: [(min(x), max(x)) for x in zip(*of, strict=True)] for name, of in fitted.items()}
    inside = [
        run
        for run in plan.with_roles(("holdout",))
        if run.variant in ends
        and all(low <= x <= high for x, (low, high) in zip(_place(run), ends[run.variant], strict=True))
    ]
    if inside:
        more = f" (and {len(inside) - 1:,} more)" if len(inside) > 1 else ""
        message = (
            f"held-out {inside[0].label}{more} is within N, D and C of the fitted runs: no test beyond them"
        )
        yield PlanWarning("holdout_inside", message, "hold out a larger or a longer run", ids_of(inside))


def _place(run: PlannedRun) -> tuple[int, int, int]:
    return run.params, run.run.tokens, run.flops


def _one_cell(plan: Plan) -> Iterator[PlanWarning]:
    fitted = plan.with_roles(("fit",))
    for variant in dict.fromkeys(run.variant for run in fitted):
        alike = dict[Place, list[PlannedRun]]()
        for run in fitted:
            if run.variant == variant:
                alike.setdefault((run.params, run.run.tokens), []).append(run)
        found = hinges({cell: len(runs) for cell, runs in alike.items()})
        if found is not None:
            runs = alike[found.cell]
            lost = f"the standard error of {found.exponent} would be {found.growth:.2g} times as large"
            if found.growth > NOTHING_LEFT:
                lost = f"{found.exponent} is not identified"
            message = f"the fit hinges on {runs[0].label}: without this cell of N and D {lost}"
            yield PlanWarning("one_cell", message, "add cells near it", ids_of(runs))


def _other_warmup(plan: Plan) -> Iterator[PlanWarning]:
    """Find held-out runs whose warmup is neither as long as that of the fitted run with the nearest horizon,
    nor as large a part of it."""
    fitted = [run for run in plan.with_roles(("fit",)) if not run.is_external]
    for run in plan.with_roles(("holdout",)) if fitted else ():
        steps, warmup = run.run.steps, run.built_in.schedule.warmup
        near = min(fitted, key=lambda other: abs(math.log(other.run.steps / steps)))
        longer = _ratio(warmup, near.built_in.schedule.warmup)
        if min(longer, _ratio(warmup / steps, warmup_share(near))) > SAME:
            message = (
                f"held-out {run.label} warms up for {warmup:,} of {steps:,} steps, {near.label} for "
                f"{near.built_in.schedule.warmup:,} of {near.run.steps:,}: not the recipe that is fitted"
            )
            hint = "give the warmup in steps or tokens: percent are of the shortest horizon of a trunk"
            yield PlanWarning("holdout_warmup", message, hint, (run.run_id,))
            return


def _ratio(a: float, b: float) -> float:
    """By what ratio one is larger; 1 where both are 0."""
    if a == b:
        return 1.0
    return math.inf if 0 in (a, b) else max(a / b, b / a)


OF_DESIGNS: tuple[Check, ...] = (_too_few, _far_away, _inside, _one_cell, _other_warmup)
