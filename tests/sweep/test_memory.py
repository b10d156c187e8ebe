from __future__ import annotations

import os
from pathlib import Path

import pytest

from scaling.store.machine import Gpu
from scaling.sweep import memory
from scaling.sweep.machine import Layout, Slot
from scaling.sweep.memory import host_memory, job_devices

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
