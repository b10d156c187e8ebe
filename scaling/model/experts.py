"""A mixture of experts: each token goes through the few MLPs that a router chooses for it.

No token is dropped. Rows are sorted by expert, and each expert multiplies its own in blocks of a static
size (after MegaBlocks, Gale et al., arXiv:2211.15841); how many blocks it has is known at run time. Sums
over tokens are taken in a fixed order, and rows are moved by gathers alone: results do not vary from call
to call.

Dimension key: N tokens, D residual width, E experts, A experts that a token goes to, M = N A pairs of a
token and an expert (a block's rows more, so that the last block ends inside), I inputs, O outputs, F hidden
width of an expert, H that of its first product (twice F where that has a gate), P blocks of S rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from scaling.model.placement import ONE_DEVICE, Placement
from scaling.model.products import PRODUCTS, Products

BLOCK = 64  # rows


class Balance(NamedTuple):
    """How a layer's router spreads tokens. The losses are those of one layer, unweighted.

    ``load_balance`` is E times the sum over experts of the share of pairs that go there times the mean
    probability (Switch, Fedus et al., arXiv:2101.03961, equation 4): 1 where all are equal. ``router_z`` is
    the mean squared log of the router's normaliser (ST-MoE, Zoph et al., arXiv:2202.08906, equation 5).
    ``load`` is the largest number of tokens of an expert over the mean.
    """

    load_balance: jax.Array
    router_z: jax.Array
    load: jax.Array

    @classmethod
    def none(cls) -> Balance:
        """Return what sums over layers start from."""
        return cls(*[jnp.zeros(())] * 3)


class Routes(NamedTuple):
    """Where each token goes, best expert first, and the weights of what comes back: probabilities over all
    experts, which are not made to sum to 1 over the chosen (as in Switch and OLMoE, arXiv:2409.02060)."""

    expert_NxA: jax.Array
    weight_NxA: jax.Array


def route(
    x_NxD: jax.Array, router_DxE: jax.Array, active: int, place: Placement = ONE_DEVICE
) -> tuple[Routes, Balance]:
    """Choose the ``active`` most probable experts of each token, of equal ones the first. Logits are of
    float32 factors whatever the precision: close ones decide where tokens go. The balance is that of the
    tokens of all devices."""
    count, rows = router_DxE.shape[1], ("batch", None)
    logits_NxE = place(PRODUCTS["float32"].einsum("nd,de->ne", x_NxD, router_DxE), *rows)
    log_z_Nx1 = jax.nn.logsumexp(logits_NxE, axis=1, keepdims=True)
    probability_NxE = jnp.exp(logits_NxE - log_z_Nx1)
    choose = place.each_device(lambda some_NxE: jax.lax.top_k(some_NxE, active)[1], [rows], rows)
    expert_NxA = choose(jax.lax.stop_gradient(probability_NxE))
    chosen_NxAxE = expert_NxA[:, :, None] == jnp.arange(count)
    weight_NxA = jnp.sum(jnp.where(chosen_NxAxE, probability_NxE[:, None, :], 0.0), axis=2)
    share_E = chosen_NxAxE.mean(axis=(0, 1), dtype=jnp.float32) * active
    balance = Balance(
        load_balance=count / active * jnp.sum(share_E * probability_NxE.mean(axis=0)),
        router_z=jnp.square(log_z_Nx1).mean(),
        load=share_E.max() * count / active,
    )
    return Routes(expert_NxA, weight_NxA), balance


class MLPs(NamedTuple):
    """The MLPs of all experts: how matrices are multiplied, the matrices, and the activation between them,
    from H channels to F."""

    products: Products
    up_ExDxH: jax.Array
    down_ExFxD: jax.Array
    activation: Callable[[jax.Array], jax.Array]


def through_experts(mlps: MLPs, routes: Routes, x_NxD: jax.Array, *, dense: bool = False) -> jax.Array:
    """Send each token through its experts and add what comes back, weighted: (N, D).

    Args:
        mlps: of all experts.
        routes: of each token.
        x_NxD: tokens.
        dense: whether every expert is computed on all tokens, by plain einsums: the same numbers up to
            rounding, more work, any derivative.
    """
    return (_through_all if dense else _through_chosen)(mlps, routes, x_NxD)


def _through_all(mlps: MLPs, routes: Routes, x_NxD: jax.Array) -> jax.Array:
    products, up_ExDxH, down_ExFxD, activation = mlps
    hidden_ExNxF = activation(products.einsum("nd,edh->enh", x_NxD, up_ExDxH))
    out_ExNxD = products.einsum("enf,efd->end", hidden_ExNxF, down_ExFxD)
    expert_Ex1x1 = jnp.arange(up_ExDxH.shape[0])[:, None, None]
    weight_ExN = jnp.sum(jnp.where(routes.expert_NxA == expert_Ex1x1, routes.weight_NxA, 0.0), axis=2)
    return jnp.sum(out_ExNxD * weight_ExN[:, :, None], axis=0)


def _through_chosen(mlps: MLPs, routes: Routes, x_NxD: jax.Array) -> jax.Array:
    products, up_ExDxH, down_ExFxD, activation = mlps
    n, active = routes.expert_NxA.shape
    expert_M = routes.expert_NxA.reshape(-1)
    order_M = jnp.argsort(expert_M, stable=True)
    place_M = jnp.zeros_like(order_M).at[order_M].set(jnp.arange(n * active), unique_indices=True)
    starts = jnp.searchsorted(expert_M[order_M], jnp.arange(up_ExDxH.shape[0] + 1))
    padded_M = jnp.pad(order_M, (0, BLOCK))
    rows_MxD = _take(jnp.repeat(x_NxD, active, axis=0), padded_M, place_M)
    hidden_MxF = activation(grouped(products, rows_MxD, up_ExDxH, starts))
    out_MxD = _take(grouped(products, hidden_MxF, down_ExFxD, starts), place_M, padded_M)
    return jnp.sum(out_MxD.reshape(n, active, -1) * routes.weight_NxA[:, :, None], axis=1)


@jax.custom_vjp
def _take(x: jax.Array, rows: jax.Array, back: jax.Array) -> jax.Array:
    """Take rows. ``back`` says where each row went, so that the gradient is a gather as well; the gradient of
    rows taken to pad is thereby dropped."""
    return x[rows]


_take.defvjp(lambda x, rows, back: (x[rows], back), lambda back, grad: (grad[back], None, None))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def grouped(products: Products, x_MxI: jax.Array, w_ExIxO: jax.Array, starts: jax.Array) -> jax.Array:
    """Multiply each row by the matrix of its expert: (M, O). Rows beyond the last expert's are arbitrary, in
    the gradient of ``x_MxI`` too. There is no forward mode.

    Args:
        products: how matrices are multiplied.
        x_MxI: rows sorted by expert.
        w_ExIxO: a matrix for each expert.
        starts: the first row of each expert, and the end of the last: (E + 1,).
    """
    return _forward(products, x_MxI, w_ExIxO, starts)[0]


def _forward(
    products: Products, x_MxI: jax.Array, w_ExIxO: jax.Array, starts: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    x_MxI, w_ExIxO = products.rounded(x_MxI, w_ExIxO)
    return _multiply(products, x_MxI, w_ExIxO, starts), (x_MxI, w_ExIxO, starts)


def _backward(
    products: Products, residuals: tuple[jax.Array, ...], grad_MxO: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    x_MxI, w_ExIxO, starts = residuals
    (grad_MxO,) = products.rounded(grad_MxO)
    dx_MxI = _multiply(products, grad_MxO, w_ExIxO.transpose(0, 2, 1), starts)
    return dx_MxI, _outer(products, x_MxI, grad_MxO, starts), None


grouped.defvjp(_forward, _backward)


def _multiply(products: Products, x_MxI: jax.Array, w_ExIxO: jax.Array, starts: jax.Array) -> jax.Array:
    return jax.lax.platform_dependent(
        x_MxI,
        w_ExIxO,
        starts,
        cpu=partial(_multiply_in_blocks, products),
        default=partial(_multiply_in_turn, products),
    )


def _outer(products: Products, x_MxI: jax.Array, grad_MxO: jax.Array, starts: jax.Array) -> jax.Array:
    """Sum x^T grad over the rows of each expert: (E, I, O)."""
    return jax.lax.platform_dependent(
        x_MxI,
        grad_MxO,
        starts,
        cpu=partial(_outer_in_blocks, products),
        default=partial(_outer_in_turn, products),
    )


def _each_block(
    starts: jax.Array, expert: jax.Array, body: Callable[[jax.Array, Any], Any], init: Any
) -> Any:
    """Carry a value through the blocks of an expert; ``body`` takes a block's first row and the value."""
    first, end = starts[expert], starts[expert + 1]
    blocks = (end - first + BLOCK - 1) // BLOCK
    return jax.lax.fori_loop(0, blocks, lambda i, value: body(first + i * BLOCK, value), init)


def _rows(x: jax.Array, first: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x, first, BLOCK)


def _multiply_in_blocks(
    products: Products, x_MxI: jax.Array, w_ExIxO: jax.Array, starts: jax.Array
) -> jax.Array:
    """Multiply block by block. The last block of an expert runs into the rows of the next, which writes them
    again."""

    def of_expert(expert: jax.Array, out_MxO: jax.Array) -> jax.Array:
        w_IxO = w_ExIxO[expert]

        def multiply(first: jax.Array, out_MxO: jax.Array) -> jax.Array:
            block = products.einsum("mi,io->mo", _rows(x_MxI, first), w_IxO)
            return jax.lax.dynamic_update_slice_in_dim(out_MxO, block, first, 0)

        return _each_block(starts, expert, multiply, out_MxO)

    zeros_MxO = jnp.zeros((x_MxI.shape[0], w_ExIxO.shape[2]), jnp.float32)
    return jax.lax.fori_loop(0, w_ExIxO.shape[0], of_expert, zeros_MxO)


def _outer_in_blocks(
    products: Products, x_MxI: jax.Array, grad_MxO: jax.Array, starts: jax.Array
) -> jax.Array:
    def of_expert(_: None, expert: jax.Array) -> tuple[None, jax.Array]:
        def add(first: jax.Array, sum_IxO: jax.Array) -> jax.Array:
            own_Mx1 = (first + jnp.arange(BLOCK) < starts[expert + 1])[:, None]
            grad = jnp.where(own_Mx1, _rows(grad_MxO, first), 0)
            return sum_IxO + products.einsum("mi,mo->io", _rows(x_MxI, first), grad)

        zeros_IxO = jnp.zeros((x_MxI.shape[1], grad_MxO.shape[1]), jnp.float32)
        return None, _each_block(starts, expert, add, zeros_IxO)

    return jax.lax.scan(of_expert, None, jnp.arange(starts.size - 1))[1]


def _multiply_in_turn(
    products: Products, x_MxI: jax.Array, w_ExIxO: jax.Array, starts: jax.Array
) -> jax.Array:
    """Multiply block by block, as many as there can be, so that no count goes to the host; a block takes its
    expert's matrix where it lies. As in :func:`_multiply_in_blocks`, later blocks write again what earlier
    ones ran into."""
    blocks = _Blocks.of(starts, x_MxI.shape[0])
    padded_MxI = blocks.padded(x_MxI)

    def multiply(out_MxO: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        expert, first = block
        rows_SxI = jax.lax.dynamic_slice_in_dim(padded_MxI, first, blocks.size)
        out_SxO = products.einsum("mi,io->mo", rows_SxI, w_ExIxO[expert])
        return jax.lax.dynamic_update_slice_in_dim(out_MxO, out_SxO, first, 0), None

    zeros_MxO = jnp.zeros((padded_MxI.shape[0], w_ExIxO.shape[2]), jnp.float32)
    out_MxO, _ = jax.lax.scan(multiply, zeros_MxO, (blocks.expert_P, blocks.first_P))
    return out_MxO[: x_MxI.shape[0]]


def _outer_in_turn(products: Products, x_MxI: jax.Array, grad_MxO: jax.Array, starts: jax.Array) -> jax.Array:
    blocks = _Blocks.of(starts, x_MxI.shape[0])
    padded_MxI, padded_MxO = blocks.padded(x_MxI), blocks.padded(grad_MxO)

    def add(sum_ExIxO: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        expert, first = block
        rows_SxI, rows_SxO = (
            jax.lax.dynamic_slice_in_dim(x, first, blocks.size) for x in (padded_MxI, padded_MxO)
        )
        own_Sx1 = (first + jnp.arange(blocks.size) < starts[expert + 1])[:, None]
        product_IxO = products.einsum("mi,mo->io", rows_SxI, jnp.where(own_Sx1, rows_SxO, 0))
        return sum_ExIxO.at[expert].add(product_IxO), None

    zeros_ExIxO = jnp.zeros((starts.size - 1, x_MxI.shape[1], grad_MxO.shape[1]), jnp.float32)
    return jax.lax.scan(add, zeros_ExIxO, (blocks.expert_P, blocks.first_P))[0]


class _Blocks(NamedTuple):
    """P blocks of S rows, sorted: as many as there can be. Those left over begin where the last expert ends,
    and have no row of their own."""

    size: int
    expert_P: jax.Array
    first_P: jax.Array

    @classmethod
    def of(cls, starts: jax.Array, rows: int) -> _Blocks:
        """Cut rows into about four blocks an expert, where that leaves blocks large enough for a matmul."""
        experts = starts.size - 1
        size = max(BLOCK, rows // (4 * experts) // BLOCK * BLOCK)
        each_E = -(-jnp.diff(starts) // size)
        end_E = jnp.cumsum(each_E)
        block_P = jnp.arange(rows // size + experts)
        expert_P = jnp.searchsorted(end_E, block_P, side="right")
        last = jnp.minimum(expert_P, experts - 1)
        first_P = starts[last] + (block_P - (end_E - each_E)[last]) * size
        return cls(size, last, jnp.where(expert_P == experts, starts[-1], first_P))

    def padded(self, x: jax.Array) -> jax.Array:
        """Add rows for blocks that end beyond the last."""
        return jnp.pad(x, ((0, self.size), (0, 0)))
