from __future__ import annotations

import os
from pathlib import Path

import pytest

from scaling.counts.lowering import Lowering, MeshSizes
from scaling.errors import UserError
from scaling.plan.asking import ProbeFailed
from scaling.plan.chosen import JobDevices
from scaling.plan.lowering import FULL, PROCESS_BYTES, lower
from scaling.store.folder import ResultsFolder
from scaling.store.machine import Gpu
from scaling.sweep import memory
from scaling.sweep.machine import Layout, Slot
from scaling.sweep.memory import host_memory, job_devices, lowered_here
from tests.plan.studies import plan_of

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [
        ("memory.max", "1000000\n", 1_000_000),
        ("memory.max", "max\n", MACHINE),
        ("memory/memory.limit_in_bytes", "2000000\n", 2_000_000),
        ("memory/memory.limit_in_bytes", f"{2**63 - 4096}\n", MACHINE),
        ("other", "1\n", MACHINE),
    ],
)
def test_a_container_may_have_a_part_of_the_machine(file: str, text: str, limit: int, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert host_memory(tmp_path) == limit


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({"SLURM_MEM_PER_NODE": "500"}, 500 << 20),
        ({"SLURM_MEM_PER_NODE": "0"}, MACHINE),  # all that there is
        ({"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "3"}, 300 << 20),
    ],
)
def test_a_job_of_slurm_may_have_a_part_of_the_machine(
    environ: dict[str, str], limit: int, tmp_path: Path
) -> None:
    assert host_memory(tmp_path, environ) == limit


def test_jobs_on_a_cpu_share_its_memory() -> None:
    devices = job_devices(Layout("cpu", (Slot(), Slot()), devices=4))
    assert (devices.count, devices.memory_bytes, devices.jobs) == (4, host_memory(), 2)


def test_a_job_has_the_devices_of_all_its_hosts() -> None:
    two = job_devices(Layout("cpu", (Slot(),), devices=3, hosts=2))
    assert (two.count, two.memory_bytes) == (6, 2 * host_memory())
    assert job_devices(Layout("tpu", (Slot(),), devices=4, hosts=2)).count == 8


def gpu_bytes(*slots: Slot) -> int | None:
    return job_devices(Layout("gpu", slots or (Slot(),))).memory_bytes


def test_a_gpu_has_what_its_maker_states(monkeypatch: pytest.MonkeyPatch) -> None:
    there_are = [Gpu("NVIDIA H200", "GPU-aa"), Gpu("NVIDIA H100 80GB HBM3", "GPU-bb")]
    monkeypatch.setattr(memory, "gpus", lambda: there_are)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    assert gpu_bytes() == 80e9
    assert gpu_bytes(Slot(memory=0.45), Slot(memory=0.3)) == 24e9
    there_are.append(Gpu("Abacus 3", "GPU-cc"))
    unknown = job_devices(Layout("gpu", (Slot(),), devices=None, hosts=2))
    assert (unknown.count, unknown.memory_bytes) == (1, None)
    assert job_devices(Layout("tpu", (Slot(),))).memory_bytes is None


FORCED = plan_of(
    family__widths=[16],
    data__context=32,
    recipe__batch_tokens=2**17,
    execution={"devices": 2, "workers": 1, "device": "cpu"},
)
WHOLE = lower(FORCED, JobDevices("cpu", 2)).largest.memory.total


def give(monkeypatch: pytest.MonkeyPatch, room: float) -> None:
    """Let two forced devices have so many times what the job holds in one piece by arithmetic."""
    allowed = 2 * room * WHOLE + PROCESS_BYTES
    monkeypatch.setattr(memory, "host_memory", lambda: int(allowed / FULL) + 2)


@pytest.mark.slow
def test_a_program_is_compiled_on_forced_devices_and_cut_where_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    said = list[str]()
    give(monkeypatch, 1.02)
    made = lowered_here(FORCED, FORCED.execution, ResultsFolder(tmp_path), said.append)
    assert made and made.largest.lowering == Lowering(mesh=MeshSizes(data=2), micro_batches=2)
    plain = made.largest.plain_compiled
    assert plain and 1.02 < plain / WHOLE < 1.25, "of one of the two devices"
    assert any("2048 of 4096 sequences" in note and "as compiled" in note for note in made.notes())
    assert len(said) == 1 and "compiling a program" in said[0]
    assert (
        lowered_here(FORCED, FORCED.execution, ResultsFolder(tmp_path), said.append) == made
        and len(said) == 1
    )


def test_without_an_answer_arithmetic_lays_jobs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    environments, said = list[dict[str, str]](), list[str]()

    def fail(asked: object, known: object, environment: dict[str, str]) -> None:
        environments.append(environment)
        raise ProbeFailed("no compiler")

    monkeypatch.setattr(memory, "ask_compiler", fail)
    give(monkeypatch, 1.02)
    made = lowered_here(FORCED, FORCED.execution, ResultsFolder(tmp_path), said.append)
    assert made and made.largest.lowering.micro_batches == 1 and made.largest.compiled is None
    assert said[1:] == ["what jobs hold is by arithmetic alone: no compiler"]
    assert "device_count=2" in environments[0]["XLA_FLAGS"], "that of the job"
    give(monkeypatch, 4)
    assert (
        lowered_here(FORCED, FORCED.execution, ResultsFolder(tmp_path), said.append)
        and len(environments) == 1
    )
    give(monkeypatch, 0.001)
    with pytest.raises(UserError, match="by arithmetic"):
        lowered_here(FORCED, FORCED.execution, ResultsFolder(tmp_path), said.append)
    assert len(environments) == 1, "it cannot fit"


def test_of_gpus_those_count_that_jobs_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    there_are = [
        Gpu("NVIDIA A10", "GPU-aa"),
        Gpu("NVIDIA H200", "GPU-bb"),
        Gpu("NVIDIA H200", "GPU-bc", True),
    ]
    monkeypatch.setattr(memory, "gpus", lambda: there_are)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bb")
    assert gpu_bytes() == 141e9
    assert gpu_bytes(Slot(devices=("GPU-aa",)), Slot(devices=("GPU-bb",))) == 24e9
    for slice_of_a_chip in ("GPU-bc", "MIG-11d0", "GPU-bb,MIG-11d0", "GPU-b"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", slice_of_a_chip)
        assert gpu_bytes() is None, slice_of_a_chip
    there_are.pop()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu_bytes() == 24e9, "numbers go by speed: any may be meant"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert gpu_bytes() == 141e9
