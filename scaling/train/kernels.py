"""Which kernel attention is computed by: the device's own where it can be used, seen by trying it once."""

from __future__ import annotations

import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from scaling.counts.lowering import Kernel
from scaling.counts.shape import Shape
from scaling.model.attention import causal_attention
from scaling.model.attention_rule import Rule
from scaling.model.flash_attention import unmet
from scaling.model.products import PRODUCTS
from scaling.recipe.precision import Precision

OWN: dict[str, Kernel] = {"cpu": "blocked", "gpu": "cudnn", "tpu": "splash"}
TOLERANCE = 0.03  # of outputs and gradients, as a share of their norm: bfloat16 has three digits


def attention_kernel(shape: Shape, precision: Precision) -> Kernel:
    """Return the kernel for a model on this device; where its own cannot be used, say so."""
    device = jax.local_devices()[0]
    kernel = OWN.get(device.platform, "blocked")
    reason = unmet(kernel, shape, precision) or _failure(kernel, shape, precision)
    if reason is None:
        return kernel
    print(
        f"WARNING: attention by {kernel}, the kernel for {device.device_kind}, cannot be used: {reason}; "
        "blocked attention takes its place: the same numbers up to rounding, but slower and in more memory",
        file=sys.stderr,
        flush=True,
    )
    return "blocked"


@cache
def _failure(kernel: Kernel, shape: Shape, precision: Precision) -> str | None:
    """Try a kernel forward and backward on a sequence, by each rule of the model's layers; say how it failed,
    or None where it gives what blocked attention gives."""
    if kernel == "blocked":
        return None
    for window in dict.fromkeys(shape.windows):
        rule = Rule(window, shape.attention_softcap, PRODUCTS[precision])
        try:
            own, blocked = (_outcome(shape, rule, name) for name in (kernel, "blocked"))
        except Exception as error:  # whatever a library raises, training goes on without its kernel
            return " ".join(f"{type(error).__name__}: {error}".split())[:300]
        error = np.max([np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in zip(own, blocked, strict=True)])
        if not error <= TOLERANCE:
            return f"its numbers are off by {error:.1%}"
    return None


def _outcome(shape: Shape, rule: Rule, kernel: Kernel) -> list[np.ndarray]:
    """Return what attention gives for random factors, and the gradients of these."""
    rng = np.random.default_rng(0)
    dims = [(1, shape.context, heads, shape.head_dim) for heads in (shape.heads, *(shape.kv_heads,) * 2)]
    factors = [jnp.asarray(rng.standard_normal(size), jnp.bfloat16).astype(jnp.float32) for size in dims]
    documents_BxT = None
    if shape.separator is not None:
        documents_BxT = jnp.asarray(np.arange(shape.context)[None] * 3 // shape.context, jnp.int32)

    def scalar(*factors: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = causal_attention(*factors, rule=rule, documents_BxT=documents_BxT, kernel=kernel)
        return jnp.square(out).sum(), out

    program = jax.jit(jax.value_and_grad(scalar, argnums=(0, 1, 2), has_aux=True))
    (_, out), gradients = program(*factors)
    return [np.asarray(x) for x in (out, *gradients)]
