"""What a new plan changes in a folder that has runs already: extending is normal, other numbers are not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scaling.errors import Complaint, UserError
from scaling.plan.plan import Plan, PlannedRun
from scaling.run import canonical_json
from scaling.spec.text import parse
from scaling.store.store import Store

SHOWN = 12
EVALUATION = ("eval_tokens",)  # fields of data that change how runs are evaluated, not how they are trained


def require_same_recipe(store: Store, old: Plan, new: Plan, old_spec: str, new_spec: str) -> None:
    """A run that the old plan named, and that was begun, must not go by the same name with other numbers.

    Raises:
        UserError: there are such runs; the fields that differ are listed.
    """
    begun = _begun(store)
    names = {(run.label, run.role): run for run in new.runs}
    changed = [
        (run, names[run.label, run.role])
        for run in old.runs
        if run.run_id in begun and run.run_id not in new.by_id and (run.label, run.role) in names
    ]
    if not changed:
        return
    fields = spec_changes(old_spec, new_spec) or _run_changes(*changed[0])
    more = [f"and {len(fields) - SHOWN} more fields"] if len(fields) > SHOWN else []
    done = sum(store.run_state(run.run_id).finished for run, _ in changed)
    text = (
        f"the recipe of study {new.study!r} has changed: {len(changed)} of its begun runs ({done} done) "
        "would be trained again under the same names\n  " + "\n  ".join([*fields[:SHOWN], *more])
    )
    hint = "give the study a new name (study: ...), or start them anew in this folder with --force"
    raise UserError(Complaint(text, hint=hint))


def require_same_evaluation(store: Store, old: Plan, new: Plan) -> None:
    """Losses on different evaluation sets must not share a table.

    Raises:
        UserError: finished runs were evaluated otherwise; says how many could be evaluated again.
    """
    others = evaluated_otherwise(store, new)
    if not others:
        return
    before, after = dict(old.data), dict(new.data)
    fields = [_change(f"data.{k}", before[k], after[k]) for k in EVALUATION if before[k] != after[k]]
    kept = sum(final_checkpoint(store, run).is_dir() for run in others)
    what = "; ".join(fields) or f"it is now {new.data.eval_id}"
    hint = f"--reevaluate evaluates the kept final checkpoints again ({kept} of {len(others)} runs have one)"
    text = f"the evaluation has changed ({what}) and {len(others)} finished runs were evaluated otherwise"
    raise UserError(Complaint(text, "data", f"{hint}; or change it back, or give the study a new name"))


def evaluated_otherwise(store: Store, plan: Plan) -> list[PlannedRun]:
    """Planned runs whose record is of another evaluation than the plan's."""
    recorded, others = store.recorded(), []
    for run in plan.runs:
        record = store.run_state(run.run_id).record if run.run_id in recorded else None
        if record and not plan.evaluates(record):
            others.append(run)
    return others


def require_final_checkpoints(store: Store, runs: list[PlannedRun]) -> None:
    """Raises UserError naming the runs that have no final checkpoint to evaluate."""
    without = [run.label for run in runs if not final_checkpoint(store, run).is_dir()]
    if without:
        names = ", ".join(without[:SHOWN]) + (" ..." if len(without) > SHOWN else "")
        text = f"{len(without)} of {len(runs)} runs have no final checkpoint to evaluate again: {names}"
        hint = "they were trained without execution.keep_final: true, or with another share_trunk"
        raise UserError(Complaint(text, "--reevaluate", f"{hint}; use a new study name, or change data back"))


def final_checkpoint(store: Store, run: PlannedRun) -> Path:
    return store.job_dir(run.job_id) / "checkpoints" / run.run_id / str(run.run.steps)


def set_forecasts_aside(store: Store, name: str) -> None:
    """Forecasts of losses that will not be measured any more; kept, under ``forecasts-NAME``."""
    folder, number = store.folder / "forecasts", 1
    if not folder.is_dir():
        return
    target = folder.with_name(f"forecasts-{name}")
    while target.exists():
        number += 1
        target = folder.with_name(f"forecasts-{name}-{number}")
    os.rename(folder, target)


def spec_changes(old: str, new: str) -> list[str]:
    """``field: old -> new`` for every field of two specs that differs, execution apart; empty where one of
    them is no spec (a study planned in Python)."""
    trees = []
    for text in (old, new):
        try:
            trees.append(parse(text, "study.yaml").value)
        except UserError:
            return []
    if not all(isinstance(tree, dict) for tree in trees):
        return []
    before, after = (dict(_fields(tree)) for tree in trees)
    names = [k for k in dict.fromkeys([*before, *after]) if not k.startswith("execution.")]
    return [_change(k, before.get(k), after.get(k)) for k in names if before.get(k) != after.get(k)]


def _run_changes(old: PlannedRun, new: PlannedRun) -> list[str]:
    before, after = (dict(_fields(json.loads(canonical_json(planned.run)))) for planned in (old, new))
    names = dict.fromkeys([*before, *after])
    return [
        _change(f"{new.label}: {k}", before.get(k), after.get(k))
        for k in names
        if before.get(k) != after.get(k)
    ]


def _fields(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of the leaves; a list of plain values is one leaf."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _fields(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list) and any(isinstance(item, Mapping) for item in tree):
        for place, value in enumerate(tree):
            yield from _fields(value, f"{path}[{place}]")
    else:
        yield path, tree


def _change(name: str, old: Any, new: Any) -> str:
    return f"{name}: {_show(old)} -> {_show(new)}"


def _show(value: Any) -> str:
    return "none" if value is None else str(value)


def _begun(store: Store) -> set[str]:
    try:
        return set(os.listdir(store.folder / "runs"))
    except OSError:
        return set()
