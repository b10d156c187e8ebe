"""A Study -> a Plan: fully resolved runs, no rules left. Everything wrong with a study is said at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path as FilePath

from scaling.canonical import short_hash
from scaling.data.index import DataIndex
from scaling.data.stores import Stores
from scaling.errors import UserError
from scaling.plan.cadence import finer_than_chunks
from scaling.plan.cells import Cells
from scaling.plan.check import (
    MOST_RUNS,
    broken_rules,
    held_out_inside,
    masks_of_no_documents,
    nothing_left,
    optimizers_of_nothing,
    repeated,
    schedule_too_long,
    too_many,
    too_small,
    unchosen,
    undivided,
)
from scaling.plan.data import SMALL, index_all, plan_data
from scaling.plan.describe import described
from scaling.plan.designs import Asked, Role, Wanted, asked_runs, wanted_runs
from scaling.plan.kept import read_spec
from scaling.plan.labels import axis_texts
from scaling.plan.merge import merge
from scaling.plan.notes import notes
from scaling.plan.plan import Excluded, Plan, make_jobs
from scaling.plan.replicates import replicates
from scaling.plan.resolve import Resolver
from scaling.plan.settings import Choice, Choices, settings_of
from scaling.plan.starts import Starts
from scaling.plan.tuned import settled
from scaling.recipe.tuned import Tuned, TunedLaw
from scaling.spec.checks import chosen_cells
from scaling.spec.models import Study
from scaling.spec.sections import Data
from scaling.spec.source import Finding, Path
from scaling.spec.variants import variation_findings
from scaling.store.records import JobCommand

# Where findings leave the lengths of the design's own runs as they are.
VARIATION: tuple[Path, ...] = (("axes",), ("variants",), ("added",), ("noise",), ("holdout",), ("execution",))
CELLS: dict[int | str, Role] = {"added": "fit", "noise": "noise", "holdout": "holdout"}  # beside the design
WITHOUT_LENGTHS: tuple[Path, ...] = (("recipe", "optimizer"), ("recipe", "schedule"), ("recipe", "init_from"))


def plan_spec(
    path: str | FilePath,
    overrides: Sequence[str] = (),
    stores: Stores = SMALL,
    profile: str | FilePath | None = None,
    say: Callable[[str], None] = lambda text: None,
    choose: Callable[[Study], Study] = lambda study: study,
) -> tuple[Study, Plan]:
    """Read, check and plan a spec file.

    Paths in it are relative to its folder; in a results folder, to that of the spec that was planned there.

    Args:
        path: of the spec.
        overrides: such as ``recipe.batch_tokens=512``.
        stores: finds or prepares the tokens.
        profile: a file whose fields are laid over its execution.
        say: is told of a command that is run to describe the sizes of a family.
        choose: fills in the cells of a design that leaves them open.

    Raises:
        UserError: every problem of the spec and of the plan.
    """
    checked = read_spec(path, overrides, profile)
    problems, plan = list(checked.problems), None
    study = checked.study if problems or checked.study is None else described(checked.study, say)
    if study is not None:
        try:
            study = choose(study)
        except UserError as error:
            problems += error.problems
        try:
            plan = plan_study(study, stores)
        except UserError as error:
            said = study.source.problems(unchosen(study)) if problems else []
            found = [problem for problem in error.problems if problem not in said]
            problems = [problem for problem in problems if problem not in found] + found
    if problems or study is None or plan is None:
        raise UserError(*(problems if study is None else study.source.in_order(problems)))
    return study, plan


def plan_study(study: Study, stores: Stores = SMALL) -> Plan:
    """Plan a study on data that are found, or prepared, as ``stores`` says.

    Raises:
        UserError: every problem of study and data.
    """
    (asked, findings), indexes = _ask(study), dict[int, DataIndex]()
    try:
        # nothing large is prepared for a study that will not run
        for choice, index in index_all(study, asked, SMALL if findings else stores):
            indexes[id(choice.data)] = index
    except UserError:
        if not findings:
            raise
        asked = []
    return _plan(study, asked, lambda data: indexes[id(data)], findings)


def resolve_all_data(study: Study, stores: Stores = SMALL) -> list[DataIndex]:
    """Index all data that axes and variants of a study ask for.

    Raises:
        UserError: every problem of study and data.
    """
    asked, findings = _ask(study)
    if findings:
        raise UserError(*study.source.problems(findings))
    return [index for _, index in index_all(study, asked, stores)]


def _ask(study: Study) -> tuple[list[Asked], list[Finding]]:
    """Return what a study asks for, and what is wrong with it: then, the part that is clear all the same."""
    findings, choices, asked = (
        study.findings() + variation_findings(dict(study)),
        Choices(study),
        list[Asked](),
    )
    if not findings:
        findings = too_many(choices)
        if findings:
            return asked, findings
        findings = unchosen(study)
        asked = asked_runs(study, choices)
    if findings or choices.findings:
        choices.read_files()
        findings = list(dict.fromkeys((*findings, *choices.findings)))
        asked = list(_clear_part(study, findings))
    return asked, findings


def _clear_part(study: Study, findings: Iterable[Finding]) -> Iterator[Asked]:
    """Yield the runs of the plain design, and of the cells beside it, where findings leave their lengths as
    they are."""
    recipe, _ = settled(study.recipe, study.source.folder)
    if isinstance(recipe.batch_tokens, Tuned) and not isinstance(recipe.batch_tokens, TunedLaw):
        return
    wrong = [f.path for f in findings if f.path[:1] not in VARIATION and f.path[:2] not in WITHOUT_LENGTHS]
    choice = Choice(None, study.data, study.family, recipe)
    if not wrong:
        for point in itertools.islice(study.design.points(study.family), MOST_RUNS):
            yield Asked("fit", choice, point, study.seeds[0], point.path)
    if all(path[:1] == ("design",) for path in wrong):
        for cell, path in chosen_cells(dict(study)):
            if not cell.values and not any(f.path[: len(path)] == path for f in findings):
                point = cell.point(study.family, path)
                yield Asked(CELLS[path[0]], choice, point, study.seeds[0], point.path)


def make_plan(study: Study, index: DataIndex | Callable[[Data], DataIndex]) -> Plan:
    """Expand ``study`` into runs and jobs, on the data of ``index``, or of that of each section ``data``. A
    pure function.

    Raises:
        UserError: every problem, with places in the spec where the study was loaded from one.
    """
    asked, findings = _ask(study)
    return _plan(study, asked, (lambda _: index) if isinstance(index, DataIndex) else index, findings)


def _plan(
    study: Study, asked: Sequence[Asked], index_of: Callable[[Data], DataIndex], known: Sequence[Finding]
) -> Plan:
    """Expand what is asked for.

    Args:
        study: asks for it.
        asked: what is clear of it, where something is wrong.
        index_of: gives the data.
        known: what is wrong.

    Raises:
        UserError: all that is wrong.
    """
    cells = Cells(study.design)
    wanted, broken = wanted_runs(study, asked, settings_of(index_of), cells)
    kept = [w for w in wanted if w.left_out is None]
    kept += replicates(study, kept)
    ours = kept if study.trainer is None else []  # of one's own less is known that can be wrong
    small, laid_out = too_small(wanted), finer_than_chunks(study, ours) + undivided(study.execution, ours)
    if known or small:
        raise UserError(*study.source.problems([*known, *broken, *small, *laid_out]))
    starts, share = Starts(study.source.folder), study.execution.share_trunk and study.trainer is None
    findings = broken + laid_out + repeated(kept) + held_out_inside(kept)
    findings += optimizers_of_nothing(ours) + masks_of_no_documents(ours) + starts.findings(ours)
    resolved = Resolver(share, cells, starts, study.trainer)
    findings += broken_rules(kept, resolved) or schedule_too_long(ours, resolved)
    if not broken and not any(w.role == "fit" for w in kept):
        findings.append(nothing_left(wanted))
    merged = merge([] if findings else [resolved.planned(w) for w in kept])
    findings += merged.findings
    if findings:
        raise UserError(*study.source.problems(findings))
    indexes = {id(w.setting.index): w.setting.index for w in kept}.values()
    data = tuple({of.key: of for of in (plan_data(index, study.evaluation) for index in indexes)}.values())
    jobs = make_jobs(merged.runs)
    return Plan(
        study=study.study,
        spec_sha=_spec_sha(study),
        data=data[0],
        other_data=data[1:],
        axes=tuple(axis_texts(study)),
        runs=merged.runs,
        jobs=jobs,
        excluded=_excluded(wanted, study.design.waiting),
        notes=(*notes(study, wanted, jobs), *cells.notes, *merged.notes),
        execution=study.execution,
        every=study.evaluation.every,
        averages=study.evaluation.averages,
        command=_command(study),
        folder=str(study.source.folder.absolute()),
        unfinished=study.design.unfinished,
        question=_question(study),
    )


def _excluded(wanted: Sequence[Wanted], waiting: Sequence[float]) -> tuple[Excluded, ...]:
    """Return the runs that are left out, but those of amounts that wait: a note says what these are."""
    return tuple(
        Excluded(label=w.label, reason=w.left_out)
        for w in wanted
        if w.left_out is not None and w.point.amount not in waiting
    )


def _spec_sha(study: Study) -> str:
    dump = study.model_dump(mode="json", exclude={"execution", "folder"})
    # specs of earlier versions did not have these
    if study.trainer is None:
        del dump["trainer"]
    if not study.added:
        del dump["added"]
    for name in ("window", "trunk_tokens"):
        if dump["design"].get(name) is None:
            dump["design"].pop(name, None)
    return short_hash({"kind": "study", **dump})


def _question(study: Study) -> str | None:
    """Return the hash of what a design that grows asks, whatever was decided; None: it does not grow."""
    design = study.design
    if not design.grows:
        return None
    return short_hash({"kind": "question", "design": design.undecided.model_dump(mode="json")})


def _command(study: Study) -> JobCommand | None:
    """Return how the study's own trainer is started, if it has one."""
    trainer = study.trainer
    if trainer is None:
        return None
    return JobCommand(
        argv=trainer.argv,
        directory=str(study.commands_folder),
        resume=trainer.resume,
        grace_seconds=trainer.grace_seconds,
    )
