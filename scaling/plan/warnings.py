"""What may spoil a study although its plan is valid: of each danger one warning, with what to do.

Those of single runs are here; to add one: a function here, and its place in :data:`OF_RUNS`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from scaling.plan.danger import Check, PlanWarning, ids_of, of_least_batch, warmup_share
from scaling.plan.design_warnings import design_warnings
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
# Standard deviation of the difference between two seeds, by documents of bytes: .56 to .83 in six cells of
# three sizes and two budgets like the quickstart's, 24 documents.
PAIRED_SD = 0.7  # nats, times the root of a token
GAIN = 0.05  # nats for each e-fold of compute: little (L goes as C^-.05, arXiv:2001.08361, at 1 nat)
ROUNDED = 1.05  # ratio of computes that differ by whole steps alone
RESOLVED = 3.0  # standard errors that a difference should have


def warms_long(warmup: int, steps: int) -> bool:
    """Whether so many steps of warmup are a large part of a run: its row has the flag ``long_warmup``."""
    return warmup > WARMUP_SHARE * steps


def has_long_warmup(run: PlannedRun) -> bool:
    """Whether the row of a run will have that flag, so that a fit leaves it out unless all rows have it."""
    return not run.is_external and warms_long(run.built_in.schedule.warmup, run.run.steps)


def plan_warnings(plan: Plan) -> tuple[PlanWarning, ...]:
    """Return what may spoil a study: its runs, and its design unless a part of that waits for results."""
    of_runs = tuple(warning for check in OF_RUNS for warning in check(plan))
    return of_runs if plan.unfinished else of_runs + design_warnings(plan)


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
        yield PlanWarning("repetition", message, hint, ids_of(repeated))


def _few_steps(plan: Plan) -> Iterator[PlanWarning]:
    short = [run for run in of_least_batch(_measured(plan)) if run.run.steps < LEAST_STEPS]
    if short:
        least = min(short, key=lambda run: run.run.steps)
        message = (
            f"{_of(short, plan)} under {LEAST_STEPS} steps, {least.label} {least.run.steps}: their loss is "
            "limited by optimisation more than by N and D"
        )
        yield PlanWarning("few_steps", message, "smaller batches, or longer horizons", ids_of(short))


def _long_warmup(plan: Plan) -> Iterator[PlanWarning]:
    long = [run for run in _measured(plan) if has_long_warmup(run)]
    if long:
        worst = max(long, key=warmup_share)
        message = (
            f"{_of(long, plan)} a warmup of more than {WARMUP_SHARE:.0%} of the steps, {worst.label} "
            f"{warmup_share(worst):.0%}: that raises the loss, and biases a law (arXiv:2406.19146)"
        )
        yield PlanWarning(
            "long_warmup",
            message,
            "a shorter warmup; fits leave them out, unless all runs have one",
            ids_of(long),
        )


def _large_batch(plan: Plan) -> Iterator[PlanWarning]:
    best = PowerLines.by_target["batch_tokens"]
    measured = of_least_batch(_measured(plan))
    over = {run.run_id: run.run.batch_tokens / best.at({"tokens": run.run.tokens}) for run in measured}
    large = [run for run in measured if over[run.run_id] > CRITICAL]
    if large:
        worst = max(large, key=lambda run: over[run.run_id])
        message = (
            f"{_of(large, plan)} a batch that is probably above the critical one, {worst.label} "
            f"{over[worst.run_id]:.2g} times the best one for its tokens (arXiv:2505.13738)"
        )
        yield PlanWarning("large_batch", message, "smaller batches, or longer horizons", ids_of(large))


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
        yield PlanWarning("embeddings", message, hint, ids_of(large))


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


def _measured(plan: Plan) -> tuple[PlannedRun, ...]:
    return plan.with_roles(("fit", "holdout"))


def _of(runs: Sequence[PlannedRun], plan: Plan) -> str:
    """Say how many runs have something."""
    return f"{_some(runs, plan)} {'has' if len(runs) == 1 else 'have'}"


def _some(runs: Sequence[PlannedRun], plan: Plan) -> str:
    return f"{len(runs):,} of {len(plan.runs):,} runs"


OF_RUNS: tuple[Check, ...] = (
    _repetition,
    _few_steps,
    _long_warmup,
    _large_batch,
    _embeddings,
    _coarse_evaluation,
)
