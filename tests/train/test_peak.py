"""How fast and how full devices are."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from scaling.counts.chips import CHIPS
from scaling.train import peak


def test_a_processor_is_measured_once_on_a_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    peak._product_flops.cache_clear()
    first = peak.peak_flops("float32", 1)
    assert first is not None and 1e8 < first < 1e13
    assert peak.peak_flops("float32", 4) == 4 * first
    peak._product_flops.cache_clear()
    monkeypatch.setattr(peak, "TRIES", 0)  # measured again it would fail
    assert peak.peak_flops("bfloat16", 1) == first
    peak._product_flops.cache_clear()


def test_an_accelerator_has_what_its_maker_states(monkeypatch):
    full = SimpleNamespace(
        platform="gpu", device_kind="NVIDIA H200", memory_stats=lambda: {"peak_bytes_in_use": 7}
    )
    empty = SimpleNamespace(platform="gpu", device_kind="NVIDIA H200", memory_stats=lambda: None)
    monkeypatch.setattr(jax, "local_devices", lambda: [full, empty])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert peak.peak_flops("bfloat16", 1) == CHIPS["NVIDIA H200"].bfloat16
    assert peak.peak_memory() == 7
    full.device_kind = "Abacus 3"
    assert peak.peak_flops("bfloat16", 1) is None


@pytest.mark.skipif(jax.default_backend() != "cpu" or sys.platform != "linux", reason="of a CPU of Linux")
def test_memory_of_a_processor_is_that_of_the_process_since_a_job_began(tmp_path, monkeypatch):
    memory = peak.PeakMemory()
    at_first = memory.most()
    np.ones(25_000_000)
    with_array = memory.most()
    assert at_first and with_array and 5e7 < at_first < with_array - 1.5e8
    memory.begin()
    assert memory.most() < with_array - 1.5e8
    monkeypatch.setattr(peak, "CLEAR", tmp_path / "none" / "clear_refs")
    memory.begin()
    assert memory.most() is None, "no more than before: it may be of an earlier job"
    np.ones(50_000_000)
    assert memory.most() > with_array


def test_an_accelerator_does_not_forget(monkeypatch):
    stats = {"peak_bytes_in_use": 7}
    device = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    memory = peak.PeakMemory()
    assert memory.most() is None
    stats["peak_bytes_in_use"] = 9
    assert memory.most() == 9
