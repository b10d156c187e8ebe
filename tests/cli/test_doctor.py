from __future__ import annotations

import pytest

from scaling.cli import doctor


def test_gpus_are_named_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_device", lambda environ: "gpu")
    monkeypatch.setattr(doctor, "gpu_models", lambda: ["NVIDIA H200", "Abacus 3", "NVIDIA H200"])
    found = doctor._device().found
    assert found.startswith("gpu (2 x NVIDIA H200, 141 GB each; 1 x Abacus 3), ")
