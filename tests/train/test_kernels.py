"""The kernel of attention: the device's own where it works, else blocked attention, loudly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import pytest

from scaling.model import attention
from scaling.model.attention_rule import Rule
from scaling.model.blocked_attention import plain_attention
from scaling.train import kernels
from scaling.train.kernels import attention_kernel
from tests.model.options import shape_of

SHAPE = shape_of("plain", depth=1, context=8)


@pytest.fixture(autouse=True)
def nothing_tried_yet() -> None:
    kernels._failure.cache_clear()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(platform="gpu", device_kind="NVIDIA H200")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])


def kernel_that_gives(factor: float, tried: list[Rule], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put blocked attention, its results times a factor, in the place of an accelerator's kernel."""

    def fake(kernel: str, rule: Rule, *inputs: Any, place: Any) -> jax.Array:
        tried.append(rule)
        return factor * plain_attention(rule, *inputs, dense=False)

    monkeypatch.setattr(attention, "flash_attention", fake)


def test_a_cpu_has_blocked_attention_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert attention_kernel(SHAPE, "bfloat16") == "blocked"
    assert not capsys.readouterr().err


@pytest.mark.usefixtures("gpu")
def test_a_kernel_that_works_is_tried_once_for_each_window(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel_that_gives(1.0, tried := [], monkeypatch)
    shape = shape_of("full-every", context=8)
    assert [attention_kernel(shape, "bfloat16") for _ in range(2)] == ["cudnn"] * 2
    assert [rule.window for rule in tried] == [5, None]
    assert not capsys.readouterr().err


@pytest.mark.usefixtures("gpu")
def test_a_kernel_whose_numbers_are_off_is_not_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel_that_gives(1.1, [], monkeypatch)
    assert attention_kernel(SHAPE, "bfloat16") == "blocked"
    assert "its numbers are off by" in capsys.readouterr().err
    kernels._failure.cache_clear()
    kernel_that_gives(float("nan"), [], monkeypatch)
    assert attention_kernel(SHAPE, "bfloat16") == "blocked"


@pytest.mark.usefixtures("gpu")
def test_a_host_without_the_library_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert attention_kernel(SHAPE, "bfloat16") == "blocked"
    printed = capsys.readouterr().err
    assert printed.startswith(
        "WARNING: attention by cudnn, the kernel for NVIDIA H200, cannot be used: Runtime"
    )
    assert printed.count("\n") == 1


@pytest.mark.usefixtures("gpu")
def test_a_model_that_the_kernel_does_not_take_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel_that_gives(1.0, tried := [], monkeypatch)
    assert attention_kernel(SHAPE, "float32") == "blocked"
    assert "it multiplies in bfloat16, and recipe.precision is float32" in capsys.readouterr().err
    assert not tried


@pytest.mark.gpu
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN comes with jax[cuda12] or jax[cuda13]")
def test_a_gpu_has_cudnn() -> None:
    shape = shape_of("window", context=256, head_dim=64)
    assert attention_kernel(shape, "bfloat16") == "cudnn"
