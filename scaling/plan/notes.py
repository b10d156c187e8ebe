"""What a reader of a plan should know although it is no error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from scaling.errors import plural
from scaling.plan.designs import Wanted
from scaling.plan.plan import PlannedJob
from scaling.plan.repetition import repetition_notes
from scaling.plan.scales import WORTH_SAYING
from scaling.plan.warnings import LEAST_STEPS
from scaling.recipe.written import rules_in, scales_of, target_of
from scaling.spec.designs.chosen import Adaptive, Optimal
from scaling.spec.models import Study
from scaling.spec.sections import Recipe


def notes(study: Study, wanted: Sequence[Wanted], jobs: tuple[PlannedJob, ...]) -> Iterator[str]:
    """Say what a reader of the plan should know although it is no error."""
    amounts = {w.path for w in wanted if w.role == "fit" and w.point.amount not in study.design.waiting}
    used = {w.path for w in wanted if w.role == "fit" and not w.left_out}
    if amounts - used:
        limits = "design.min_steps" + (" or outside the design's limits" if study.design.narrows else "")
        yield f"{len(amounts - used)} of {len(amounts)} horizons keep no run: all are below {limits}"
    yield from _short(study, wanted)
    yield from _moved_batches(wanted)
    yield from dict.fromkeys(_scaled_twice(wanted) if study.trainer is None else ())
    yield from _sizes(wanted)
    yield from repetition_notes([w for w in wanted if not w.left_out])
    yield from _started(wanted)
    branch = any(w.trunk for w in wanted)  # which is work that is shared
    alone = study.execution.share_trunk and not branch and all(len(job.run_ids) == 1 for job in jobs)
    if study.trainer is None and alone:
        yield f"nothing is shared: {_why_not_shared([w.setting.built_in for w in wanted])}"


def _short(study: Study, wanted: Sequence[Wanted]) -> Iterator[str]:
    """Say why cells were chosen that a plan warns of."""
    design = study.design
    chosen = [w for w in wanted if w.role == "fit" and w.path[:1] == ("design",)]
    short = [w for w in chosen if w.steps < LEAST_STEPS]
    if short and isinstance(design, Optimal | Adaptive) and design.min_steps is None:
        yield (
            f"runs of under {LEAST_STEPS} steps were chosen, as eight longer ones would cost too much of "
            f"design.budget = {design.budget:.3g}: raise it, or lower recipe.batch_tokens"
        )


def _started(wanted: Sequence[Wanted]) -> Iterator[str]:
    """Say what is not counted of runs that start from weights."""
    kept = [w for w in wanted if not w.left_out]
    trunks = [w.trunk for w in kept if w.trunk is not None]
    elsewhere = [w for w in kept if w.trunk is None and w.starts_from is not None]
    apart = "steps, D, D/N, epochs and FLOPs are those after that, here and in results"
    if trunks:
        tokens = sorted({trunk.tokens for trunk in trunks})
        amount = f"{tokens[0]:,}" + (f" to {tokens[-1]:,}" if len(tokens) > 1 else "")
        yield f"{len(trunks)} of {plural(len(kept), 'run')} branch from a trunk of {amount} tokens: {apart}"
    if elsewhere:
        yield (
            f"{len(elsewhere)} of {plural(len(kept), 'run')} start from weights that recipe.init_from names, "
            f"trained before: {apart}"
        )


def _moved_batches(wanted: Sequence[Wanted]) -> Iterator[str]:
    """Say where whole sequences are far from the batch that is asked for."""
    moved = [w for w in wanted if not w.left_out and w.batch.moved > WORTH_SAYING]
    if moved:
        worst = max(moved, key=lambda w: w.batch.moved)
        batch, limit = worst.batch, f"{WORTH_SAYING - 1:.0%}"
        yield (
            f"whole sequences of {worst.shape.context} tokens move the batch of {len(moved)} runs by more "
            f"than {limit}: {worst.label} has {batch.tokens} tokens where {batch.asked:.5g} were asked for"
        )


def _scaled_twice(wanted: Sequence[Wanted]) -> Iterator[str]:
    """Warn where a rule scales a learning rate that the parametrization scales too."""
    recipes = {id(w.setting.recipe): w.setting.built_in for w in wanted}.values()
    for recipe in recipes:
        for place, rule in rules_in(recipe):
            twice = target_of(place) == "learning_rate" and "width" in scales_of(place, rule)
            if twice and recipe.parametrization != "standard":
                yield (
                    f"recipe.{'.'.join(map(str, place))} follows the width by its rule, and in matrices by "
                    f"{recipe.parametrization.kind} besides"
                )


def _sizes(wanted: Sequence[Wanted]) -> Iterator[str]:
    """Say what a reader of the plan should know of the sizes of families."""
    runs = Counter[str]()
    for w in wanted:
        runs.update(w.setting.family.member(w.size).notes(w.shape.context))
    for text, number in runs.items():
        yield text if number == len(wanted) else f"{text} ({number} of {len(wanted)} runs)"


def _why_not_shared(recipes: Iterable[Recipe]) -> str:
    distinct = list({id(recipe): recipe for recipe in recipes}.values())
    if any(recipe.shares_trunk for recipe in distinct):
        return "no two runs differ only in horizon"
    fields = {place for recipe in distinct if recipe.schedule.shares_trunk for place in recipe.of_horizon}
    if fields:
        return f"the horizon decides {', '.join(sorted(fields))}"
    return f"a {distinct[0].schedule.kind} schedule depends on the horizon throughout"
