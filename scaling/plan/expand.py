"""A Study -> a Plan: fully resolved runs, no rules left. Everything wrong with a study is said at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path as FilePath

from scaling.canonical import short_hash
from scaling.data.index import DataIndex
from scaling.data.stores import Stores
from scaling.plan.attempts import made, made_of_study
from scaling.plan.cadence import finer_than_chunks
from scaling.plan.cells import Cells
from scaling.plan.check import (
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
from scaling.plan.designs import Asked, Wanted, asked_runs, wanted_runs
from scaling.plan.kept import read_spec
from scaling.plan.labels import axis_texts
from scaling.plan.merge import merge
from scaling.plan.notes import notes
from scaling.plan.plan import Excluded, Plan, make_jobs
from scaling.plan.replicates import replicates
from scaling.plan.resolve import Resolver
from scaling.plan.settings import Choices, settings_of
from scaling.plan.starts import Starts
from scaling.spec.draft import CELLS
from scaling.spec.load import Checked
from scaling.spec.models import Study
from scaling.spec.sections import Data
from scaling.spec.source import SpecError
from scaling.spec.variants import variation_findings
from scaling.store.records import JobCommand


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

    def attempt(checked: Checked) -> tuple[Study, Plan | None]:
        study = described(checked.left, say)
        study = choose(study) if checked.draft.designed else study
        return study, _planned(replace(checked, study=study), _indexes(stores))

    study, plan = made(read_spec(path, overrides, profile), attempt)
    assert plan is not None, "it is all that was written"
    return study, plan


def plan_study(study: Study, stores: Stores = SMALL) -> Plan:
    """Plan a study on data that are found, or prepared, as ``stores`` says.

    Raises:
        UserError: every problem of study and data.
    """
    return _whole(study, _indexes(stores))


def make_plan(study: Study, index: DataIndex | Callable[[Data], DataIndex]) -> Plan:
    """Expand ``study`` into runs and jobs, on the data of ``index``, or of that of each section ``data``. A
    pure function.

    Raises:
        UserError: every problem, with places in the spec where the study was loaded from one.
    """

    def index_of(data: Data) -> DataIndex:
        return index if isinstance(index, DataIndex) else index(data)

    def indexes(checked: Checked, asked: Sequence[Asked]) -> Callable[[Data], DataIndex]:
        return index_of

    return _whole(study, indexes)


def resolve_all_data(study: Study, stores: Stores = SMALL) -> list[DataIndex]:
    """Index all data that axes and variants of a study ask for.

    Raises:
        UserError: every problem of study and data.
    """

    def attempt(checked: Checked) -> list[DataIndex]:
        found = index_all(checked.left, _ask(checked), stores if checked.sound else SMALL)
        return [index for _, index in found]

    return made_of_study(study, attempt)


# Of what is checked and the runs that it asks for, the index of each section ``data``.
Indexes = Callable[[Checked, Sequence[Asked]], Callable[[Data], DataIndex]]


def _indexes(stores: Stores) -> Indexes:
    def indexes(checked: Checked, asked: Sequence[Asked]) -> Callable[[Data], DataIndex]:
        # nothing large is prepared for a study that will not run
        all_data = index_all(checked.left, asked, stores if checked.sound else SMALL)
        found = {id(choice.data): index for choice, index in all_data}
        return lambda data: found[id(data)]

    return indexes


def _whole(study: Study, indexes: Indexes) -> Plan:
    plan = made_of_study(study, lambda checked: _planned(checked, indexes))
    assert plan is not None, "it is all that was written"
    return plan


def _planned(checked: Checked, indexes: Indexes) -> Plan | None:
    """Plan what is left of a study; None where that is not all of it, and nothing else is wrong."""
    asked = _ask(checked)
    return _plan(checked, asked, indexes(checked, asked))


def _ask(checked: Checked) -> list[Asked]:
    """Return what a study asks for; where its design is not the one that was written, the cells beside it.

    Raises:
        SpecError: its sections are not right, or what axes and variants make of them.
    """
    study, designed = checked.left, checked.draft.designed
    choices = Choices(study)
    findings = study.findings() + variation_findings(dict(study))
    findings = findings or too_many(choices) or (unchosen(study) if designed else [])
    asked = [] if findings else asked_runs(study, choices)
    if choices.findings:
        choices.read_files()
    if findings or choices.findings:
        raise SpecError(study.source, [*dict.fromkeys((*findings, *choices.findings))])
    return asked if designed else [one for one in asked if one.path[0] in CELLS]


def _plan(checked: Checked, asked: Sequence[Asked], index_of: Callable[[Data], DataIndex]) -> Plan | None:
    """Expand what is asked for; None where the study is not all that was written.

    Raises:
        SpecError: all that is wrong.
    """
    study = checked.left
    cells = Cells(study.design)
    wanted, broken = wanted_runs(study, asked, settings_of(index_of), cells)
    kept = [w for w in wanted if w.left_out is None]
    kept += replicates(study, kept)
    ours = kept if study.trainer is None else []  # of one's own less is known that can be wrong
    small, laid_out = too_small(wanted), finer_than_chunks(study, ours) + undivided(study.execution, ours)
    if small:
        raise SpecError(study.source, [*broken, *small, *laid_out])
    starts, share = Starts(study.source.folder), study.execution.share_trunk and study.trainer is None
    findings = broken + laid_out + repeated(kept) + held_out_inside(kept)
    findings += optimizers_of_nothing(ours) + masks_of_no_documents(ours) + starts.findings(ours)
    resolved = Resolver(share, cells, starts, study.trainer)
    findings += broken_rules(kept, resolved) or schedule_too_long(ours, resolved)
    if checked.draft.designed and not broken and not any(w.role == "fit" for w in kept):
        findings.append(nothing_left(wanted))
    whole = checked.sound and not findings
    merged = merge([resolved.planned(w) for w in kept] if whole else [])
    findings += merged.findings
    if findings:
        raise SpecError(study.source, findings)
    if not whole:
        return None
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
    """Return the runs that are left out, the shortest first, but those of amounts that wait: a note says what
    these are."""
    return tuple(
        Excluded(label=w.label, reason=w.left_out)
        for w in sorted(wanted, key=lambda w: w.point.amount)
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
