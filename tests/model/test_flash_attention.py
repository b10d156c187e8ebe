"""Attention by the kernels of accelerators' libraries, against dense attention: splash attention interpreted
on a CPU, cuDNN's where there is a GPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.counts.lowering import Kernel
from scaling.model import flash_attention as module
from scaling.model.attention import causal_attention
from scaling.model.attention_rule import Rule, is_kept
from scaling.model.flash_attention import flash_attention, unmet
from scaling.model.placement import Axes, Placement
from scaling.model.products import PRODUCTS
from tests.model.options import shape_of

PLACE = Placement()
BFLOAT16 = PRODUCTS["bfloat16"]


def draw(t: int, h: int, g: int, k: int) -> tuple[jax.Array, ...]:
    """Queries, keys, values and the gradient of what comes out, all of them factors in bfloat16."""
    rng = np.random.default_rng(t + h + g + k)
    dims = [(2, t, heads, k) for heads in (h, g, g, h)]
    return tuple(jnp.asarray(rng.standard_normal(d), jnp.bfloat16).astype(jnp.float32) for d in dims)


def out_and_gradients(attend: Any, q: Any, k: Any, v: Any, cotangent: Any) -> list[np.ndarray]:
    def scalar(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = attend(q, k, v).astype(jnp.float32)
        return jnp.vdot(out, cotangent), out

    (_, out), gradients = jax.jit(jax.value_and_grad(scalar, argnums=(0, 1, 2), has_aux=True))(q, k, v)
    return [np.asarray(x) for x in (out, *gradients)]


def assert_close(ours: list[np.ndarray], theirs: list[np.ndarray], tolerance: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert np.linalg.norm(one - other) < tolerance * np.linalg.norm(other)


CASES = {
    "grouped": (Rule(products=BFLOAT16), False),
    "all": (Rule(70, 3.0, BFLOAT16), True),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all", "grouped"])
def test_splash_attention_equals_dense_attention(name: str) -> None:
    """Three blocks of a sequence, two heads that share keys; rounding is far below 1 %."""
    (rule, cut), (q, k, v, cotangent) = CASES[name], draw(384, 2, 1, 8)
    documents = jnp.asarray([np.digitize(np.arange(384), [30, 200]), np.arange(384) == 383], jnp.int32)
    documents = documents if cut else None

    def splash(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return flash_attention("splash", rule, q, k, v, documents, place=PLACE, interpret=True)

    dense = partial(causal_attention, rule=rule, documents_BxT=documents, scale=1.0, kernel="dense")
    arrays = q, k, v, cotangent
    assert_close(out_and_gradients(splash, *arrays), out_and_gradients(dense, *arrays), 0.01)


class Cut(Placement):
    """Two devices that share heads, called one after the other."""

    def __init__(self) -> None:
        self.seen: list[list[tuple[int, ...]]] = []

    def parts(self, axis: str) -> int:
        return 2 if axis in ("heads", "kv_heads") else 1

    def each_device(self, function: Any, axes: Any, out: Axes) -> Any:
        def call(*arrays: jax.Array) -> jax.Array:
            parts = [
                [x for x in jnp.split(array, self.parts(names[2]), axis=2)]
                for array, names in zip(arrays, axes, strict=True)
            ]
            self.seen += [[x.shape for x in own] for own in zip(*parts, strict=True)]
            return jnp.concatenate([function(*own) for own in zip(*parts, strict=True)], axis=2)

        return call


def test_a_device_gets_its_own_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(window: int | None, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return causal_attention(q, k, v, rule=Rule(window), scale=1.0, kernel="dense")

    monkeypatch.setattr(module, "_cudnn", fake)
    (q, k, v, _), cut, rule = draw(6, 4, 2, 8), Cut(), Rule(window=3, products=BFLOAT16)
    attend = partial(causal_attention, rule=rule, kernel="cudnn")
    whole, in_parts = (jax.jit(partial(attend, place=place))(q, k, v) for place in (PLACE, cut))
    np.testing.assert_allclose(in_parts, whole, rtol=1e-6, atol=1e-6)
    assert cut.seen == [[(2, 6, 2, 8), (2, 6, 1, 8), (2, 6, 1, 8)]] * 2
    dense = jax.jit(partial(causal_attention, rule=rule, kernel="dense"))
    np.testing.assert_allclose(whole, dense(q, k, v), rtol=0.02, atol=0.02)


@pytest.fixture
def cudnn_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let cuDNN's calls be lowered without the library, which is asked for its version alone."""
    stablehlo = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo", reason="another jax")
    monkeypatch.setattr(stablehlo, "check_cudnn_version", lambda: 91002)


@pytest.mark.usefixtures("cudnn_version")
def test_cudnn_attention_lowers_and_remembers() -> None:
    """One forward call, though all that is not kept is computed again; what calls compute is not seen."""
    rule, (q, k, v, _) = Rule(window=70, products=BFLOAT16), draw(256, 4, 2, 64)

    @partial(jax.checkpoint, policy=is_kept)
    def attend(*factors: jax.Array) -> jax.Array:
        return jnp.sin(causal_attention(*factors, rule=rule, kernel="cudnn"))

    traced = jax.jit(jax.grad(lambda *factors: attend(*factors).sum(), argnums=(0, 1, 2))).trace(q, k, v)
    module = traced.lower(lowering_platforms=("cuda",)).as_text()
    for call in ("fmhaSoftmax", "fmhaSoftmaxBackward"):
        [line] = (line for line in module.splitlines() if f"@__cudnn${call}(" in line)
        line = line.replace(r"\22", '"')  # quotes, as MLIR writes them
        assert '"sliding_window_length": 70' in line and '"mask_type": "CAUSAL"' in line


@pytest.mark.gpu
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN comes with jax[cuda12] or jax[cuda13]")
@pytest.mark.parametrize("window", [None, 70])
def test_cudnn_attention_equals_dense_attention(window: int | None) -> None:
    rule, arrays = Rule(window=window, products=BFLOAT16), draw(256, 4, 2, 64)

    def attend(kernel: Any) -> Any:
        return partial(causal_attention, rule=rule, kernel=kernel)

    assert_close(
        out_and_gradients(attend("cudnn"), *arrays), out_and_gradients(attend("dense"), *arrays), 0.02
    )


@pytest.mark.parametrize(
    ("kernel", "option", "precision", "reason"),
    [
        ("blocked", "gemma-like", "float32", None),
        ("cudnn", "plain", "bfloat16", None),
        ("cudnn", "full-every", "bfloat16", None),
        ("cudnn", "plain", "tf32", "it multiplies in bfloat16, and recipe.precision is tf32"),
        ("cudnn", "attention-softcap", "bfloat16", "it has no attention_softcap"),
        ("cudnn", "documents", "bfloat16", "it cannot keep documents apart"),
        ("splash", "gemma-like", "bfloat16", None),
        ("splash", "plain", "float32", "it multiplies in bfloat16, and recipe.precision is float32"),
    ],
)
def test_what_a_kernel_lacks(kernel: Kernel, option: str, precision: Any, reason: str | None) -> None:
    assert unmet(kernel, shape_of(option, context=256), precision) == reason


def test_sizes_that_a_kernel_does_not_take() -> None:
    assert unmet("splash", shape_of("plain", context=96), "bfloat16") == (
        "the context is 96, no multiple of 128"
    )
    for size in (12, 264):
        expected = f"head_dim is {size}, no multiple of 8 up to 256"
        assert unmet("cudnn", shape_of("plain", head_dim=size), "bfloat16") == expected
