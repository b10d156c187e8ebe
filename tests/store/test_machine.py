from __future__ import annotations

from pathlib import Path

from scaling.store.machine import Gpu, gpus

INFORMATION = """Model: \t\t {model}
IRQ:   \t\t 16
GPU UUID: \t {uuid}
Bus Location: \t 0000:0{n}:00.0
Device Minor: \t {n}
"""


def test_gpus_as_their_driver_tells(tmp_path: Path) -> None:
    for n, (model, uuid) in enumerate([("NVIDIA H200", "GPU-aa"), ("NVIDIA A10", "GPU-bb")]):
        folder = tmp_path / "gpus" / f"0000:0{n}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(INFORMATION.format(model=model, uuid=uuid, n=n))
        (tmp_path / f"capabilities/gpu{n}/mig").mkdir(parents=True)
    (tmp_path / "capabilities/gpu1/mig/gi3").mkdir()
    assert gpus(tmp_path) == [Gpu("NVIDIA H200", "GPU-aa"), Gpu("NVIDIA A10", "GPU-bb", sliced=True)]
    assert gpus(tmp_path / "nowhere") == []
