"""The training step and the chunk: golden values, independence of chunking and devices, non-finite losses."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.model.roles import init_params
from scaling.model.transformer import make_model
from scaling.recipe.auxiliary import Auxiliary
from scaling.recipe.optimizers import SGD
from scaling.train.feed import Feed
from scaling.train.loop import advance
from scaling.train.optimizers import make_optimizer, numbers_of
from scaling.train.program import Blueprint, make_program
from scaling.train.step import TrainState, train_step
from tests.train.runs import TINY, make_run

RUN = make_run()
# Each window counts upwards from a random start: something that a small model learns at once.
WINDOWS = ((np.random.default_rng(7).integers(0, 64, (RUN.steps, 8, 1)) + np.arange(33)) % 64).astype(
    np.int32
)


class Text(NamedTuple):
    """The windows of every step, as a store."""

    windows: np.ndarray

    def train_batches(self, seed, first_step, n_steps, batch_sequences):
        return self.windows[first_step : first_step + n_steps]


@pytest.fixture(scope="module")
def program():
    return make_program(Blueprint.of(RUN, 16))


def train(program, stops, run=RUN, windows=WINDOWS):
    """Train to the last of ``stops``, beginning a new segment at each of the others."""
    state, metrics = program.start(run.seed), []
    feed = Feed(program, Text(windows))
    for first, last in zip([0, *stops], stops, strict=False):
        for step, latest, values in advance(program, state, run, feed.chunks(run.seed, first, last)):
            state = latest
            metrics.append((step, jax.device_get(values)))
    return jax.device_get(state), metrics


def test_golden_training(program):
    """Golden: regenerate by printing the left-hand sides. That is right only with a change that is meant to
    alter the numbers of training, which also raises SEMANTICS in scaling/run.py; a new version of jax
    or another processor may move the last digits, not the first five."""
    state, metrics = train(program, [40])
    norms = {name: float(np.linalg.norm(state.params[name])) for name in GOLDEN_NORMS}
    assert [
        float(np.mean(values.steps.trained.loss[:live]))
        for live, (_, values) in zip((16, 16, 8), metrics, strict=True)
    ] == pytest.approx(GOLDEN_LOSSES, rel=2e-5)
    assert norms == pytest.approx(GOLDEN_NORMS, rel=2e-5)


GOLDEN_LOSSES = [4.5919533, 1.9516734, 0.76386058]
GOLDEN_NORMS = {
    "embedding/table": 63.887814,
    "blocks/query/kernel": 4.3660007,
    "final_norm/gain": 5.1930027,
}


def test_where_chunks_end_does_not_change_a_bit(program):
    whole, metrics = train(program, [40])
    pieces, _ = train(program, [3, 16, 29, 40])
    assert [step for step, _ in metrics] == [16, 32, 40]
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(pieces), strict=True):
        np.testing.assert_array_equal(one, other)


def test_first_step_is_adamw_by_hand(program):
    """After one step from zero moments, Adam's direction is g / (|g| + eps); only matrices decay."""
    run = make_run()
    state, _ = train(program, [1], run)
    start, rate = init_params(TINY, run.seed), run.learning_rates(0, 1)[0]
    # The head starts at 0, so the first gradient is 0 everywhere but in the head itself.
    moved = state.params["head/kernel"] - start["head/kernel"]
    assert np.median(np.abs(moved)) == pytest.approx(rate, rel=1e-3)
    np.testing.assert_allclose(
        state.params["blocks/up/kernel"], start["blocks/up/kernel"] * (1 - rate * 0.1), rtol=1e-6
    )
    np.testing.assert_array_equal(state.params["final_norm/gain"], start["final_norm/gain"])
    np.testing.assert_array_equal(state.params["embedding/table"], start["embedding/table"])


def test_auxiliary_losses_are_trained_on_and_not_logged():
    def step(auxiliary):
        model = make_model(TINY, auxiliary=auxiliary)
        update = make_optimizer(TINY, PLAIN.structure, numbers_of(PLAIN), 0.1)
        params = {name: jnp.asarray(array) for name, array in init_params(TINY, 0).items()}
        params["head/kernel"] += params["embedding/table"].T / 8
        state = TrainState(params, update.init(params), jnp.int32(0), jnp.array(True), jnp.float32(0))
        new, trained, _ = train_step(model, update, state, WINDOWS[0])
        return new, trained.loss

    (plain, loss), (other, logged) = jax.jit(lambda: (step(None), step(Auxiliary(z_loss=0.5))))()
    np.testing.assert_allclose([loss, plain.smooth_loss, other.smooth_loss], logged, rtol=1e-6)
    before, after = plain.params["head/kernel"], other.params["head/kernel"]
    assert np.linalg.norm(after - before) > 1e-3


PLAIN = SGD(kind="sgd", learning_rate=0.1)


def test_non_finite_loss_freezes_the_state(program):
    run = make_run(learning_rate=1e30)
    state, metrics = train(program, [40], run)
    assert not state.ok and 0 < state.step < 40
    before, _ = train(program, [int(state.step)], run)
    for one, other in zip(jax.tree.leaves(before.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [bool(values.ok) for _, values in metrics][-1] is False
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
