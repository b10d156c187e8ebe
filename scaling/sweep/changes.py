"""What a new plan changes in a folder that has runs already: extending is normal, other numbers are not."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.canonical import canonical_json
from scaling.errors import Complaint, UserError
from scaling.files import write_json, write_text
from scaling.plan.plan import Plan, PlannedRun, load_plan
from scaling.spec.text import parse
from scaling.store.folder import ResultsFolder
from scaling.sweep.differences import differences
from scaling.sweep.guard import drivers

SHOWN = 12


class PlanChanged(UserError):
    """Another launch works by another plan in the folder, or is about to."""


@dataclass
class PlanMark:
    """The plan that this driver wrote, to see when another launch writes another one."""

    results: ResultsFolder
    identity: tuple[Any, ...]
    seen: tuple[int, int] | None = None

    def changed(self) -> bool:
        """Tell whether the plan is another one; plan.json is read again only when it is another file."""
        try:
            stat = self.results.plan.stat()
            if self.seen == (stat.st_ino, stat.st_mtime_ns):
                return False
            changed = load_plan(self.results).identity != self.identity
        except (OSError, UserError):  # removed, or damaged: reported elsewhere
            return False
        self.seen = None if changed else (stat.st_ino, stat.st_mtime_ns)
        return changed


def write_plan(results: ResultsFolder, plan: dict[str, Any], spec: str) -> None:
    """Write plan.json and study.yaml; the caller has its turn in the folder."""
    write_text(results.spec, spec)
    write_json(results.plan, plan)


def require_compatible(
    results: ResultsFolder, new: Plan, spec: str, *, force: bool, reevaluate: bool
) -> None:
    """Refuse a plan that may not replace the one in the folder."""
    if not results.plan.exists():
        return
    old = load_plan(results)
    if (force or reevaluate) and drivers(results):
        problem = f"a driver is running in {str(results.path)!r}"
        raise UserError(
            Complaint(problem, hint="stop it first: --force and --reevaluate change what it trains")
        )
    if old.study != new.study:
        problem = f"{str(results.path)!r} holds study {old.study!r}, not {new.study!r}"
        raise UserError(Complaint(problem, hint="name another results folder"))
    before = ""
    with suppress(OSError, UnicodeDecodeError):
        before = results.spec.read_text(encoding="utf-8")
    try:
        require_same_recipe(results, old, new, before, spec)
    except UserError:
        if not force:
            raise
        set_forecasts_aside(results, "of-another-recipe")
    if reevaluate:
        require_final_checkpoints(results, evaluated_otherwise(results, new))
    else:
        require_same_evaluation(results, old, new)


def require_same_recipe(results: ResultsFolder, old: Plan, new: Plan, old_spec: str, new_spec: str) -> None:
    """Refuse a plan that gives other numbers to a begun run under the same name.

    Args:
        results: the results folder.
        old: the plan in it.
        new: the plan to replace it.
        old_spec: the text of the spec of ``old``.
        new_spec: the text of the spec of ``new``.

    Raises:
        UserError: there are such runs; the fields that differ are listed.
    """
    changed = renewed_runs(results, old, new)
    if not changed:
        return
    fields = spec_changes(old_spec, new_spec)
    if not fields:
        before, after = (json.loads(canonical_json(planned.run)) for planned in changed[0])
        fields = differences(before, after, f"{changed[0][1].label}: ")
        if all("data.fingerprint" in field for field in fields):
            fields = [f"the text, its split or its tokenizer: {field}" for field in fields]
    more = [f"and {len(fields) - SHOWN} more fields"] if len(fields) > SHOWN else []
    done = sum(results.run_state(run.run_id).finished for run, _ in changed)
    text = (
        f"the recipe of study {new.study!r} has changed: {len(changed)} of its begun runs ({done} done) "
        "would be trained again under the same names\n  " + "\n  ".join([*fields[:SHOWN], *more])
    )
    hint = "give the study a new name (study: ...), or restart them in this folder with --force"
    raise UserError(Complaint(text, hint=hint))


def renewed_runs(results: ResultsFolder, old: Plan, new: Plan) -> list[tuple[PlannedRun, PlannedRun]]:
    """Return the begun runs of a plan, each with that which a new plan trains under the same name instead."""
    names = {(run.label, run.role): run for run in new.runs}
    return [
        (run, names[run.label, run.role])
        for run in old.runs
        if run.run_id not in new.by_id
        and (run.label, run.role) in names
        and results.run_dir(run.run_id).exists()
    ]


def require_same_evaluation(results: ResultsFolder, old: Plan, new: Plan) -> None:
    """Refuse to mix losses on different evaluation sets in one table.

    Raises:
        UserError: finished runs were evaluated otherwise; says how many could be evaluated again.
    """
    others = evaluated_otherwise(results, new)
    if not others:
        return
    before, after = (
        {"tokens": plan.data.eval_tokens, "documents": plan.data.eval_documents} for plan in (old, new)
    )
    fields = differences(before, after, "evaluation.")
    kept = sum(final_checkpoint(results, run).is_dir() for run in others)
    what = "; ".join(fields) or f"it is now {new.data.eval_id}"
    hint = f"--reevaluate evaluates the kept final checkpoints again ({kept} of {len(others)} runs have one)"
    text = f"the evaluation has changed ({what}) and {len(others)} finished runs were evaluated otherwise"
    raise UserError(Complaint(text, "evaluation", f"{hint}; or change it back, or give the study a new name"))


def evaluated_otherwise(results: ResultsFolder, plan: Plan) -> list[PlannedRun]:
    """Return the planned runs whose record is of another evaluation than the plan's."""
    recorded, others = results.recorded(), []
    for run in plan.runs:
        record = results.run_state(run.run_id).record if run.run_id in recorded else None
        if record and not plan.evaluates(record):
            others.append(run)
    return others


def changes_losses(plan: Plan, results: ResultsFolder, runs: Sequence[PlannedRun]) -> bool:
    """Tell whether the plan's evaluation does more to these runs than to add sets to what was evaluated."""
    records = [(run, results.run_state(run.run_id).record) for run in runs]
    return any(record is not None and not plan.adds_to(run, record) for run, record in records)


def require_final_checkpoints(results: ResultsFolder, runs: list[PlannedRun]) -> None:
    """Raises UserError naming the runs that have no final checkpoint to evaluate."""
    without = [run.label for run in runs if not final_checkpoint(results, run).is_dir()]
    if without:
        names = ", ".join(without[:SHOWN]) + (" ..." if len(without) > SHOWN else "")
        text = f"{len(without)} of {len(runs)} runs have no final checkpoint to evaluate again: {names}"
        hint = (
            "they were trained without execution.keep_final: true, another share_trunk, or cleaned with --all"
        )
        raise UserError(
            Complaint(text, "--reevaluate", f"{hint}; use a new study name, or change the evaluation back")
        )


def final_checkpoint(results: ResultsFolder, run: PlannedRun) -> Path:
    return results.job_dir(run.job_id) / "checkpoints" / run.run_id / str(run.run.steps)


def set_forecasts_aside(results: ResultsFolder, name: str) -> None:
    """Keep forecasts of losses that will not be measured any more under ``forecasts-NAME``."""
    folder, number = results.path / "forecasts", 1
    if not folder.is_dir():
        return
    target = folder.with_name(f"forecasts-{name}")
    while target.exists():
        number += 1
        target = folder.with_name(f"forecasts-{name}-{number}")
    os.rename(folder, target)


def spec_changes(old: str, new: str) -> list[str]:
    """List ``field: old -> new`` for every field of two specs that differs, execution apart; empty where one
    of them is no spec (a study planned in Python)."""
    try:
        before, after = (parse(text, "study.yaml").value for text in (old, new))
    except UserError:
        return []
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return []
    return [text for text in differences(before, after) if not text.startswith("execution.")]
