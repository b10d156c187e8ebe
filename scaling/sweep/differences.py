"""Where two trees of plain values differ, and where two plans of a study do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scaling.canonical import canonical_json
from scaling.plan.plan import Plan, PlannedRun, load_plan
from scaling.store.folder import ResultsFolder


@dataclass(frozen=True)
class ChangedRun:
    """A run that has another content under the same label and role: ``fields`` by name, as they were and as
    they will be; ``was`` is the state of the old one."""

    label: str
    role: str
    was: str
    fields: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class PlanDifference:
    """A plan beside the one in a results folder, by labels of runs.

    Attributes:
        new: runs that the folder does not know.
        done: runs with a record, ``evaluated_otherwise`` those of them on another evaluation set.
        left: runs that the folder knows and that are not done.
        changed: runs that would be trained anew under the same label.
        gone: runs of the folder that are not planned any more, and their state.
        to_train: ids of all planned runs that are not done.
    """

    new: tuple[str, ...]
    done: tuple[str, ...]
    evaluated_otherwise: tuple[str, ...]
    left: tuple[str, ...]
    changed: tuple[ChangedRun, ...]
    gone: tuple[tuple[str, str], ...]
    to_train: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def plan_difference(results: ResultsFolder, plan: Plan) -> PlanDifference:
    """Compare a plan with what a results folder has.

    Raises:
        UserError: the folder's plan cannot be read.
    """
    before = load_plan(results) if results.plan.exists() else None
    old = {} if before is None else {(run.label, run.role): run for run in before.runs}
    known = set() if before is None else before.by_id.keys()
    recorded = results.recorded()
    changed = list[ChangedRun]()
    groups: dict[str, list[str]] = {"new": [], "done": [], "evaluated_otherwise": [], "left": []}
    for run in plan.runs:
        other = old.get((run.label, run.role))
        if run.run_id in recorded:
            groups["done"].append(run.label)
            record = results.run_state(run.run_id).record
            if record is not None and not plan.evaluates(record):
                groups["evaluated_otherwise"].append(run.label)
        elif run.run_id in known:
            groups["left"].append(run.label)
        elif other is not None and other.run_id not in plan.by_id:
            changed.append(_changed(results, other, run))
        else:
            groups["new"].append(run.label)
    names = {(one.label, one.role) for one in changed}
    gone = (
        ()
        if before is None
        else (
            (run.label, results.run_state(run.run_id).state)
            for run in before.runs
            if run.run_id not in plan.by_id and (run.label, run.role) not in names
        )
    )
    listed = {name: tuple(labels) for name, labels in groups.items()}
    to_train = tuple(run.run_id for run in plan.runs if run.run_id not in recorded)
    return PlanDifference(changed=tuple(changed), gone=tuple(gone), to_train=to_train, **listed)


def _changed(results: ResultsFolder, old: PlannedRun, new: PlannedRun) -> ChangedRun:
    before, after = (json.loads(canonical_json(planned.run)) for planned in (old, new))
    state = results.run_state(old.run_id).state
    return ChangedRun(new.label, new.role, state, changed_fields(before, after))


def differences(before: Any, after: Any, prefix: str = "") -> list[str]:
    """List ``field: old -> new`` for every leaf of two trees of plain values that differs."""
    changes = changed_fields(before, after)
    return [f"{prefix}{name}: {_show(old)} -> {_show(new)}" for name, (old, new) in changes.items()]


def changed_fields(before: Any, after: Any) -> dict[str, tuple[Any, Any]]:
    """Return the values of every leaf that differs, by its dotted name; None: there is none."""
    old, new = dict(_fields(before)), dict(_fields(after))
    pairs = {name: (old.get(name), new.get(name)) for name in (*old, *new)}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def _fields(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names of the leaves; a list of plain values is one leaf."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _fields(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list) and any(isinstance(item, Mapping) for item in tree):
        for place, value in enumerate(tree):
            yield from _fields(value, f"{path}[{place}]")
    else:
        yield path, tree


def _show(value: Any) -> str:
    return "none" if value is None else str(value)
