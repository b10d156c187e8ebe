"""A job that was started stays laid out as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scaling.counts.lowering import Lowering, MeshSizes
from scaling.plan.chosen import JobDevices
from scaling.plan.lowering import FULL, lower
from scaling.store.folder import ResultsFolder
from scaling.sweep.earlier import execution_before, keep
from scaling.sweep.queue import Phase, Queue, make_tasks
from tests.plan.studies import plan_of

ONE, TWO = JobDevices("gpu"), JobDevices("gpu", count=2)


def start(folder: Path, used: Lowering, **changes: Any) -> None:
    """Write each job.json of the plan as of a start with this lowering."""
    plan, results = plan_of(**changes), ResultsFolder(folder)
    queue = Queue(results, plan, Phase(("fit",), plan.runs), lambda event: None)
    for task in make_tasks(plan, plan.runs, ()):
        spec = queue.spec(task, task.runs)
        execution = spec.execution.model_copy(update={"lowering": used})
        results.job_dir(task.job.job_id).mkdir(parents=True, exist_ok=True)
        path = results.job_dir(task.job.job_id) / "job.json"
        path.write_text(
            spec.model_copy(update={"execution": execution}).model_dump_json(
                by_alias=True, exclude_unset=True
            )
        )


def kept(folder: Path, devices: JobDevices, **changes: Any) -> set[Lowering]:
    made = keep(lower(plan_of(**changes), devices), ResultsFolder(folder))
    return {one.lowering for one in made.chosen.values()}


def test_what_was_used_is_kept_where_it_can_be(tmp_path: Path) -> None:
    used = Lowering(micro_batches=2, remat="full", pack=4)
    start(tmp_path, used)
    assert kept(tmp_path, ONE) == {Lowering(micro_batches=2, remat="full")}, "the pack is the queue's"
    assert kept(tmp_path, TWO) == {Lowering(mesh=MeshSizes(data=2))}, "on other devices"
    assert kept(tmp_path, ONE, execution={"remat": "none"}) == {Lowering()}, "the spec asks for another"
    assert kept(tmp_path, ONE, execution={"micro_batch": 1, "remat": "full"}) == {
        Lowering(micro_batches=4, remat="full")
    }


def test_a_kept_layout_is_in_a_pack_as_now(tmp_path: Path) -> None:
    packed = {"execution": {"share_trunk": False, "pack": 2}}
    start(tmp_path, Lowering(remat="full", pack=1), **packed)
    assert kept(tmp_path, ONE, **packed) == {Lowering(remat="full", pack=2)}


def test_what_no_longer_fits_is_laid_out_anew(tmp_path: Path) -> None:
    large = {"recipe__batch_tokens": 2**16, "family__widths": [32]}
    start(tmp_path, Lowering(), **large)
    held = lower(plan_of(**large), ONE).largest.memory.total

    def with_memory(share: float) -> set[Lowering]:
        return kept(tmp_path, JobDevices("gpu", memory_bytes=int(share * held / FULL)), **large)

    assert Lowering() not in with_memory(0.5) and with_memory(1.01) == {Lowering()}
    start(tmp_path, Lowering(micro_batches=2), **large)
    assert with_memory(1.01) == {Lowering(micro_batches=2)}, "though all of it would fit now"


def test_a_damaged_or_missing_job_is_as_none(tmp_path: Path) -> None:
    assert execution_before(tmp_path) is None
    (tmp_path / "job.json").write_text("{")
    assert execution_before(tmp_path) is None
