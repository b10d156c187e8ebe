"""What may spoil a study although its plan is valid: of each danger one warning, with what to do.

Every check takes a plan and yields at most a few warnings. To add one: a function here, and its place in
:data:`OF_RUNS` or :data:`OF_DESIGNS`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from scaling.errors import plural
from scaling.plan.leverage import Place, hinges
from scaling.plan.plan import Plan, PlannedRun
from scaling.plan.repetition import AS_NEW, WORTH, WORTHLESS, on_purpose, read_more, times_text
from scaling.recipe.published import PowerLines

# At 781 steps the best rate and batch cost 4 to 6 % of the loss, at 1,563 1 to 2 %, at equal N and D
# (results/reference/learning-rate).
LEAST_STEPS = 800
# A warmup that is a large part of short runs moved Kaplan's optimum (Porian et al., arXiv:2406.19146); the
# flag ``long_warmup`` of results has the same limit.
WARMUP_SHARE = 0.25
# Times the best batch for D (arXiv:2505.13738): a choice, as where critical batches begin depends on the
# overhead that one allows.
CRITICAL = 4.0
FARTHEST = 10.0  # times the largest fitted compute
SAME = 1.5  # ratio up to which two warmups are alike
# Standard deviation of the difference between two seeds, by documents of bytes: .56 to .83 in six cells of
# three sizes and two budgets like the quickstart's, 24 documents.
PAIRED_SD = 0.7  # nats, times the root of a token
GAIN = 0.05  # nats for each e-fold of compute: little (L goes as C^-.05, arXiv:2001.08361, at 1 nat)
ROUNDED = 1.05  # ratio of computes that differ by whole steps alone
NOTHING_LEFT = 100.0  # times a standard error, beyond which nothing is known
RESOLVED = 3.0  # standard errors that a difference should have
ALIKE = 0.002  # relative: token counts that are one
FEWEST_RUNS, FEWEST_LEVELS = 6, 3  # that Chinchilla's law takes: runs; sizes, and token counts


def warms_long(warmup: int, steps: int) -> bool:
    """Whether so many steps of warmup are a large part of a run: its row has the flag ``long_warmup``."""
    return warmup > WARMUP_SHARE * steps


def has_long_warmup(run: PlannedRun) -> bool:
    """Whether the row of a run will have that flag, so that a fit leaves it out unless all rows have it."""
    return not run.is_external and warms_long(run.built_in.schedule.warmup, run.run.steps)


@dataclass(frozen=True)
class PlanWarning:
    """A danger of some ``kind``, the runs that are in it, and what to do."""

    kind: str
    message: str
    hint: str
    runs: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.message}; {self.hint}"


def plan_warnings(plan: Plan) -> tuple[PlanWarning, ...]:
    """Return what may spoil a study: its runs, and its design unless a part of that waits for results."""
    of_runs = tuple(warning for check in OF_RUNS for warning in check(plan))
    return of_runs if plan.unfinished else of_runs + design_warnings(plan)


def design_warnings(plan: Plan) -> tuple[PlanWarning, ...]:
    """Return what may spoil a study by how its runs lie to one another."""
    return tuple(warning for check in OF_DESIGNS for warning in check(plan))


def _too_few(plan: Plan) -> Iterator[PlanWarning]:
    """Find variants whose runs Chinchilla's law, which has five parameters, cannot be fitted to, unless they
    are there for another question and nothing is held out."""
    if _compares_recipes(plan) and not plan.with_roles(("holdout",)):
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


def _compares_recipes(plan: Plan) -> bool:
    """Whether fields on axes, or batches at the same N and D, are what a design varies."""
    cells = {(run.variant, run.params, run.run.tokens, run.run.batch_tokens) for run in plan.runs}
    return bool(plan.axes) or len(cells) > len({cell[:3] for cell in cells})


def _distinct(amounts: Iterable[float]) -> int:
    """How many amounts there are; those that differ by ``ALIKE`` are one, as fits count them."""
    number, least = 0, 0.0
    for amount in sorted(amounts):
        if amount > least * (1 + ALIKE):
            number, least = number + 1, amount
    return number


def _repetition(plan: Plan) -> Iterator[PlanWarning]:
    """Find runs that come to repeat their text; of those held to a part of it a statement of what can be
    identified says by which law."""
    repeated = [run for run in plan.runs if run.epochs > AS_NEW and not on_purpose(run)]
    if repeated:
        worst = max(repeated, key=lambda run: run.epochs)
        message = (
            f"{read_more(len(repeated), len(plan.runs), AS_NEW)}, {worst.label} "
            f"{times_text(worst.epochs)} times: {WORTH}"
        )
        if worst.epochs > WORTHLESS:
            message += ", and beyond some 40 times next to nothing: the runs learn it by heart"
        hint = "a larger corpus or shorter horizons, or fit the law of repeated text, data-constrained"
        yield PlanWarning("repetition", message, hint, _ids(repeated))


def _few_steps(plan: Plan) -> Iterator[PlanWarning]:
    short = [run for run in _measured(plan) if run.run.steps < LEAST_STEPS]
    if short:
        least = min(short, key=lambda run: run.run.steps)
        message = (
            f"{_of(short, plan)} under {LEAST_STEPS} steps, {least.label} {least.run.steps}: their loss is "
            "limited by optimisation more than by N and D"
        )
        yield PlanWarning("few_steps", message, "smaller batches, or longer horizons", _ids(short))


def _long_warmup(plan: Plan) -> Iterator[PlanWarning]:
    long = [run for run in _measured(plan) if has_long_warmup(run)]
    if long:
        worst = max(long, key=_warmup_share)
        message = (
            f"{_of(long, plan)} a warmup of more than {WARMUP_SHARE:.0%} of the steps, {worst.label} "
            f"{_warmup_share(worst):.0%}: that raises the loss, and biases a law (arXiv:2406.19146)"
        )
        yield PlanWarning("long_warmup", message, "a shorter warmup, or leave them out", _ids(long))


def _warmup_share(run: PlannedRun) -> float:
    return run.built_in.schedule.warmup / run.run.steps


def _large_batch(plan: Plan) -> Iterator[PlanWarning]:
    best = PowerLines.by_target["batch_tokens"]
    over = {run.run_id: run.run.batch_tokens / best.at({"tokens": run.run.tokens}) for run in _measured(plan)}
    large = [run for run in _measured(plan) if over[run.run_id] > CRITICAL]
    if large:
        worst = max(large, key=lambda run: over[run.run_id])
        message = (
            f"{_of(large, plan)} a batch that is probably above the critical one, {worst.label} "
            f"{over[worst.run_id]:.2g} times the best one for its tokens (arXiv:2505.13738)"
        )
        yield PlanWarning("large_batch", message, "smaller batches, or longer horizons", _ids(large))


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
        yield PlanWarning("holdout_inside", message, "hold out a larger or a longer run", _ids(inside))


def _place(run: PlannedRun) -> tuple[int, int, int]:
    return run.params, run.run.tokens, run.flops


def _embeddings(plan: Plan) -> Iterator[PlanWarning]:
    known = [(run, run.params_body) for run in plan.with_roles(("fit",))]
    large = [run for run, body in known if body is not None and 2 * body < run.params]
    if large:
        worst = min(large, key=lambda run: (run.params_body or 0) / run.params)
        share = 1 - (worst.params_body or 0) / worst.params
        message = (
            f"embedding and head are more than half of N in {_some(large, plan)}, {share:.0%} in "
            f"{worst.label}: N total and N body tell different stories there"
        )
        hint = "larger sizes or a smaller vocabulary, and compare conventions in the fit"
        yield PlanWarning("embeddings", message, hint, _ids(large))


def _coarse_evaluation(plan: Plan) -> Iterator[PlanWarning]:
    """Compare the standard error of a difference between two runs with the gain from one budget or horizon of
    a size to the next."""
    for data in (plan.data, *plan.other_data):
        sizes = dict[int, set[int]]()
        for run in plan.with_roles(("fit",)):
            if plan.data_of(run) is data:
                sizes.setdefault(run.params, set()).add(run.flops)
        pairs = (pair for flops in sizes.values() for pair in itertools.pairwise(sorted(flops)))
        ratios = [b / a for a, b in pairs if b / a > ROUNDED]
        if not ratios or not data.eval_tokens:
            continue
        gain = GAIN * math.log(min(ratios))
        error = PAIRED_SD / math.sqrt(data.eval_tokens)
        if error * RESOLVED > gain:
            enough = math.ceil((RESOLVED * PAIRED_SD / gain) ** 2)
            message = (
                f"{data.eval_tokens:,} tokens of {data.eval_documents} documents are evaluated: differences "
                f"between runs are known to about {error:.2g} nats, and neighbouring runs of one size, "
                f"{min(ratios):.3g}x apart in compute, may differ by no more than {gain:.2g}"
            )
            yield PlanWarning("evaluation", message, f"evaluation.tokens: {enough:,} or more")


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
            yield PlanWarning("one_cell", message, "add cells near it", _ids(runs))


def _other_warmup(plan: Plan) -> Iterator[PlanWarning]:
    """Find held-out runs whose warmup is neither as long as that of the fitted run with the nearest horizon,
    nor as large a part of it."""
    fitted = [run for run in plan.with_roles(("fit",)) if not run.is_external]
    for run in plan.with_roles(("holdout",)) if fitted else ():
        steps, warmup = run.run.steps, run.built_in.schedule.warmup
        near = min(fitted, key=lambda other: abs(math.log(other.run.steps / steps)))
        longer = _ratio(warmup, near.built_in.schedule.warmup)
        if min(longer, _ratio(warmup / steps, _warmup_share(near))) > SAME:
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


def _measured(plan: Plan) -> tuple[PlannedRun, ...]:
    return plan.with_roles(("fit", "holdout"))


def _of(runs: Sequence[PlannedRun], plan: Plan) -> str:
    """Say how many runs have something."""
    return f"{_some(runs, plan)} {'has' if len(runs) == 1 else 'have'}"


def _some(runs: Sequence[PlannedRun], plan: Plan) -> str:
    return f"{len(runs):,} of {len(plan.runs):,} runs"


def _ids(runs: Sequence[PlannedRun]) -> tuple[str, ...]:
    return tuple(run.run_id for run in runs)


Check = Callable[[Plan], Iterator[PlanWarning]]
OF_RUNS: tuple[Check, ...] = (
    _repetition,
    _few_steps,
    _long_warmup,
    _large_batch,
    _embeddings,
    _coarse_evaluation,
)
OF_DESIGNS: tuple[Check, ...] = (_too_few, _far_away, _inside, _one_cell, _other_warmup)
