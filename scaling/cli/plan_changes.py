"""What ``scaling plan --diff`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from scaling.errors import plural
from scaling.plan.bill import Bill
from scaling.plan.plan import Plan
from scaling.spec.models import Study
from scaling.sweep.differences import ChangedRun, PlanDifference

NAMED = 8  # runs of a group that a line names


def difference_text(
    folder: str, found: PlanDifference, plan: Plan, bill: Bill, stage: str = "", asked: Sequence[str] = ()
) -> str:
    """Say which runs are new, done, changed and in which field, left and gone.

    Args:
        folder: that the plan was compared with.
        found: the comparison.
        plan: the plan.
        bill: what its runs take.
        stage: which part of its design it has; empty: all.
        asked: what is asked otherwise of a design that grows, of :func:`asked_otherwise`.
    """
    lines = [f"study {plan.study}, beside {folder}", *(f"  {text}" for text in asked)]
    lines += _group("new", found.new)
    lines += _group("done", found.done)
    lines += _group("done, on another evaluation set", found.evaluated_otherwise)
    lines += _group("not done yet", found.left)
    for fields, runs in _by_fields(found.changed):
        begun = Counter(run.was for run in runs)
        states = ", ".join(f"{number} {state}" for state, number in begun.items())
        lines += _group(
            f"changed in {', '.join(fields)}, would be trained anew (old: {states})", _labels(runs)
        )
        lines += [f"    {_example(runs, field)}" for field in fields]
    lines += _group("no longer planned", [f"{label} ({state})" for label, state in found.gone])
    return "\n".join([*lines, *_to_do(found, plan, bill), *filter(None, [stage])])


def asked_otherwise(study: Study, kept: Study | None) -> Iterator[str]:
    """Say what is asked of a design that grows and was not when the ``kept`` study was planned: what was
    decided by its runs stays decided."""
    if kept is None or not kept.design.grows or kept.design.kind != study.design.kind:
        return
    before, now = (one.design.undecided.model_dump(mode="json") for one in (kept, study))
    for name, value in now.items():
        if value != before.get(name):
            yield f"design.{name}: {_show(before.get(name))} -> {_show(value)}"
    if kept.seeds != study.seeds:
        were = ", ".join(map(str, kept.seeds))
        yield f"what is decided of the design was decided by runs of seed {were}, and is trained again"


def _group(title: str, labels: Sequence[str]) -> Iterator[str]:
    if labels:
        more = f" ... {len(labels) - NAMED} more" if len(labels) > NAMED else ""
        yield f"  {plural(len(labels), 'run')} {title}: {', '.join(labels[:NAMED])}{more}"


def _by_fields(changed: Sequence[ChangedRun]) -> list[tuple[tuple[str, ...], list[ChangedRun]]]:
    groups = dict[tuple[str, ...], list[ChangedRun]]()
    for run in changed:
        groups.setdefault(tuple(run.fields), []).append(run)
    return list(groups.items())


def _labels(runs: Sequence[ChangedRun]) -> list[str]:
    return [run.label for run in runs]


def _example(runs: Sequence[ChangedRun], field: str) -> str:
    """Say what a field becomes: in all runs, or in the first of them."""
    values = {tuple(map(_show, run.fields[field])) for run in runs}
    old, new = map(_show, runs[0].fields[field])
    where = "" if len(values) == 1 else f" ({runs[0].label}; {len(values)} different changes)"
    return f"{field}: {old} -> {new}{where}"


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def _to_do(found: PlanDifference, plan: Plan, bill: Bill) -> Iterator[str]:
    """Say what is left to be trained, and what that takes."""
    hours = bill.device_hours_left
    takes = "" if hours is None else f", about {hours:.3g} device-hours"
    price = bill.priced(hours)
    money = f", {price:,.4g} {bill.price.currency}" if bill.price and price is not None else ""
    more = "; and further ones, when results have decided which" if plan.unfinished else ""
    yield f"left to train: {plural(len(found.to_train), 'run')} of {len(plan.runs):,}{takes}{money}{more}"
