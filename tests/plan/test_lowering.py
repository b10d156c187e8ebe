from __future__ import annotations

from typing import Any

import pytest

from scaling.cli.plan_text import plan_text
from scaling.counts.lowering import Lowering, MeshSizes
from scaling.counts.memory import memory
from scaling.errors import UserError
from scaling.plan.bill import make_bill
from scaling.plan.chosen import JobDevices
from scaling.plan.lowering import FULL, Lowered, lower, workload
from tests.plan.studies import plan_of

HOST = JobDevices("cpu", memory_bytes=24 * 10**9, jobs=2)
GPUS = JobDevices("gpu", count=8, memory_bytes=80 * 10**9)
LADDER: dict[str, Any] = {
    "family": {"kind": "width-dial", "depth": 24, "widths": [512, 1024], "head_dim": 64},
    "data__context": 1024,
    "recipe__batch_tokens": 2**19,
}
SEVEN_BILLION = LADDER | {"family": {"kind": "width-dial", "depth": 32, "widths": [4096], "head_dim": 128}}


def lowered(devices: JobDevices, **changes: Any) -> Lowered:
    return lower(plan_of(**changes), devices)


def lowerings(made: Lowered) -> set[Lowering]:
    return {one.lowering for one in made.chosen.values()}


def test_what_fits_is_left_as_it_was() -> None:
    made = lowered(HOST)
    assert lowerings(made) == {Lowering()} and not list(made.notes())
    assert lowerings(lowered(JobDevices("gpu"), **LADDER)) == {Lowering()}, "memory is not known"


def test_a_ladder_of_terabytes_is_taken_in_pieces_and_says_so() -> None:
    """350M parameters, half-million-token batches: more than a terabyte in one piece."""
    made = lowered(HOST, **LADDER)
    large = made.largest
    assert large.plain.total > 10**12 and large.fits
    assert large.lowering.micro_batches > 64
    note = next(note for note in made.notes() if "w1024" in note)
    assert "of 512 sequences at a time" in note and "in one piece it would hold 1." in note and "TB" in note
    made.require_fit()
    together = sorted(one.memory.total for one in made.chosen.values())[-2:]
    assert sum(together) < FULL * 24e9, "two at a time share the host"


def test_a_job_whose_record_turns_out_to_be_damaged_is_laid_out_too() -> None:
    plan = plan_of(**LADDER)
    made = lower(plan, HOST)
    of_others = lower(plan, HOST, [job for job in plan.jobs if job != plan.jobs[0]])
    assert of_others.of(plan.jobs[0]) == made.of(plan.jobs[0]) != Lowering()


def test_a_plan_says_which_mesh_and_why() -> None:
    def text(devices: JobDevices, **changes: Any) -> str:
        plan = plan_of(recipe__batch_tokens=512, **changes)
        plan = plan.model_copy(update={"data": plan.data.model_copy(update={"content": None})})
        lowered = lower(plan, devices)
        return plan_text(plan, lowered, make_bill(plan, lowered, None, 1))

    eight = JobDevices("gpu", count=8)
    assert "mesh" not in text(HOST)
    assert "mesh run 1 x data 8 x fsdp 1 x tensor 1: 2 jobs, a batch is shared" in text(eight)
    assert "fsdp 2 x tensor 1: 2 jobs, as asked" in text(eight, execution={"mesh": {"data": 4, "fsdp": 2}})


def test_what_fits_in_no_way_is_refused_with_the_arithmetic() -> None:
    made = lowered(HOST, **SEVEN_BILLION)
    with pytest.raises(UserError) as caught:
        made.require_fit()
    (problem,) = caught.value.problems
    for part in ("w4096", "does not fit", "weights 25.8 GB", "moments 51.6 GB", "24 GB here", "2 workers"):
        assert part in problem.message, part
    assert problem.hint == "use a smaller model, or a machine with more memory", "forced devices share it"
    (problem,) = _problems(lowered(JobDevices("gpu", memory_bytes=24 * 10**9), **SEVEN_BILLION))
    assert "more devices" in problem.hint
    assert [note for note in made.notes() if note.startswith("DOES NOT FIT")]


def test_a_hint_names_what_would_help() -> None:
    state = {"family": {"kind": "width-dial", "depth": 12, "widths": [960, 1024], "head_dim": 64}}
    (problem,) = _problems(lowered(JobDevices("cpu", memory_bytes=6 * 10**9, jobs=2), **state))
    assert problem.hint == "use execution.workers: 1"
    fixed = LADDER | {"execution": {"micro_batch": 512, "remat": "none"}}
    (problem,) = _problems(lowered(HOST, **fixed))
    assert problem.hint == "leave out execution.micro_batch and remat"


def test_no_more_runs_are_counted_side_by_side_than_are_alike() -> None:
    """Two sizes of one seed: a pack of 64 would be one of each."""
    alone, packed = lowered(HOST), lowered(HOST, execution={"pack": 64})
    assert lowerings(packed) == {Lowering()} and packed.largest.memory == alone.largest.memory
    seeds = lowered(HOST, execution={"pack": 64}, seeds=[0, 1, 2])
    assert {lowering.pack for lowering in lowerings(seeds)} == {4}, "a program is for a power of two"


def test_what_may_fit_is_trained_with_a_loud_note() -> None:
    """Arithmetic is wrong by up to 15 %; a program that fills memory by 1.1 or 1.25 times is laid out."""
    fixed = {"execution": {"micro_batch": 4, "remat": "none", "workers": 1}}
    held = lowered(JobDevices("gpu"), **fixed).largest.memory.total
    (tight, far) = (
        lowered(JobDevices("gpu", memory_bytes=int(held / FULL / times)), **fixed) for times in (1.1, 1.25)
    )
    tight.require_fit()
    (note,) = (note for note in tight.notes() if note.startswith("MAY NOT FIT"))
    assert "give or take 15%" in note and "can be used" in note
    assert tight.largest.may_fit and not tight.largest.fits
    assert "does not fit" in _problems(far)[0].message
    assert not [note for note in far.notes() if note.startswith("MAY NOT FIT")]


def _problems(made: Lowered):
    with pytest.raises(UserError) as caught:
        made.require_fit()
    return caught.value.problems


def test_devices_share_the_batch_and_the_weights_where_these_do_not_fit() -> None:
    assert lowerings(lowered(GPUS)) == {Lowering(mesh=MeshSizes(data=4))}, "batches of 4 sequences"
    (whole,) = lowerings(lowered(GPUS, **LADDER | {"family__widths": [512]}))
    assert whole.mesh == MeshSizes(data=8)
    (sharded,) = lowerings(lowered(GPUS, **SEVEN_BILLION))
    assert sharded.mesh == MeshSizes(fsdp=8)
    asked = {"execution": {"mesh": {"fsdp": 2, "tensor": 4}}}
    assert lowered(GPUS, **SEVEN_BILLION | asked).largest.lowering.mesh == MeshSizes(fsdp=2, tensor=4)


@pytest.mark.parametrize(("sequences", "used"), [(4, 4), (11, 1), (13, 1), (100, 5)])
def test_devices_without_work_are_said(sequences: int, used: int) -> None:
    made = lowered(GPUS, recipe__batch_tokens=64 * sequences)
    (note,) = made.notes()
    assert f"{8 - used} of 8 devices are IDLE: {sequences} sequences" in note and "1 more job" in note
    below = sequences // 8 * 8
    assert (f"{below} or {below + 8}" if below else "most; 8") + " would use all" in note
    assert not [*lowered(GPUS, recipe__batch_tokens=64 * 16).notes()]


def test_what_a_spec_asks_for_is_kept() -> None:
    asked = {"execution": {"micro_batch": 2, "remat": "full"}}
    assert lowerings(lowered(HOST, **asked)) == {Lowering(micro_batches=2, remat="full")}


def test_batches_of_experts_are_not_cut() -> None:
    experts = {"family": LADDER["family"] | {"experts": {"count": 4, "active": 1}}}
    (one,) = {made.micro_batches for made in lowerings(lowered(HOST, **LADDER | experts))}
    assert one == 1


def test_memory_of_moments_averages_and_packs() -> None:
    def held(pack: int = 1, **changes: Any):
        plan = plan_of(**changes)
        return memory(workload(plan, plan.jobs[0], "cpu"), Lowering(pack=pack))

    adam, lion = held(), held(recipe__optimizer={"kind": "lion", "learning_rate": 0.001})
    assert adam.moments == 2 * adam.weights and lion.moments == lion.weights
    averages = [{"kind": "ema", "decay": decay} for decay in (0.9, 0.99)]
    assert held(evaluation={"averages": averages}).averages == 2 * adam.weights
    assert held(pack=3).total == 3 * adam.total
