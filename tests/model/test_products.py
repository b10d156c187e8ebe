"""The precision of matrix products, as it stands in the lowered program and in the numbers."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.stages import Traced

from scaling.model.linear import linear
from scaling.model.products import PRODUCTS
from scaling.model.roles import abstract_params
from scaling.model.transformer import make_model
from scaling.recipe.optimizers import OPTIMIZERS
from scaling.recipe.precision import Precision
from scaling.train.optimizers import make_optimizer, number_names
from scaling.train.program import Blueprint, abstract_state
from scaling.train.step import train_step
from tests.model.options import random_params, shape_of, windows
from tests.train.runs import make_run

HIGHEST = "precision = [HIGHEST, HIGHEST] : (f32, f32) -> f32"
IN_PROGRAM: dict[Precision, str] = {
    "float32": HIGHEST,
    "tf32": "algorithm tf32 tf32 f32 : (f32, f32) -> f32",
    "bfloat16": "algorithm bf16 bf16 f32 : (bf16, bf16) -> f32",
}
PLATFORMS: dict[Precision, tuple[str, ...]] = {
    "float32": ("cpu", "cuda", "tpu"),
    "tf32": ("cuda",),
    "bfloat16": ("cpu", "cuda", "tpu"),
}
# XLA multiplies only some shapes in bfloat16 on a CPU: there the rounded factors are float32.
ON_CPU = IN_PROGRAM | {"bfloat16": HIGHEST}
ALGORITHM = (
    r"algorithm = <lhs_precision_type = (\w+), rhs_precision_type = (\w+), accumulation_type = (\w+), "
    r"lhs_component_count = 1, rhs_component_count = 1, num_primitive_operations = 1, "
    r"allow_imprecise_accumulation = false>"
)
TYPES = r": \(tensor<[^>]*?(b?f\d+)>, tensor<[^>]*?(b?f\d+)>\) -> tensor<[^>]*?(b?f\d+)>"


def products_of(traced: Traced, platform: str) -> set[str]:
    """Return what the lowered program says of its matrix products."""
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert not re.search(r"ragged_dot|stablehlo\.(dot |convolution)|custom_call", text)
    lines = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert lines
    return {_summary(line) for line in lines}


def _summary(line: str) -> str:
    algorithm, types = re.search(ALGORITHM, line), re.search(TYPES, line)
    assert types, line
    precision = re.search(r"precision = \[\w+, \w+\]", line)
    how = " ".join(("algorithm", *algorithm.groups())) if algorithm else precision and precision[0]
    return f"{how} : ({types[1]}, {types[2]}) -> {types[3]}"


@pytest.mark.parametrize("precision", PLATFORMS)
def test_every_product_of_loss_and_gradients_says_its_precision(precision: Precision) -> None:
    shape = shape_of("tied", depth=1)
    arguments = abstract_params(shape), windows(shape)
    for dense in (False, True):
        model = make_model(shape, precision=precision, dense=dense)
        traced = jax.jit(jax.value_and_grad(model.objective, has_aux=True)).trace(*arguments)
        for platform in PLATFORMS[precision]:
            expected = (ON_CPU if platform == "cpu" else IN_PROGRAM)[precision]
            assert products_of(traced, platform) == {expected}, platform


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_so_does_every_product_of_the_optimizer(kind: str) -> None:
    """Its own products, as Muon has them, are float32 in a run of any precision."""
    optimizer = OPTIMIZERS[kind](kind=kind, learning_rate=0.1)
    run = make_run(optimizer=optimizer).model_copy(update={"precision": "bfloat16"})
    blueprint = Blueprint.of(run, 1)
    model = make_model(run.shape, precision=run.precision)

    def step(state: Any, window: jax.Array, numbers: dict[str, jax.Array]) -> Any:
        update = make_optimizer(run.shape, blueprint.optimizer, numbers, 0.1)
        return train_step(model, update, state, window)

    numbers = dict.fromkeys(number_names(blueprint.optimizer), np.float32(0.5))
    window = np.zeros((2, run.shape.context + 1), np.int32)
    found = products_of(jax.jit(step).trace(abstract_state(blueprint), window, numbers), "cuda")
    assert IN_PROGRAM["bfloat16"] in found <= {IN_PROGRAM["bfloat16"], HIGHEST}


def test_state_and_gradients_are_float32() -> None:
    run = make_run().model_copy(update={"precision": "bfloat16"})
    model, params = make_model(run.shape, precision="bfloat16"), abstract_params(run.shape)
    window = np.zeros((2, run.shape.context + 1), np.int32)
    computed = jax.eval_shape(jax.value_and_grad(model.objective, has_aux=True), params, window)
    leaves = jax.tree.leaves((computed, abstract_state(Blueprint.of(run, 1)).moments))
    assert {leaf.dtype.name for leaf in leaves} <= {"float32", "int32"}


def rounded(array: np.ndarray) -> np.ndarray:
    return array.astype(jnp.bfloat16).astype(np.float64)


def test_bfloat16_rounds_factors_and_nothing_else() -> None:
    chance = np.random.default_rng(0)
    for outputs in (24, 40):  # the two layouts of a weight's gradient
        dims = (64, 32), (32, outputs), (64, outputs)
        x, w, grad = (chance.standard_normal(d).astype(np.float32) for d in dims)
        y, back = jax.vjp(lambda x, w: linear(PRODUCTS["bfloat16"], x, w), x, w)
        dx, dw = back(jnp.asarray(grad))
        np.testing.assert_allclose(y, rounded(x) @ rounded(w), atol=1e-5)
        np.testing.assert_allclose(dx, rounded(grad) @ rounded(w).T, atol=1e-5)
        np.testing.assert_allclose(dw, rounded(x).T @ rounded(grad), atol=1e-5)


@pytest.mark.slow
def test_bfloat16_is_near_float32_in_loss_and_gradients() -> None:
    shape = shape_of("tied", depth=1)
    params, window = random_params(shape), windows(shape)
    exact, near = (
        jax.jit(jax.value_and_grad(make_model(shape, precision=precision).objective, has_aux=True))(
            params, window
        )
        for precision in ("float32", "bfloat16")
    )
    losses = float(near[0][0]), float(exact[0][0])
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=2e-3)
    for name, grad in exact[1].items():
        assert np.linalg.norm(near[1][name] - grad) < 0.03 * np.linalg.norm(grad), name
