"""The plan of a study: resolved runs, the jobs that train them, and what was left out and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from scaling.canonical import short_hash
from scaling.corpora.evaluation import Every, WrittenAverage
from scaling.counts.params import active_parameters
from scaling.data.index import adds_to, index_of
from scaling.errors import Complaint, UserError
from scaling.plan.designs import Role
from scaling.recipe.quantities import Frozen
from scaling.run import ExternalRun, Run
from scaling.spec.execution import Execution, WrittenExecution
from scaling.store.documents import Document, Id, parse, read
from scaling.store.folder import NAME, ResultsFolder
from scaling.store.records import CanonicalRun, JobCommand, PlanData, Record

HINT = "run `scaling plan` again, or delete it to make it again"


class PlannedRun(Frozen):
    """A run with its ids. ``job_id`` is the job that trains it, ``trunk_id`` what it may share.

    ``budget`` is the FLOPs that were asked for, where they were: what groups the runs of an isoFLOP curve.
    ``start`` is where the weights lie that ``run.init_from`` names. ``starts_from`` names them for a reader:
    by the label of the run that this one branches from, or as the spec does.
    ``values`` are columns of the table: of the fields on axes those that no other column shows. ``rules`` are
    the tuned rules by the field they stand in: file and hash.
    """

    run_id: Id
    label: str
    role: Role
    job_id: Id
    trunk_id: Id
    run: CanonicalRun
    unique_tokens: int
    epochs: float
    budget: float | None = None
    start: str | None = None
    starts_from: str | None = None
    variant: str | None = None
    values: dict[str, Any] = Field(default_factory=dict)
    rules: dict[str, str] | None = None

    @property
    def is_external(self) -> bool:
        """Whether a trainer of one's own trains it."""
        return isinstance(self.run, ExternalRun)

    @property
    def built_in(self) -> Run:
        """The run, where only one of the built-in trainer can be meant."""
        assert not isinstance(self.run, ExternalRun), f"{self.label} is a run of a trainer of one's own"
        return self.run

    @property
    def params(self) -> int:
        """All parameters, embedding and head included."""
        return self.run.counts.total

    @property
    def params_active(self) -> int | None:
        """None: not known."""
        return None if isinstance(self.run, ExternalRun) else active_parameters(self.run.shape).total

    @property
    def params_body(self) -> int | None:
        """None: not known."""
        return self.run.counts.body

    @cached_property
    def flops(self) -> int:
        """As if trained alone."""
        return self.run.flops().flops

    def has_horizon_of(self, other: PlannedRun) -> bool:
        """Whether both were asked to train on as many tokens: to whole steps, where their batches differ."""
        of_batches = {self.run.batch_tokens, other.run.batch_tokens}
        apart = abs(self.run.tokens - other.run.tokens)
        return not apart or (len(of_batches) > 1 and apart <= max(of_batches))


class PlannedJob(Frozen):
    """What one process trains: ``run_ids`` by branch step; ``flops_spent`` is each run's share of work."""

    job_id: Id
    run_ids: tuple[Id, ...]
    flops_spent: dict[Id, int]

    @property
    def flops(self) -> int:
        return sum(self.flops_spent.values())


class Excluded(Frozen):
    """A run that the design names and the plan leaves out."""

    label: str
    reason: str


@dataclass(frozen=True)
class Totals:
    """``flops`` as if all runs were trained alone, ``flops_spent`` as planned, ``saved`` a fraction."""

    runs: int
    jobs: int
    tokens: int
    flops: int
    flops_spent: int
    saved: float
    by_role: dict[Role, int]


class Plan(Document):
    """Everything that will be trained. ``notes`` say in words what a reader should know about it. ``data``
    are those of the first run, ``other_data`` what axes and variants train on beside them; ``every`` is how
    often runs are evaluated along the way, ``averages`` of their weights beside them, ``axes`` are the axes
    in words. ``command`` starts the trainer of runs that are external; None: the built-in one trains.
    ``folder`` is what paths in its spec are relative to; ``unfinished`` tells whether its design decides more
    when these runs are trained; plans of earlier versions say neither. ``question`` is the hash of a design
    that grows, without what was decided of it."""

    study: Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
    spec_sha: str
    data: PlanData
    other_data: tuple[PlanData, ...] = ()
    axes: tuple[str, ...] = ()
    runs: tuple[PlannedRun, ...]
    jobs: tuple[PlannedJob, ...]
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()
    execution: WrittenExecution = Field(default_factory=Execution)
    every: Every | None = None
    averages: tuple[WrittenAverage, ...] = ()
    command: JobCommand | None = None
    folder: str | None = None
    unfinished: bool | None = None
    question: Id | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.by_id) != len(self.runs):
            raise ValueError("two runs have the same run_id")
        owner = {run_id: job for job in self.jobs for run_id in job.run_ids}
        if sum(len(job.run_ids) for job in self.jobs) != len(owner):
            raise ValueError("a run or a job is listed twice in jobs")
        if owner.keys() != self.by_id.keys():
            raise ValueError(f"runs and jobs disagree about {sorted(owner.keys() ^ self.by_id.keys())}")
        for run in self.runs:
            job = owner[run.run_id]
            if job.job_id != run.job_id or run.run_id not in job.flops_spent:
                raise ValueError(f"run {run.run_id} does not fit its job {run.job_id}")
            if isinstance(run.run, ExternalRun) != (self.command is not None):
                raise ValueError(f"run {run.run_id} is of another trainer than the plan's")
        return self

    @cached_property
    def by_id(self) -> dict[str, PlannedRun]:
        return {run.run_id: run for run in self.runs}

    @cached_property
    def identity(self) -> tuple[Any, ...]:
        """What drivers of one folder must agree on; execution may differ."""
        eval_ids = (self.data.eval_id, *(of.eval_id for of in self.other_data))
        runs = tuple((run.run_id, run.job_id, run.role) for run in self.runs)
        return self.study, eval_ids, self.every, self.averages, self.question, runs

    @cached_property
    def _data_by_key(self) -> dict[tuple[Any, ...], PlanData]:
        return {of.key: of for of in (self.data, *self.other_data)}

    def data_of(self, run: PlannedRun) -> PlanData:
        """Return what a run is trained and evaluated on."""
        if not self.other_data:
            return self.data
        return self._data_by_key[run.run.data_key]

    def named(self, name: str) -> PlannedRun:
        """Return the run with this label or id, or whose id alone begins so.

        Raises:
            UserError: none has that name, or several.
        """
        exact = [run for run in self.runs if name in (run.run_id, run.label)]
        runs = exact or [run for run in self.runs if name and run.run_id.startswith(name)]
        if len(runs) != 1:
            problem = f"names {len(runs)} runs" if runs else "names no run of this study"
            raise UserError(Complaint(f"{name!r} {problem}", hint="`scaling status` lists ids and labels"))
        return runs[0]

    def with_roles(self, roles: Collection[str]) -> tuple[PlannedRun, ...]:
        return tuple(run for run in self.runs if run.role in roles)

    def evaluates(self, record: Record) -> bool:
        """Tell whether a record was evaluated as the plan asks."""
        run = self.by_id.get(record.run_id)
        return record.result.eval_id == (self.data_of(run) if run else self.data).eval_id

    def adds_to(self, run: PlannedRun, record: Record) -> bool:
        """Tell whether the plan only adds evaluation sets to those of a record."""
        data, result = self.data_of(run), record.result
        if data.content is None:
            return False
        return adds_to(index_of(data.content, data.context), result.eval_id, result.set_losses or ())

    @cached_property
    def totals(self) -> Totals:
        flops = sum(run.flops for run in self.runs)
        spent = sum(job.flops for job in self.jobs)
        by_role = dict[Role, int]()
        for run in self.runs:
            by_role[run.role] = by_role.get(run.role, 0) + 1
        tokens = sum(run.run.tokens for run in self.runs)
        return Totals(len(self.runs), len(self.jobs), tokens, flops, spent, 1 - spent / flops, by_role)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``plan.json``, defaults included."""
        return {"schema": self.schema_version, **self.model_dump(mode="json", exclude={"schema_version"})}

    @classmethod
    def from_json(cls, content: bytes | dict[str, Any], where: str = "plan") -> Plan:
        """Invert :meth:`to_json`, from plain values or the bytes of a file.

        Raises:
            UserError: it is not a plan of this schema; every field that is wrong is named.
        """
        return parse(cls, content, where, HINT)


def load_plan(results: ResultsFolder) -> Plan:
    """Return the plan of a results folder.

    Raises:
        UserError: the folder holds no study, or its plan.json is damaged.
    """
    plan = read(Plan, results.plan, HINT)
    if plan is None:
        hint = "give the folder of a study, results/<study>, or start one with `scaling run SPEC`"
        raise UserError(Complaint(f"{str(results.path)!r} holds no study: plan.json is missing", hint=hint))
    return plan


def job_id(run_id: str, trunk_id: str, *, held_out: bool, share_trunk: bool) -> str:
    """Return the job that trains a run: its trunk if trunks are shared, else the run itself.

    Held-out runs are trained after a forecast is frozen, so they never share a job with others.

    Args:
        run_id: of the run.
        trunk_id: of its trunk.
        held_out: whether its role is holdout.
        share_trunk: whether trunks are shared.
    """
    if not share_trunk:
        return run_id
    return short_hash({"kind": "job", "phase": "holdout", "trunk": trunk_id}) if held_out else trunk_id


def make_jobs(runs: Sequence[PlannedRun]) -> tuple[PlannedJob, ...]:
    """Return the jobs of ``runs`` (all of a plan, or those not done yet), most work first, held-out runs
    last.

    A run's ``flops_spent`` is its steps after branching plus the part of the trunk that is trained for it
    and for the runs after it: from the branch before to its own.
    """
    groups = dict[str, list[PlannedRun]]()
    for planned in runs:
        groups.setdefault(planned.job_id, []).append(planned)
    held_out = {name: group[0].role == "holdout" for name, group in groups.items()}
    jobs = [_job(name, group) for name, group in groups.items()]
    return tuple(sorted(jobs, key=lambda job: (held_out[job.job_id], -job.flops, job.job_id)))


def _job(name: str, group: list[PlannedRun]) -> PlannedJob:
    ordered = sorted(group, key=lambda p: (p.run.branch_step, p.run.steps, p.run_id))
    spent, trained = dict[str, int](), 0
    for planned in ordered:
        run = planned.run
        shared_until = run.branch_step
        steps = (run.steps - shared_until) + max(0, shared_until - trained)
        trained = max(trained, shared_until)
        spent[planned.run_id] = planned.flops // run.steps * steps
    return PlannedJob(job_id=name, run_ids=tuple(p.run_id for p in ordered), flops_spent=spent)
