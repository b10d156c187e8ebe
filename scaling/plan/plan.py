"""The plan of a study: resolved runs, the jobs that train them, and what was left out and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_serializer

from scaling.plan.designs import Role, parameters
from scaling.recipe.quantities import Frozen
from scaling.run import Run, canonical_json
from scaling.spec.models import Execution

SCHEMA = 1


class PlanData(Frozen):
    """The data of all runs, and how they are evaluated."""

    corpus: str
    tokenizer: str
    context: int
    eval_documents: int
    eval_tokens: int
    fingerprint: str
    eval_id: str


class PlannedRun(Frozen):
    """A run with its ids. ``job_id`` is the job that trains it, ``trunk_id`` what it may share.

    ``budget`` is the FLOPs that were asked for, where they were: what groups the runs of an isoFLOP curve.
    """

    run_id: str
    label: str
    role: Role
    job_id: str
    trunk_id: str
    run: Run
    unique_tokens: int
    epochs: float
    budget: float | None = None

    @property
    def params(self) -> int:
        """All parameters, embedding and head included."""
        return parameters(self.run.shape).total

    @property
    def params_body(self) -> int:
        return parameters(self.run.shape).body

    @cached_property
    def flops(self) -> int:
        """As if trained alone."""
        return self.run.flops().flops

    @field_serializer("run")
    def _canonical(self, run: Run) -> dict[str, Any]:
        return json.loads(canonical_json(run))


class Job(Frozen):
    """What one process trains: ``run_ids`` by branch step; ``flops_spent`` is each run's share of work."""

    job_id: str
    run_ids: tuple[str, ...]
    flops_spent: dict[str, int]

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


class Plan(Frozen):
    """Everything that will be trained. ``notes`` say in words what a reader should know about it."""

    study: str
    spec_sha: str
    data: PlanData
    runs: tuple[PlannedRun, ...]
    jobs: tuple[Job, ...]
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()
    execution: Execution = Field(default_factory=Execution)

    @cached_property
    def by_id(self) -> dict[str, PlannedRun]:
        return {run.run_id: run for run in self.runs}

    def jobs_of(self, *roles: Role) -> tuple[Job, ...]:
        """Jobs whose runs have one of ``roles``; held-out runs are never in a job with others."""
        return tuple(job for job in self.jobs if self.by_id[job.run_ids[0]].role in roles)

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
        """Plain values for ``plan.json``."""
        return {"schema": SCHEMA, **self.model_dump(mode="json")}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Plan:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: written under another schema, or not a plan.
        """
        fields = dict(raw)
        schema: int | Literal["none"] = fields.pop("schema", "none")
        if schema != SCHEMA:
            raise ValueError(f"plan.json has schema {schema}, this version reads schema {SCHEMA}: plan again")
        return cls.model_validate(fields)
