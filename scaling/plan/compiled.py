"""What programs hold as they are compiled, on the devices and in the environment of their jobs: asked where
arithmetic says that much of a device is filled. Answers are cached as those of the probe of speed.

No jax here: ``python -m scaling.train.memory`` compiles, and runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PositiveInt

from scaling.canonical import canonical_json
from scaling.counts.lowering import MeshSizes
from scaling.counts.memory import ERROR, Workload, evaluation_memory
from scaling.plan.asking import ProbeFailed, ask
from scaling.plan.chosen import Chosen, JobDevices
from scaling.plan.lowering import Lowered, choose, workload
from scaling.plan.plan import PlannedJob
from scaling.run import Run
from scaling.spec.execution import Execution
from scaling.store.machine import answer_file, keep_answer

SMALL = 1 / 3  # of its limit: what holds no more is not asked about
MARGIN = 1 / (1 - ERROR)  # of its limit: what holds more by arithmetic cannot fit
TRIED = (MARGIN, 1, 0.85, 0.7, 0.5)  # shares of the limit, for each of which arithmetic names a lowering

Answers = dict[Path, int]
"""Bytes on each device, by the file that keeps the answer."""


class _Answer(BaseModel):
    """The bytes of lowerings of each program, up to the first within its limit."""

    held: tuple[tuple[PositiveInt, ...], ...]


@dataclass(frozen=True)
class Question:
    """Which of some lowerings, the least extra work first, fits into memory.

    Attributes:
        run: whose program it is.
        work: that this does.
        execution: of its job.
        devices: of its job.
        tried: the lowerings, as arithmetic chooses them.
        jobs: that it is about.
    """

    run: Run
    work: Workload
    execution: Execution
    devices: JobDevices
    tried: tuple[Chosen, ...]
    jobs: tuple[str, ...]

    @classmethod
    def of(cls, lowered: Lowered, jobs: Sequence[PlannedJob], limit: int) -> Question:
        """Ask about jobs of one program, each device of which has so many bytes for it."""
        job, devices = jobs[0], lowered.devices
        pack = lowered.chosen[job.job_id].lowering.pack
        execution = lowered.plan.execution.model_copy(update={"pack": pack})
        work = workload(lowered.plan, job, devices.kind)
        named = [choose(work, execution, devices, int(share * limit)) for share in TRIED]
        once = {one.lowering: replace(one, limit=limit) for one in named}
        run = lowered.plan.by_id[job.run_ids[0]].built_in
        names = tuple(job.job_id for job in jobs)
        return cls(run, work, execution, devices, tuple(once.values()), names)

    def to_json(self, known: Mapping[Path, int]) -> dict[str, Any]:
        """Ask for one run of a pack."""
        tried = [one for one in self.tried if self.file(one) not in known]
        limit = tried[0].limit
        assert limit is not None, "where nothing is known of memory, nothing is asked"
        return {
            "run": json.loads(canonical_json(self.run)),
            "chunk_steps": self.work.chunk_steps,
            "averages": self.work.averages,
            "limit": limit // _members(tried[0]),
            "lowerings": [asdict(one.lowering) for one in tried],
        }

    def file(self, one: Chosen) -> Path:
        """Return where the answer for a lowering is kept: by all that it depends on."""
        key = {
            "kind": "memory",
            "fixed": vars(self.run.fixed),
            "threads": self.execution.threads,
            "device": self.execution.device,
            "devices": [self.devices.kind, self.devices.count, self.devices.memory_bytes],
            "chunk_steps": self.work.chunk_steps,
            "averages": self.work.averages,
            "lowering": asdict(one.lowering),
        }
        return answer_file(key)

    def settled(self, known: Mapping[Path, int]) -> Chosen:
        """Return the first that fits: as compiled where that is known, by arithmetic where it is not; the
        last if none does."""
        tried = [replace(one, compiled=self._held(one, known)) for one in self.tried]
        plain = next((one.compiled for one in tried if one.memory == one.plain), None)
        chosen = next((one for one in tried if one.fits), tried[-1])
        return replace(chosen, plain_compiled=plain)

    def _held(self, one: Chosen, known: Mapping[Path, int]) -> int | None:
        """Return what a lowering holds in a step as compiled; in evaluation by arithmetic if that is more."""
        step = known.get(self.file(one))
        return step and max(step, evaluation_memory(self.work, one.lowering).total)


def questions(lowered: Lowered) -> list[Question]:
    """Return what is worth asking: on an accelerator or several forced host devices, about programs that may
    fill much of them, and may fit. Nothing about several hosts: a process here does not see their devices."""
    plan, devices = lowered.plan, lowered.devices
    if plan.execution.hosts > 1 or (devices.kind == "cpu" and devices.count == 1):
        return []
    alike = dict[Any, list[PlannedJob]]()
    for job in plan.jobs:
        one = lowered.chosen.get(job.job_id)
        if one and one.limit and SMALL * one.limit < one.memory.total <= MARGIN * one.limit:
            work = workload(plan, job, devices.kind)
            key = plan.by_id[job.run_ids[0]].built_in.fixed, work.averages, one.limit
            alike.setdefault(key, []).append(job)
    return [Question.of(lowered, jobs, limit) for (_, _, limit), jobs in alike.items()]


def with_answers(lowered: Lowered, asked: Sequence[Question], known: Mapping[Path, int]) -> Lowered:
    """Lay the jobs that questions are about out by what is known of their programs."""
    settled = {name: question.settled(known) for question in asked for name in question.jobs}
    return replace(lowered, chosen={**lowered.chosen, **settled})


def cached_answers(asked: Sequence[Question]) -> Answers:
    """Return what is known on this machine."""
    files = {question.file(one) for question in asked for one in question.tried}
    return {file: held for file in files if (held := _read(file)) is not None}


def unanswered(asked: Sequence[Question], known: Mapping[Path, int]) -> list[Question]:
    """Return the questions whose answer would be by arithmetic."""
    return [question for question in asked if question.settled(known).compiled is None]


def ask_compiler(
    asked: Sequence[Question], known: Mapping[Path, int], environment: Mapping[str, str] | None
) -> Answers:
    """Return the answers to questions, and keep them.

    Args:
        asked: the questions.
        known: what need not be asked.
        environment: of the compiling process, which should be that of the jobs.

    Raises:
        ProbeFailed: it failed or answered nonsense.
    """
    question = {"programs": [one.to_json(known) for one in asked]}
    text = ask("scaling.train.memory", "check of memory", question, environment)
    try:
        held = _Answer.model_validate_json(text).held
    except ValueError as error:
        raise ProbeFailed(f"the check of memory answered nonsense: {error}") from None
    if len(held) != len(asked):
        raise ProbeFailed(f"the check of memory answered {len(held)} of {len(asked)} questions")
    answers = Answers()
    for one, numbers in zip(asked, held, strict=True):
        tried = [lowering for lowering in one.tried if one.file(lowering) not in known]
        for lowering, number in zip(tried, numbers, strict=False):  # up to the first that fits
            answers[one.file(lowering)] = number * _members(lowering)
    for file, number in answers.items():
        keep_answer(file, {"bytes": number})
    return answers


def _members(one: Chosen) -> int:
    """Return the runs of a pack that share a device."""
    return -(-one.lowering.pack // (one.lowering.mesh or MeshSizes()).run)


def _read(file: Path) -> int | None:
    try:
        return int(json.loads(file.read_bytes())["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: ask again
