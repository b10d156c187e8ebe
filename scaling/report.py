"""The report of a study: what its table says, with the spec, the plan and the provenance beside it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scaling.errors import UserError
from scaling.own_analysis import require_own_analysis
from scaling.plan.plan import Plan, PlannedRun, load_plan
from scaling.store.documents import read
from scaling.store.folder import ResultsFolder, RunState
from scaling.store.records import JobEnvironment

require_own_analysis()

from analysis.findings import Findings  # noqa: E402
from analysis.reporting import provenance  # noqa: E402
from analysis.reporting.page import FILE, Beside, Document, Missing, Waiting, write  # noqa: E402

LISTED = 40  # notes and excluded runs of a plan


def write_report(
    findings: Findings,
    sources: Sequence[Path],
    out: Path | None = None,
    *,
    title: str | None = None,
    referee: bool = True,
) -> Path:
    """Write one HTML file that needs no network, in place of what is there.

    Args:
        findings: what the table says.
        sources: the results folder, or the files of a table.
        out: where to; left out: ``report.html`` in the folder, or beside a file under its name.
        title: of the page; left out: the name of the study or file.
        referee: put the table and its law to the referee's tests too.

    Returns:
        Where the page is.
    """
    first = sources[0]
    path = out or (first / FILE if first.is_dir() else first.with_name(f"{first.stem}.{FILE}"))
    beside = of_folder(ResultsFolder(first)) if len(sources) == 1 and first.is_dir() else Beside()
    return write(findings, sources, path, title=title, referee=referee, beside=beside)


def study_report(findings: Findings, folder: Path, say: Callable[[str], None] = lambda text: None) -> Path:
    """Write the report of a results folder, unless the one that is there was drawn from the same; ``say`` is
    told before that takes time. Returns where it is."""
    path, mark = folder / FILE, _mark(findings, folder)
    if not path.is_file() or not path.read_bytes().rstrip().endswith(mark.encode()):
        say("writing the report: its referee's tests take some seconds")
        write_report(findings, [folder], path)
        with path.open("a", encoding="utf-8") as page:
            page.write(f"{mark}\n")
    return path


def _mark(findings: Findings, folder: Path) -> str:
    """Return a comment at the end of a page with a hash of all that the page is drawn from: files, what was
    found in them, what computed it."""
    beside = of_folder(ResultsFolder(folder))
    drawn_from = (findings.text, provenance.hashes([folder]), provenance.versions(), beside)
    return f"<!-- drawn from {hashlib.sha256(repr(drawn_from).encode()).hexdigest()} -->"


def of_folder(results: ResultsFolder) -> Beside:
    """The spec and the plan of a results folder, planned runs without a record, and what its jobs were
    trained with; what is not there or cannot be read is left out."""
    documents = []
    if results.spec.is_file():
        documents.append(Document("study.yaml", results.spec.read_text("utf-8", errors="replace"), True))
    plan = _plan(results)
    if plan is not None:
        documents.append(Document("Plan", "\n".join(_lines(plan)), True))
    missing = () if plan is None else tuple(_missing(results, plan))
    planned, waiting = (0, ()) if plan is None else (len(plan.runs), tuple(_waiting(results, plan)))
    return Beside(tuple(documents), tuple(_trained_with(results)), missing, planned, waiting)


def _waiting(results: ResultsFolder, plan: Plan) -> Iterator[Waiting]:
    """Runs held out without a record."""
    recorded = results.recorded()
    for run in plan.runs:
        if run.role == "holdout" and run.run_id not in recorded:
            yield Waiting(run.label, run.params, run.run.tokens)


def _missing(results: ResultsFolder, plan: Plan) -> Iterator[Missing]:
    """Planned runs without a record where some failed, and why; else none: a study at work has them too."""
    recorded = results.recorded()
    states = [(run, results.run_state(run.run_id)) for run in plan.runs if run.run_id not in recorded]
    if any(state.error for _, state in states):
        yield from (Missing(run.label, run.role, state.state, _why(run, state)) for run, state in states)


def _why(run: PlannedRun, state: RunState) -> str:
    if state.error is None:
        return "waits for the others" if run.role == "holdout" else "not done yet"
    at = "" if state.error.step is None else f" after step {state.error.step:,}"
    return f"{state.error.kind}{at}: {state.error.message}"


def _plan(results: ResultsFolder) -> Plan | None:
    if not results.plan.is_file():
        return None
    try:
        return load_plan(results)
    except UserError:  # of a version before: its runs are in the table
        return None


def _lines(plan: Plan) -> Iterator[str]:
    totals = plan.totals
    roles = ", ".join(f"{count} {role}" for role, count in totals.by_role.items())
    yield f"{totals.runs:,} runs ({roles}) in {totals.jobs:,} jobs, {totals.tokens:,} tokens"
    saved = f", {totals.saved:.0%} less by shared trunks" if totals.saved > 0.005 else ""
    yield f"{totals.flops:.4g} FLOPs as if each were trained alone; {totals.flops_spent:.4g} planned{saved}"
    for data in (plan.data, *plan.other_data):
        yield (
            f"data: {data.corpus}, tokenizer {data.tokenizer}, context {data.context}, fingerprint "
            f"{data.fingerprint}; evaluated on {data.evaluated_tokens:,} tokens of {data.eval_documents} "
            f"documents ({data.eval_id})"
        )
    yield f"spec: sha {plan.spec_sha}; execution: {plan.execution.kind}"
    yield from (f"axis: {axis}" for axis in plan.axes)
    yield from (f"note: {note}" for note in plan.notes[:LISTED])
    yield from (f"left out: {run.label}: {run.reason}" for run in plan.excluded[:LISTED])
    for name, listed in (("notes", plan.notes), ("runs left out", plan.excluded)):
        if len(listed) > LISTED:
            yield f"and {len(listed) - LISTED} more {name} in plan.json"


def _trained_with(results: ResultsFolder) -> Iterator[tuple[str, str]]:
    """Commits, devices and versions of the jobs, each with how many jobs had it where they differ."""
    jobs = [job for job in map(_environment, sorted(results.path.glob("jobs/*/env.json"))) if job is not None]
    if not jobs:
        return
    yield "jobs", f"{len(jobs):,}"
    said = {
        "commit": [job.git_commit for job in jobs],
        "device": [job.device and f"{job.device} x {job.devices}" for job in jobs],
        "Python": [job.python for job in jobs],
    }
    names = sorted({name for job in jobs for name in job.versions or {}})
    said |= {name: [(job.versions or {}).get(name) for job in jobs] for name in names}
    for name, values in said.items():
        if any(values):
            yield name, _each(values)


def _environment(path: Path) -> JobEnvironment | None:
    try:
        return read(JobEnvironment, path)
    except UserError:
        return None


def _each(values: Sequence[str | None]) -> str:
    counts = Counter(value or "not known" for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count})" for value, count in counts.most_common())
