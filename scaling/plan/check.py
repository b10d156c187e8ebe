"""What is wrong with the runs a study asks for: checks that need step counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from scaling.counts.lowering import MeshSizes, uncut
from scaling.counts.model import Model, counts_of
from scaling.plan.designs import Wanted
from scaling.plan.resolve import Resolver
from scaling.plan.settings import Choices
from scaling.recipe.optimizers import Muon
from scaling.spec.checks import chosen_cells
from scaling.spec.designs.cells import Added, Chosen, Noise, Replicates
from scaling.spec.execution import Execution
from scaling.spec.models import Study
from scaling.spec.source import Finding, Path

BATCH: Path = ("recipe", "batch_tokens")
MOST_RUNS = 1_000_000  # at 0.25 ms and 8 kB each: 200,000 took 50 CPU s and 1.6 GB


def unchosen(study: Study) -> list[Finding]:
    """Find a design whose cells nobody has chosen."""
    if not study.design.unchosen:
        return []
    return [Finding(("design",), "has no cells yet", "`scaling plan` and `scaling run` choose them")]


def too_many(choices: Choices) -> list[Finding]:
    """Refuse a study with too many runs, counted before anything is expanded."""
    study, count, more = choices.study, 0, ""
    for arm in choices.arms:
        of_arm = [cell for cell, _ in chosen_cells(dict(study)) if cell.variant in (None, arm.name)]
        count += study.noise.count if isinstance(study.noise, Replicates) else 0
        count += sum(_seeds(cell, study) for cell in of_arm)
        family = choices.sheet.changed(choices.sheet.base, arm.overrides)["family"]
        points = iter(study.design.points(family))
        alike = not any(placed.axis.at for placed in arm.axes)
        here = 0
        for point in itertools.islice(points, MOST_RUNS):
            here = here if alike and here else arm.count(point, family.keys) * len(study.seeds)
            count += here
        more = more or (" or more" if next(points, None) else "")
    if count <= MOST_RUNS and not more:
        return []
    message = f"asks for {count:,} runs{more}, at most {MOST_RUNS:,} are planned"
    place = ("axes",) if study.axes else ("variants",) if study.variants else ("design",)
    return [Finding(place, message, "split the study")]


def _seeds(cell: Chosen, study: Study) -> int:
    match cell:
        case Noise():
            return len(cell.seeds)
        case Added():
            return len(study.seeds if cell.seeds is None else cell.seeds)
        case _:
            return 1


def too_small(wanted: list[Wanted]) -> list[Finding]:
    """Find amounts that pay for no step: of any size where short runs are left out anyway, else of one."""
    groups = dict[tuple[str | int, ...], list[Wanted]]()
    for w in wanted:
        if w.outside is None:
            groups.setdefault(w.path, []).append(w)
    enough = {w.point.changes for w in wanted if w.steps}
    findings = dict[Path, Finding]()
    for path, group in groups.items():
        short = [w for w in group if w.steps < 1]
        if short and (len(short) == len(group) or group[0].min_steps == 1):
            others = {w.point.changes for w in group if w.steps}
            changed = [w for w in short if w.point.changes and (others or w.point.changes not in enough)]
            for finding in map(_ill_changed, changed) if changed else [_too_small(path, short[0])]:
                findings.setdefault(finding.path, finding)
    return list(findings.values())


def _too_small(path: Path, short: Wanted) -> Finding:
    message = f"too small for one step of {short.label}, which is {short.batch.tokens:,} tokens"
    return Finding(path, message, "raise it, lower recipe.batch_tokens, or use a smaller size")


def _ill_changed(short: Wanted) -> Finding:
    """Blame what the design changes from cell to cell, where a run has no step by it."""
    change, hint = short.point.changes[-1], "raise it, or lower recipe.batch_tokens"
    if change.field == BATCH:
        hint = "lower it, or raise the horizons"
    message = f"{short.label} has less than one step, which is {short.batch.tokens:,} tokens"
    return Finding(change.place, message, hint)


def repeated(kept: list[Wanted]) -> list[Finding]:
    """Find runs that are asked for twice. A tuning run may be one of the design: it is compared with it."""
    first, findings = dict[tuple[Any, ...], Wanted](), list[Finding]()
    for w in kept:
        key = (w.setting.variant, *w.setting.same, w.shape, w.steps, w.batch.tokens, w.seed, w.order)
        same = first.setdefault(key, w)
        if same is w or "tuning" in (w.role, same.role):
            continue
        if "holdout" in (w.role, same.role) and w.role != same.role:
            continue  # a fitted run held out has its own message
        hint = "seeds of noise must differ from the study's" if w.role == "noise" else "remove one of them"
        findings.append(
            Finding(w.path, f"duplicate run: {w.label} is the same as {same.label} ({same.role})", hint)
        )
    return findings


def _trained(w: Wanted) -> tuple[Any, ...]:
    return (*w.setting.same, w.shape, w.steps, w.batch.tokens)


def held_out_inside(kept: list[Wanted]) -> list[Finding]:
    """Find held-out cells that are also trained before the forecast, with whatever seed."""
    seen = {_trained(w): w for w in kept if w.role != "holdout"}
    findings = list[Finding]()
    for w in kept:
        inside = seen.get(_trained(w)) if w.role == "holdout" else None
        if inside is not None:
            message = f"held-out run {w.label} is inside the fitted set: {inside.label} ({inside.role})"
            findings.append(
                Finding(w.path, message, "hold out a size or a budget that is not trained before")
            )
    return findings


def broken_rules(kept: list[Wanted], resolved: Resolver) -> list[Finding]:
    """Find rules that give numbers their fields cannot have: one finding for each rule of each recipe."""
    broken = dict[tuple[int | str, ...], list[tuple[Wanted, Finding]]]()
    for w in kept:
        for finding in resolved.broken(w):
            broken.setdefault((id(w.setting.recipe), *finding.path), []).append((w, finding))
    findings = list[Finding]()
    for cases in broken.values():
        w, finding = cases[0]
        others = len({other.label for other, _ in cases}) - 1
        more = f" (and {others} more runs)" if others else ""
        findings.append(w.setting.choice.located(replace(finding, message=finding.message + more)))
    return findings


def optimizers_of_nothing(kept: list[Wanted]) -> list[Finding]:
    """Find optimizers made for parameters that a run does not have, once for each recipe."""
    findings = dict[tuple[int, Path], Finding]()
    for w in kept:
        optimizer, place = w.setting.built_in.optimizer, ("recipe", "optimizer")
        rates, wrong = optimizer.learning_rates, list[Finding]()
        if rates is not None and rates.head is not None and counts_of(w.shape).head == 0:
            message = f"{w.label} has no head of its own: it is tied to the embedding"
            wrong.append(Finding((*place, "learning_rates", "head"), message, "leave it out"))
        if isinstance(optimizer, Muon) and w.transformer.width == 1:
            message = f"muon needs matrices, and those of {w.label} have one row or one column"
            wrong.append(Finding((*place, "kind"), message, "take adamw, or a width above 1"))
        for finding in wrong:
            findings.setdefault((id(w.setting.recipe), finding.path), w.setting.choice.located(finding))
    return list(findings.values())


def masks_of_no_documents(kept: list[Wanted]) -> list[Finding]:
    """Find masks of documents where tokens do not say where one begins, once for each family."""
    findings = dict[tuple[int, Path], Finding]()
    for w in kept:
        tokenizer = w.setting.index.tokenizer
        for path, architecture in w.setting.family.architectures():
            if architecture.document_mask and tokenizer.separator is None:
                message = f"cannot tell documents apart: the tokens of {tokenizer.name} have no separator"
                hint = "leave it out, or take a tokenizer with a separator"
                finding = w.setting.choice.located(Finding((*path, "document_mask"), message, hint))
                findings.setdefault((id(w.setting.family), path), finding)
    return list(findings.values())


def schedule_too_long(kept: list[Wanted], resolved: Resolver) -> list[Finding]:
    """Find schedules that do not fit into a run, once for each recipe: in the run where most is missing."""
    groups = dict[int, list[tuple[Wanted, int]]]()
    for w in kept:
        steps = resolved.schedule(w).steps_needed()
        if steps > w.steps:
            groups.setdefault(id(w.setting.recipe), []).append((w, steps))
    return [_too_long(short) for short in groups.values()]


def _too_long(short: list[tuple[Wanted, int]]) -> Finding:
    w, steps = max(short, key=lambda item: item[1] - item[0].steps)
    parts = list(w.setting.built_in.schedule.lengths)
    what = f"{' and '.join(parts)} {'take' if len(parts) > 1 else 'takes'}"
    more = f" (and {len(short) - 1} more runs)" if len(short) > 1 else ""
    message = f"{what} {steps} steps, but {w.label} has {w.steps}{more}"
    hint = "shorten them, or leave short runs out with design.min_steps"
    return w.setting.choice.located(Finding(("recipe", "schedule"), message, hint))


def undivided(execution: Execution, kept: list[Wanted]) -> list[Finding]:
    """Find what the mesh or the micro-batch of a spec does not divide, each once: in the first run of it."""
    mesh = execution.mesh.sizes if execution.mesh else MeshSizes()
    findings, seen = dict[tuple[Path, str], Finding](), set[tuple[Model, int]]()
    for w in kept:
        sequences = w.batch.tokens // w.shape.context
        if (w.shape, sequences) in seen:
            continue
        seen.add((w.shape, sequences))
        for axis, what, size in uncut(w.transformer, mesh):
            parts, place = getattr(mesh, axis), ("execution", "mesh", axis)
            message = f"{parts} devices cannot share {size:,} {what} equally, of {w.label}"
            finding = Finding(place, message, f"use {_near_divisors(size, parts)}")
            findings.setdefault((place, what), finding)
        for finding in _pieces(execution, mesh.batch_parts, sequences, w):
            findings.setdefault((finding.path, ""), finding)
    return list(findings.values())


def _pieces(execution: Execution, parts: int, batch: int, w: Wanted) -> Iterator[Finding]:
    """Find a batch of sequences, or a micro-batch of it, that is not cut into equal parts, or not at all."""
    micro, place = execution.micro_batch, ("execution", "micro_batch")
    piece = batch if micro == "auto" else min(micro, batch)
    shared = f"data x fsdp = {parts} devices cannot share"
    if batch % parts:
        message = f"{shared} {batch} sequences equally, of {w.label}"
        hint = f"use {_near_divisors(batch, parts)} devices, or another batch"
        yield Finding(("execution", "mesh"), message, hint)
    if batch % piece:
        message = f"{piece} sequences do not divide the batch of {batch} of {w.label}"
        yield Finding(place, message, f"use {_near_divisors(batch, piece)}")
    elif piece % parts and not batch % parts:
        message = f"{shared} {piece} of {batch} sequences at a time equally, of {w.label}"
        fitting = [n for n in range(parts, batch + 1, parts) if batch % n == 0]
        near = [max((n for n in fitting if n < piece), default=0), min(n for n in fitting if n > piece)]
        yield Finding(place, message, f"use {' or '.join(str(n) for n in near if n)}, or other devices")
    elif piece < batch and w.transformer.experts:
        message = f"{w.label} has experts, whose balance is that of its whole batch of {batch}"
        yield Finding(place, message, "leave it out; use a smaller batch, more devices or remat: full")


def _near_divisors(whole: int, part: int) -> str:
    """Name the divisors of ``whole`` on both sides of ``part``, which is none."""
    divisors = [n for n in range(1, min(whole, 2 * part) + 1) if whole % n == 0] + [whole]
    near = [max(n for n in divisors if n < part), min((n for n in divisors if n > part), default=0)]
    return " or ".join(str(n) for n in near if n)


def nothing_left(wanted: list[Wanted]) -> Finding:
    fitted = [w for w in wanted if w.role == "fit"]
    inside = [w for w in fitted if w.outside is None]
    if fitted and not inside:
        first = fitted[0]
        message = f"leaves every run out: {first.label}: {first.outside}"
        return Finding(("design",), message, "change its limits, or the sizes of the family", by_lack=True)
    longest = max((w.steps for w in inside), default=0)
    if longest == 0:
        return Finding(
            ("family",),
            "no size is in the design",
            "leave in_design: false away from at least one",
            by_lack=True,
        )
    message = f"every run has fewer than min_steps steps (the longest has {longest}): nothing is left to fit"
    return Finding(("design", "min_steps"), message, "lower it or raise the horizons", by_lack=True)
