"""A Study -> a Plan: fully resolved runs, no rules left. Everything wrong with a study is said at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path as FilePath

from scaling.corpora.evaluation import Evaluation
from scaling.data.index import DataIndex
from scaling.data.resolve import Wish, resolve
from scaling.data.stores import Stores
from scaling.errors import Complaint, UserError
from scaling.plan.check import held_out_inside, nothing_left, repeated, schedule_too_long, too_many, too_small
from scaling.plan.designs import Wanted, wanted_runs
from scaling.plan.plan import Excluded, Plan, PlannedJob, PlannedRun, make_jobs
from scaling.plan.resolve import Resolver, shortest_horizons
from scaling.plan.settings import Setting
from scaling.plan.starts import Starts
from scaling.run import short_hash
from scaling.spec.load import read_study
from scaling.spec.models import Study
from scaling.spec.source import Finding
from scaling.store.records import PlanData

SMALL = Stores(most_bytes=256e6)  # what a plan prepares without being asked: some seconds


def plan_spec(
    path: str | FilePath, overrides: Sequence[str] = (), stores: Stores = SMALL
) -> tuple[Study, Plan]:
    """Read, check and plan a spec file.

    Args:
        path: of the spec.
        overrides: such as ``recipe.batch_tokens=512``.
        stores: finds or prepares the tokens.

    Raises:
        UserError: every problem of the spec and of the plan.
    """
    checked = read_study(path, overrides)
    problems, plan = list(checked.problems), None
    if checked.study is not None:
        try:
            plan = plan_study(checked.study, stores)
        except UserError as error:
            problems += [p for p in error.problems if p not in problems]
    if problems or checked.study is None or plan is None:
        raise UserError(*problems)
    return checked.study, plan


def plan_study(study: Study, stores: Stores = SMALL) -> Plan:
    """Plan a study on data that are found, or prepared, as ``stores`` says.

    Raises:
        UserError: every problem of study and data.
    """
    return make_plan(study, resolve_data(study, stores))


def resolve_data(study: Study, stores: Stores = SMALL) -> DataIndex:
    """Index the study's data; problems are given the place in the spec.

    Args:
        study: names corpus, tokenizer and evaluation.
        stores: finds what is prepared, and prepares the rest; left out: where that takes seconds.

    Raises:
        UserError: data that cannot be read, are not prepared yet, or cannot serve this evaluation.
    """
    try:
        return resolve(wish_of(study), study.data.context, stores)
    except UserError as error:
        raise UserError(*(_located(study, problem) for problem in error.problems)) from None


def wish_of(study: Study) -> Wish:
    """Return what a study says of its data."""
    data, folder = study.data, study.source.folder
    return Wish(data.corpus, data.tokenizer, study.evaluation, data.separator, data.unique_tokens, folder)


def _located(study: Study, problem: Complaint) -> Complaint:
    """Give a problem of a field such as ``data.corpus.files`` its line in the spec."""
    section, _, field = problem.where.partition(".")
    if section not in ("data", "evaluation"):
        return problem
    return study.source.problem(Finding((section, *field.split(".")), problem.message, problem.hint))


def make_plan(study: Study, index: DataIndex) -> Plan:
    """Expand ``study`` on the data of ``index`` into runs and jobs. A pure function.

    Raises:
        UserError: every problem, with places in the spec where the study was loaded from one.
    """
    findings = study.findings() + too_many(study)
    if findings:
        raise UserError(*study.source.problems(findings))
    setting = Setting(study.data, index, study.family, study.recipe)
    wanted = wanted_runs(study, setting)
    findings = too_small(wanted)
    if findings:
        raise UserError(*study.source.problems(findings))
    kept = [w for w in wanted if w.steps >= w.min_steps]
    starts = Starts(study.source.folder)
    findings = repeated(kept) + held_out_inside(kept) + starts.findings(kept)
    resolved = Resolver(study.execution.share_trunk, shortest_horizons(kept), starts)
    findings += schedule_too_long(study, kept, resolved)
    if not any(w.role == "fit" for w in kept):
        findings.append(nothing_left(wanted))
    runs = list[PlannedRun]()
    for w in kept:
        try:
            optimizer = resolved.optimizer(w)
        except ValueError:
            message = f"the rule gives no learning rate between 1e-12 and 1e6 for {w.label}"
            findings.append(Finding(("recipe", "optimizer", "learning_rate"), message, "check its exponent"))
            break
        if not findings:
            runs.append(resolved.planned(w, optimizer))
    if findings:
        raise UserError(*study.source.problems(findings))
    jobs = make_jobs(runs)
    return Plan(
        study=study.study,
        spec_sha=short_hash({"kind": "study", **study.model_dump(mode="json", exclude={"execution"})}),
        data=plan_data(index, study.evaluation),
        runs=tuple(runs),
        jobs=jobs,
        excluded=tuple(_excluded(w) for w in wanted if w.steps < w.min_steps),
        notes=tuple(_notes(study, wanted, jobs)),
        execution=study.execution,
    )


def plan_data(index: DataIndex, evaluation: Evaluation) -> PlanData:
    """Return what a plan and its jobs keep of the data."""
    return PlanData(
        corpus=index.corpus,
        tokenizer=index.tokenizer.name,
        context=index.context,
        eval_documents=evaluation.documents,
        eval_tokens=evaluation.tokens,
        fingerprint=index.fingerprint,
        eval_id=index.eval_id,
        content=index.content,
    )


def _excluded(w: Wanted) -> Excluded:
    return Excluded(label=w.label, reason=f"{w.steps} steps, fewer than min_steps = {w.min_steps}")


def _too_few(wanted: list[Wanted]) -> Iterable[str]:
    """Warn where Chinchilla's law, which has five parameters, cannot be fitted to the runs."""
    kept = [w for w in wanted if w.role == "fit" and w.steps >= w.min_steps]
    sizes, horizons = {w.shape for w in kept}, {w.steps for w in kept}
    if len(kept) < 6 or len(sizes) < 3 or len(horizons) < 3:
        yield (
            f"{len(kept)} fitted runs of {len(sizes)} sizes and {len(horizons)} horizons cannot fit "
            "Chinchilla's law (it takes 6, 3 and 3): nothing could be forecast, and held-out runs would stay "
            "untrained"
        )


def _notes(study: Study, wanted: list[Wanted], jobs: tuple[PlannedJob, ...]) -> Iterable[str]:
    """Say what a reader of the plan should know although it is no error."""
    amounts = {w.path for w in wanted if w.role == "fit"}
    used = {w.path for w in wanted if w.role == "fit" and w.steps >= w.min_steps}
    if amounts - used:
        yield f"{len(amounts - used)} of {len(amounts)} horizons keep no run: all are below design.min_steps"
    yield from _too_few(wanted)
    if not study.execution.share_trunk or any(len(job.run_ids) > 1 for job in jobs):
        return
    recipe = study.recipe
    if not recipe.schedule.shares_trunk:
        yield f"nothing is shared: a {recipe.schedule.kind} schedule depends on the horizon throughout"
    elif not recipe.shares_trunk:
        yield "nothing is shared: the learning rate depends on the horizon"
    else:
        yield "nothing is shared: no two runs differ only in horizon"
