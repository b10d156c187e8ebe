from __future__ import annotations

from scaling.counts.chips import CHIPS, chip_of


def test_a_chip_is_found_by_the_longest_words_that_fit() -> None:
    assert chip_of("NVIDIA H100 80GB HBM3") is CHIPS["NVIDIA H100"]
    assert chip_of("NVIDIA H100 PCIe") is CHIPS["NVIDIA H100 PCIe"]
    assert chip_of("NVIDIA A100-SXM4-40GB") is CHIPS["NVIDIA A100"]
    assert chip_of("NVIDIA A10G") is CHIPS["NVIDIA A10G"]
    assert chip_of("TPU v5 lite") is CHIPS["TPU v5 lite"]
    assert chip_of("NVIDIA L40") is None and chip_of("cpu") is None


def test_peaks_by_precision() -> None:
    h200, tpu = CHIPS["NVIDIA H200"], CHIPS["TPU v4"]
    assert h200.peak_flops("bfloat16") == 2 * (h200.peak_flops("tf32") or 0)
    assert tpu.peak_flops("tf32") is None and tpu.peak_flops("float32") == tpu.bfloat16 / 6
