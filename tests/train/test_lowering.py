"""Micro-batches, rematerialisation and chunks of logits: the same numbers in less memory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.counts.lowering import Lowering, MeshSizes
from scaling.counts.shape import Experts
from scaling.errors import UserError
from scaling.model.roles import init_params
from scaling.recipe.auxiliary import Auxiliary
from scaling.train.program import Blueprint, compiled, lower_program, model_of, step_of
from scaling.train.sharding import make_mesh
from scaling.train.step import gradients
from tests.train.runs import TINY, make_run

SHAPE = replace(TINY, depth=2, window=8, full_every=2, logit_softcap=5.0)
RUN = make_run(shape=SHAPE).model_copy(update={"auxiliary": Auxiliary(z_loss=0.01)})
WINDOWS = np.random.default_rng(0).integers(0, 256, (8, SHAPE.context + 1), np.int32)


def losses_and_gradients(lowering):
    params = {name: jnp.asarray(array) for name, array in init_params(SHAPE, 0).items()}
    params["head/kernel"] += params["embedding/table"].T / 8
    model = model_of(Blueprint.of(RUN, 1, lowering=lowering))
    step = jax.jit(lambda params, windows: gradients(model, params, windows, lowering.micro_batches))
    trained, grads = step(params, WINDOWS)
    return trained.loss, grads, jax.jit(model.token_losses)(params, WINDOWS)


@pytest.fixture(scope="module")
def whole():
    return losses_and_gradients(Lowering())


@pytest.mark.parametrize(
    "lowering",
    [
        Lowering(micro_batches=4),
        Lowering(remat="block", logit_chunks=8),
        Lowering(remat="full", micro_batches=2, logit_chunks=2),
    ],
)
def test_numbers_are_those_of_the_whole_batch(whole, lowering):
    for one, other in zip(
        jax.tree.leaves(losses_and_gradients(lowering)), jax.tree.leaves(whole), strict=True
    ):
        assert np.linalg.norm(one - other) < 1e-6 * np.linalg.norm(other)


def test_experts_take_a_batch_whole():
    run = make_run(shape=replace(TINY, experts=Experts(count=2, active=1)))
    with pytest.raises(UserError, match=r"experts is not taken in parts, as 2 are asked for"):
        step_of(Blueprint.of(run, 1, lowering=Lowering(micro_batches=2)))


@pytest.mark.slow
def test_memory_falls():
    """Temporary memory of a compiled step, by what of it each option saves."""
    batch, context, vocab, depth, width = 8, 256, 2048, 6, 64
    shape = replace(TINY, depth=depth, width=width, mlp_width=256, context=context, vocab_size=vocab)
    run = make_run(shape=shape, batch_sequences=batch)

    def temporary(**options):
        lowered = lower_program(
            Blueprint.of(run, 1, lowering=Lowering(**options)), make_mesh(MeshSizes(), batch)
        )
        return compiled(lowered).memory_analysis().temp_size_in_bytes

    plain, logits, stream = temporary(), 4 * batch * context * vocab, 4 * batch * context * width
    assert temporary(logit_chunks=8) < plain - logits / 2
    block, full = temporary(remat="block", logit_chunks=8), temporary(remat="full", logit_chunks=8)
    assert full < block - stream / 2 < temporary(logit_chunks=8) - stream * depth
    assert temporary(micro_batches=8, remat="full", logit_chunks=8) < full / 2
