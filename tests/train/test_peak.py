"""How fast and how full devices are."""

from __future__ import annotations

from types import SimpleNamespace

import jax
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


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of a CPU")
def test_memory_of_a_processor_is_that_of_the_process():
    assert (peak.peak_memory() or 0) > 5e7
