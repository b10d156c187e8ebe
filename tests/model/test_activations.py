"""Activations by place: what the model computes, named."""

import jax
import numpy as np
import pytest

from scaling.counts.shape import Shape
from scaling.model.activations import PLACES, activations
from scaling.model.roles import init_params
from scaling.model.transformer import make_model

SHAPE = Shape(
    depth=3, width=16, heads=2, kv_heads=2, head_dim=8, mlp_width=40, vocab_size=64, context=16
)  # fmt: skip


@pytest.mark.parametrize("unroll", [True, 1])
def test_places_are_the_terms_of_the_forward_pass(unroll):
    params = init_params(SHAPE, 0)
    params["head/kernel"] = np.random.default_rng(0).normal(size=(16, 64)).astype(np.float32)
    tokens = jax.numpy.asarray(np.random.default_rng(1).integers(0, 64, (2, 16)))
    model = make_model(SHAPE, unroll=unroll)
    seen = jax.device_get(jax.jit(lambda params: activations(model, params, tokens))(params))
    assert {*seen} == {*PLACES} and seen["mlp"].shape == (3, 2, 16, 16)
    stream = seen["embedding"][0]
    assert np.array_equal(stream, params["embedding/table"][tokens])
    for layer in range(3):
        stream = stream + seen["attention"][layer] + seen["mlp"][layer]
        assert seen["residual"][layer] == pytest.approx(stream, abs=1e-5)
    assert seen["logits"][0] == pytest.approx(np.asarray(model.logits(params, tokens)), abs=1e-4)
