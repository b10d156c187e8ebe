"""Routing, and products by expert, against plain ones; all compiled, which takes less time than one operation
after the other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.model import experts
from scaling.model.experts import BLOCK, MLPs, Routes, grouped, route, through_experts
from scaling.model.products import PRODUCTS

PRODUCT = PRODUCTS["float32"]
# An empty expert, one of a single row, one of a whole block, one of more.
STARTS = jnp.asarray(np.cumsum([0, 7, 0, 1, BLOCK, 2 * BLOCK + 5]))


def normal(*dims: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(dims)).normal(size=dims), jnp.float32)


def test_rows_are_multiplied_by_their_experts_matrix():
    rows = int(STARTS[-1])
    x, w, weight = normal(rows + BLOCK, 6), normal(5, 6, 4), normal(rows, 4)
    of_row = np.repeat(np.arange(5), np.diff(STARTS))

    def by_group(x, w):
        return grouped(PRODUCT, x, w, STARTS)[:rows]

    def plain(x, w):
        return jnp.einsum("mi,mio->mo", x[:rows], w[of_row])

    np.testing.assert_allclose(jax.jit(by_group)(x, w), jax.jit(plain)(x, w), rtol=1e-5, atol=1e-6)
    ours, theirs = (
        jax.jit(jax.grad(lambda x, w, f=f: (f(x, w) * weight).sum(), argnums=(0, 1)))(x, w)
        for f in (by_group, plain)
    )
    np.testing.assert_allclose(ours[0][:rows], theirs[0][:rows], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-5)
    assert not ours[1][1].any()  # the expert without rows


@pytest.mark.parametrize("block", [BLOCK, 16])
def test_other_devices_multiply_the_same_blocks(block: int, monkeypatch: pytest.MonkeyPatch):
    """16: blocks are larger than the least, about four an expert."""
    rows = int(STARTS[-1])
    x, w, grad = normal(rows + BLOCK, 6), normal(5, 6, 4), normal(rows + BLOCK, 4)
    monkeypatch.setattr(experts, "BLOCK", block)
    one_by_one = jax.jit(partial(experts._multiply_in_blocks, PRODUCT))(x, w, STARTS)
    in_turn = jax.jit(partial(experts._multiply_in_turn, PRODUCT))(x, w, STARTS)
    np.testing.assert_allclose(one_by_one[:rows], in_turn[:rows], rtol=1e-5, atol=1e-6)
    one_by_one = jax.jit(partial(experts._outer_in_blocks, PRODUCT))(x, grad, STARTS)
    in_turn = jax.jit(partial(experts._outer_in_turn, PRODUCT))(x, grad, STARTS)
    np.testing.assert_allclose(one_by_one, in_turn, rtol=1e-5, atol=1e-5)


def test_other_devices_copy_no_matrix_for_each_block():
    """What is kept beside rows and matrices is less than a matrix for each of 9 blocks."""
    x, w, grad = (jax.ShapeDtypeStruct(d, jnp.float32) for d in ((320, 256), (4, 256, 256), (320, 256)))
    starts = jax.ShapeDtypeStruct((5,), jnp.int32)
    for function, other in ((experts._multiply_in_turn, w), (experts._outer_in_turn, grad)):
        program = jax.jit(function, static_argnums=0).lower(PRODUCT, x, other, starts).compile()
        assert program.memory_analysis().temp_size_in_bytes < 6 * 4 * 256**2


ROUTE = jax.jit(route, static_argnums=2)


def test_routes_and_losses_by_hand():
    """Two tokens of three experts, one each: equations 4 to 6 of arXiv:2101.03961, 5 of arXiv:2202.08906."""
    probability = np.array([[0.7, 0.2, 0.1], [0.5, 0.2, 0.3]])
    routes, balance = ROUTE(jnp.eye(2), jnp.log(2 * probability), 1)
    assert routes.expert_NxA.tolist() == [[0], [0]]
    np.testing.assert_allclose(routes.weight_NxA, [[0.7], [0.5]], rtol=1e-6)
    assert balance.load_balance == pytest.approx(3 * 1 * 0.6)
    assert balance.router_z == pytest.approx(np.log(2) ** 2)
    assert balance.load == 3

    routes, balance = ROUTE(jnp.eye(2), jnp.log(2 * probability), 2)
    assert routes.expert_NxA.tolist() == [[0, 1], [0, 2]]
    np.testing.assert_allclose(routes.weight_NxA, [[0.7, 0.2], [0.5, 0.3]], rtol=1e-6)  # not made to sum to 1
    assert balance.load_balance == pytest.approx(3 * (2 / 4 * 0.6 + 1 / 4 * 0.2 + 1 / 4 * 0.2))
    assert balance.load == 1.5


def test_an_even_router_has_loss_one_and_ties_go_to_the_first():
    routes, balance = ROUTE(normal(10, 4), jnp.zeros((4, 5)), 2)
    assert (routes.expert_NxA == jnp.array([0, 1])).all()
    assert balance.load_balance == pytest.approx(1)


def test_chosen_experts_give_what_all_give_weighted():
    """Values, and gradients of inputs, router and matrices."""
    arrays = normal(50, 8), normal(8, 4), normal(4, 8, 12), normal(4, 6, 8)
    weight = normal(50, 8)

    def loss(x, router, up, down, dense):
        def activation(h):
            return jax.nn.silu(h[..., :6]) * h[..., 6:]

        routes, balance = route(x, router, 3)
        out = through_experts(MLPs(PRODUCT, up, down, activation), routes, x, dense=dense)
        return (out * weight).sum() + balance.load_balance + balance.router_z

    both = jax.jit(jax.value_and_grad(loss, argnums=range(4)), static_argnums=4)
    ours, theirs = both(*arrays, False), both(*arrays, True)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_no_token_is_dropped_however_uneven():
    x, up, down = normal(300, 4), normal(3, 4, 5), normal(3, 5, 4)
    routes = Routes(jnp.full((300, 1), 2), jnp.ones((300, 1)))
    out = jax.jit(lambda x: through_experts(MLPs(PRODUCT, up, down, jax.nn.relu), routes, x))(x)
    np.testing.assert_allclose(out, jax.nn.relu(x @ up[2]) @ down[2], rtol=1e-4, atol=1e-5)
