"""plan.json, read and checked: what the sweep has to do. Written from ``Plan.to_json()``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from scaling.errors import Complaint, UserError
from scaling.store.store import ID, NAME, Store, read_json

Id = Annotated[str, StringConstraints(pattern=f"^{ID.pattern}$")]
RunRole = Literal["fit", "holdout", "tuning", "noise"]


class _Part(BaseModel):
    """Keys that the sweep does not need may be there; they stay in the file."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class PlannedRun(_Part):
    run_id: Id
    label: str
    role: RunRole
    job_id: Id
    trunk_id: Id
    run: dict[str, Any]
    unique_tokens: int | None = None
    epochs: float | None = None
    budget: float | None = None


class PlannedJob(_Part):
    """``run_ids`` in order of branch step; ``flops_spent`` is each run's share of the job's work."""

    job_id: Id
    run_ids: tuple[Id, ...]
    flops_spent: dict[Id, int]


class PlannedData(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")
    fingerprint: str
    eval_id: str


class Execution(_Part):
    """How, not what. ``threads`` are those of each job on CPU."""

    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    threads: Annotated[int, Field(ge=1)] = 1
    checkpoint_seconds: float | None = None
    chunk_steps: int | None = None
    keep_final: bool | None = None
    lease_seconds: Annotated[float, Field(gt=0)] = 30.0
    timeout_minutes: Annotated[float, Field(gt=0)] = 60.0
    attempts: Annotated[int, Field(ge=1)] = 3


class PlanFile(_Part):
    schema_version: Literal[1] = Field(alias="schema")
    study: Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
    spec_sha: str
    data: PlannedData
    runs: tuple[PlannedRun, ...]
    jobs: tuple[PlannedJob, ...]
    excluded: tuple[dict[str, Any], ...] = ()
    execution: Execution = Execution()

    @cached_property
    def identity(self) -> tuple[Any, ...]:
        """What drivers of one folder must agree on; execution may differ."""
        return self.study, self.data.eval_id, tuple((run.run_id, run.job_id, run.role) for run in self.runs)

    @cached_property
    def by_id(self) -> dict[str, PlannedRun]:
        return {run.run_id: run for run in self.runs}

    @model_validator(mode="after")
    def _consistent(self) -> PlanFile:
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
        return self

    def with_roles(self, roles: Collection[str]) -> tuple[PlannedRun, ...]:
        return tuple(run for run in self.runs if run.role in roles)


def is_of(record: Mapping[str, Any], plan: PlanFile) -> bool:
    """Whether a record was evaluated as the plan asks."""
    return record["result"].get("eval_id") == plan.data.eval_id


def parse_plan(value: Mapping[str, Any], where: str = "plan") -> PlanFile:
    """The checked plan.

    Raises:
        UserError: it is not a plan of schema 1; all that is wrong is listed.
    """
    try:
        return PlanFile.model_validate(value)
    except ValidationError as error:
        problems = [
            Complaint(f"{'.'.join(map(str, item['loc']))}: {item['msg']}", where, "run `scaling plan` again")
            for item in error.errors(include_url=False, include_context=False)
        ]
        raise UserError(*problems) from None


def load_plan(store: Store) -> PlanFile:
    """The plan of a results folder.

    Raises:
        UserError: the folder holds no study, or its plan.json is damaged.
    """
    value = read_json(store.plan)
    if value is None:
        hint = "give the folder of a study, results/<study>, or start one with `scaling run SPEC`"
        raise UserError(Complaint(f"{str(store.folder)!r} holds no study: plan.json is missing", hint=hint))
    return parse_plan(value, str(store.plan))
