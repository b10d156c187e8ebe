"""Runs that are asked for more than once are one run; what that means for variants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scaling.plan.plan import PlannedRun
from scaling.spec.source import Finding

ROLES = ("fit", "tuning", "noise", "trunk", "holdout")  # a run asked for in two roles has the first


@dataclass(frozen=True)
class Merged:
    """Each run once, under a label of its own; what is wrong with them, and what a reader should know."""

    runs: tuple[PlannedRun, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def merge(runs: Sequence[PlannedRun]) -> Merged:
    """Merge runs of the same id: the role is the first of :data:`ROLES` that is asked for, then the variant
    is that of the first."""
    best, findings = dict[str, PlannedRun](), list[Finding]()
    for run in runs:
        other = best.setdefault(run.run_id, run)
        if "holdout" in (run.role, other.role) and run.role != other.role:
            message = f"held-out run {run.label} is inside the fitted set: it is the same as {other.label}"
            findings.append(Finding(("holdout",), message, "hold out a run that is not trained before"))
        elif ROLES.index(run.role) < ROLES.index(other.role):
            best[run.run_id] = run
    of_variant = dict[str, set[str]]()
    for run in runs:
        if run.variant is not None:
            of_variant.setdefault(run.variant, set()).add(run.run_id)
    findings += _same_variants(of_variant)
    notes = [*_once(runs), *_shared(of_variant)]
    return Merged(tuple(_labelled(list(best.values()))), tuple(findings), tuple(notes))


def _once(runs: Sequence[PlannedRun]) -> Iterator[str]:
    """Say how many runs of one variant are asked for again by its axes."""
    again = len(runs) - len({(run.variant, run.run_id) for run in runs})
    if again:
        yield f"{again} of {len(runs)} runs asked for are the same as others: each is trained once"


def _same_variants(of_variant: dict[str, set[str]]) -> Iterator[Finding]:
    names = list(of_variant)
    for i, name in enumerate(names):
        same = next((other for other in names[:i] if of_variant[other] == of_variant[name]), None)
        if same is not None:
            message = f"differs in nothing from {same}: all {len(of_variant[name])} runs are the same"
            yield Finding(("variants", name), message, "change something in one of them, or remove it")


def _shared(of_variant: dict[str, set[str]]) -> Iterator[str]:
    """Say which variants have runs in common, which stand under the first of them."""
    seen = dict[str, str]()
    for name, ids in of_variant.items():
        for owner, number in Counter(seen[run_id] for run_id in ids if run_id in seen).items():
            yield f"{number} of {len(ids)} runs of variant {name} are those of {owner} too, and stand there"
        seen |= {run_id: name for run_id in ids if run_id not in seen}


def _labelled(runs: list[PlannedRun]) -> Iterator[PlannedRun]:
    """Number labels that two runs would share."""
    seen = Counter[str]()
    for run in runs:
        seen[run.label] += 1
        number = seen[run.label]
        yield run if number == 1 else run.model_copy(update={"label": f"{run.label}.{number}"})
