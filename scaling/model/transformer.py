"""The decoder-only Transformer. Flax NNX modules are definitions only: see :func:`make_model`.

Dimension key: B sequences, T tokens, D residual width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx, traverse_util
from jax.ad_checkpoint import checkpoint_name

from scaling.counts.lowering import Lowering, Remat, is_unrolled
from scaling.counts.shape import Shape, parameter_table
from scaling.model.attention import AnyKernel
from scaling.model.attention_rule import is_kept
from scaling.model.blocks import Block, Gain, Kernel, Residual, Table, look_up, multiply, rows_of, times
from scaling.model.experts import Balance
from scaling.model.parametrization import Forward
from scaling.model.placement import ONE_DEVICE, Placement
from scaling.model.products import PRODUCTS, Products
from scaling.model.roles import Params
from scaling.recipe.auxiliary import Auxiliary
from scaling.recipe.parametrization import Parametrization
from scaling.recipe.precision import Precision


class Transformer(nnx.Module):
    """Tokens to hidden states to logits; the parameters of all blocks are stacked and scanned."""

    def __init__(self, shape: Shape, forward: Forward, products: Products, place: Placement):
        self.shape, self.forward, self.products, self.place = shape, forward, products, place
        dims = {name: parameter.dims for name, parameter in parameter_table(shape).items()}
        self.embedding = Table(dims["embedding/table"])
        self.positions = Table(dims["positions/table"]) if shape.positions == "learned" else None
        self.blocks = Block(shape, dims, forward, products, place)
        self.final_norm = Gain(dims["final_norm/gain"])
        self.head = None if shape.tied else Kernel(dims["head/kernel"], products)

    def embed(self, tokens_BxT: jax.Array) -> jax.Array:
        """Look tokens up, and their places where those are learned: (B, T, D)."""
        table = self.place.weight("embedding/table", self.embedding.table[...])
        x_BxTxD = look_up(self.place, table, tokens_BxT)
        if self.positions is not None:
            table = self.place.weight("positions/table", self.positions.table[...])
            x_BxTxD = x_BxTxD + rows_of(self.place, table, places(self.shape, tokens_BxT))
        x_BxTxD = times(self.forward.embedding, x_BxTxD) if self.shape.scaled_embedding else x_BxTxD
        return self.place(x_BxTxD, "batch", None, None)

    def hidden(
        self, tokens_BxT: jax.Array, *, kernel: AnyKernel, unroll: int | bool, remat: Remat
    ) -> tuple[jax.Array, Balance | None]:
        """Compute what the head reads, normed: (B, T, D), and the mean balance of the layers' experts."""
        definition, layers = nnx.split(self.blocks)
        documents_BxT = None
        if self.shape.separator is not None:
            documents_BxT = jnp.cumsum(tokens_BxT == self.shape.separator, axis=1)

        def layer(residual: Residual, slice_: nnx.State, window: int | None) -> Residual:
            flat: Any = traverse_util.flatten_dict(nnx.to_pure_dict(slice_), sep="/")
            whole = {name: self.place.weight(f"blocks/{name}", leaf) for name, leaf in flat.items()}
            block = nnx.merge(definition, nnx.State(traverse_util.unflatten_dict(whole, sep="/")))
            return block(residual, window, documents_BxT, kernel)

        embedded = checkpoint_name(self.embed(tokens_BxT), "embedding")
        start = Residual(embedded, Balance.none() if self.shape.experts else None)
        x_BxTxD, balance = through(_forgetful(layer, remat), start, layers, self.shape, unroll)
        return self.final_norm(x_BxTxD), jax.tree.map(lambda total: total / self.shape.depth, balance)

    def readout(self) -> jax.Array:
        """Return the matrix of the head, whole: (D, V); (V, D) where it is the embedding."""
        if self.head is None:
            return self.place.weight("embedding/table", self.embedding.table[...])
        return self.place.weight("head/kernel", self.head.kernel[...])

    def logits(self, readout: jax.Array, hidden_BxTxD: jax.Array) -> jax.Array:
        hidden_BxTxD = times(self.forward.logits, hidden_BxTxD)
        if self.head is None:
            logits_BxTxV = self.products.einsum("btd,vd->btv", hidden_BxTxD, readout)
        else:
            logits_BxTxV = multiply(self.products, hidden_BxTxD, readout)
        logits_BxTxV = self.place(logits_BxTxV, "batch", None, "vocab")
        if self.shape.logit_softcap is None:
            return logits_BxTxV
        return self.shape.logit_softcap * jnp.tanh(logits_BxTxV / self.shape.logit_softcap)

    def losses(
        self, hidden_BxTxD: jax.Array, targets_BxT: jax.Array, chunks: int
    ) -> tuple[jax.Array, jax.Array]:
        """Compute the cross-entropy, and the log of the softmax's normaliser: (B, T) each. Of several chunks
        of every sequence, the logits of one are held at a time, and computed again for its gradient."""
        readout = self.readout()
        if chunks == 1:
            return _cross_entropy(self.logits(readout, hidden_BxTxD), targets_BxT)

        def chunk(_: None, part: tuple[jax.Array, jax.Array]) -> tuple[None, tuple[jax.Array, jax.Array]]:
            hidden, targets = part
            return None, _cross_entropy(self.logits(readout, hidden), targets)

        def in_chunks(x: jax.Array) -> jax.Array:
            return jnp.moveaxis(x.reshape(x.shape[0], chunks, -1, *x.shape[2:]), 1, 0)

        parts = in_chunks(hidden_BxTxD), in_chunks(targets_BxT)
        chunk = jax.checkpoint(chunk, prevent_cse=False)
        _, losses = jax.lax.scan(chunk, None, parts)
        loss, log_z = (jnp.moveaxis(x, 0, 1).reshape(targets_BxT.shape) for x in losses)
        return loss, log_z


Layer = Callable[[Residual, Any, int | None], Residual]


def _forgetful(layer: Layer, remat: Remat) -> Layer:
    """Have a layer compute again in the backward pass what ``remat`` does not keep."""
    match remat:
        case "none":
            return layer
        case "block":
            policy = is_kept
        case "full":
            policy = jax.checkpoint_policies.nothing_saveable
    return jax.checkpoint(layer, policy=policy, static_argnums=2, prevent_cse=False)


def places(shape: Shape, tokens_BxT: jax.Array) -> jax.Array:
    """Return each token's place in its sequence, or in its document where those are told apart: (B, T)."""
    place_T = jnp.arange(tokens_BxT.shape[1])
    if shape.separator is None:
        return jnp.broadcast_to(place_T, tokens_BxT.shape)
    starts_BxT = jnp.where(tokens_BxT == shape.separator, place_T, 0)
    return place_T - jax.lax.cummax(starts_BxT, axis=1)


def through(
    layer: Layer,
    residual: Residual,
    layers: Any,
    shape: Shape,
    unroll: int | bool,
) -> Residual:
    """Apply all layers: a scan over cycles, after which windows repeat; what is left of a cycle follows.

    Args:
        layer: of the residual stream, a layer's parameters and its window.
        residual: what the first layer reads.
        layers: parameters of all layers, stacked.
        shape: its ``windows`` are those of the layers.
        unroll: of the scan.
    """
    every = shape.full_every or 1
    length = every if every <= shape.depth else 1  # no layer of so few is free of the window
    cycles = shape.depth // length

    def cycle(residual: Residual, slices: Any) -> tuple[Residual, None]:
        for i in range(length):
            slice_ = slices if length == 1 else jax.tree.map(lambda leaf, i=i: leaf[i], slices)
            residual = layer(residual, slice_, shape.windows[i])
        return residual, None

    def in_cycles(leaf: jax.Array) -> jax.Array:
        return leaf[: cycles * length].reshape(cycles, length, *leaf.shape[1:])

    stacked = layers if length == 1 else jax.tree.map(in_cycles, layers)
    residual, _ = jax.lax.scan(cycle, residual, stacked, unroll=unroll)
    for i in range(cycles * length, shape.depth):
        residual = layer(residual, jax.tree.map(lambda leaf, i=i: leaf[i], layers), shape.windows[i])
    return residual


@dataclass(frozen=True)
class Model:
    """Pure functions of a flat parameter dict."""

    shape: Shape
    trunk: Callable[[Params, jax.Array], tuple[jax.Array, Balance | None]]
    """(params, tokens_BxT) -> hidden_BxTxD, mean balance of the layers' experts"""
    head: Callable[[Params, jax.Array], jax.Array]  # (params, hidden_BxTxD) -> logits_BxTxV
    losses: Callable[[Params, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    """(params, hidden_BxTxD, targets_BxT) -> cross-entropy and log of the normaliser, (B, T) each"""
    auxiliary: Auxiliary | None = None

    def hidden(self, params: Params, tokens_BxT: jax.Array) -> jax.Array:
        """Compute what the head reads, normed: (B, T, D)."""
        return self.trunk(params, tokens_BxT)[0]

    def logits(self, params: Params, tokens_BxT: jax.Array) -> jax.Array:
        """Compute the logits of the next token at each position: (B, T, V)."""
        return self.head(params, self.hidden(params, tokens_BxT))

    def token_losses(self, params: Params, window_BxT1: jax.Array) -> jax.Array:
        """Compute the cross-entropy in nats of tokens 1..T of each window given those before: (B, T)."""
        return self.losses(params, self.hidden(params, window_BxT1[:, :-1]), window_BxT1[:, 1:])[0]

    def objective(self, params: Params, window_BxT1: jax.Array) -> tuple[jax.Array, Trained]:
        """Compute what training descends on, and what is logged of it."""
        hidden_BxTxD, balance = self.trunk(params, window_BxT1[:, :-1])
        losses_BxT, log_z_BxT = self.losses(params, hidden_BxTxD, window_BxT1[:, 1:])
        total = loss = losses_BxT.mean()
        weights = self.auxiliary or Auxiliary()
        if weights.z_loss is not None:
            total += weights.z_loss * jnp.square(log_z_BxT).mean()
        if balance is None:
            return total, Trained(loss)
        if weights.load_balance is not None:
            total += weights.load_balance * balance.load_balance
        if weights.router_z_loss is not None:
            total += weights.router_z_loss * balance.router_z
        return total, Trained(loss, balance.load)


class Trained(NamedTuple):
    """What is logged of a step: the cross-entropy in mean nats per token, and how many tokens the busiest
    expert has over the mean (that averaged over layers; None without experts)."""

    loss: jax.Array
    expert_load: jax.Array | None = None


def _cross_entropy(logits_BxTxV: jax.Array, targets_BxT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Compute the cross-entropy, and the log of the softmax's normaliser: (B, T) each."""
    target = jnp.take_along_axis(logits_BxTxV, targets_BxT[:, :, None], axis=-1)[..., 0]
    log_z_BxT = jax.nn.logsumexp(logits_BxTxV, axis=-1)
    return log_z_BxT - target, log_z_BxT


def make_model(
    shape: Shape,
    *,
    parametrization: Parametrization | None = None,
    precision: Precision = "float32",
    auxiliary: Auxiliary | None = None,
    lowering: Lowering = Lowering(),  # noqa: B008 (frozen)
    place: Placement = ONE_DEVICE,
    dense: bool = False,
    unroll: int | bool | None = None,
) -> Model:
    """Return the model of ``shape``: modules are split once; what is left is a plain pytree and pure
    functions.

    Args:
        shape: of the model.
        parametrization: scales attention scores, branches and logits; None: the standard one.
        precision: in which matrices are multiplied; all else is float32.
        auxiliary: losses beside the cross-entropy.
        lowering: the kernel of attention, what is computed again, how many logits are held at a time.
        place: puts arrays on the devices of a mesh.
        dense: whether attention computes all T^2 pairs and every expert all tokens (to check FLOP counts
            against the compiler).
        unroll: of the scan over layers; None: by :func:`scaling.counts.lowering.is_unrolled`.
    """
    if unroll is None:
        unroll = is_unrolled(shape, lowering.remat)
    products, forward = PRODUCTS[precision], Forward.of(shape, parametrization)
    definition, state = nnx.split(nnx.eval_shape(partial(Transformer, shape, forward, products, place)))
    flat: dict[str, Any] = traverse_util.flatten_dict(nnx.to_pure_dict(state), sep="/")
    declared = {name: parameter.dims for name, parameter in parameter_table(shape).items()}
    built = {name: leaf.shape for name, leaf in flat.items()}
    if built != declared:
        raise AssertionError(f"modules and parameter table disagree: {built} != {declared}")

    def module(params: Params) -> Transformer:
        return nnx.merge(definition, nnx.State(traverse_util.unflatten_dict(params, sep="/")))

    def trunk(params: Params, tokens_BxT: jax.Array) -> tuple[jax.Array, Balance | None]:
        kernel = "dense" if dense else lowering.attention
        return module(params).hidden(tokens_BxT, kernel=kernel, unroll=unroll, remat=lowering.remat)

    def head(params: Params, hidden_BxTxD: jax.Array) -> jax.Array:
        transformer = module(params)
        return transformer.logits(transformer.readout(), hidden_BxTxD)

    def losses(
        params: Params, hidden_BxTxD: jax.Array, targets_BxT: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return module(params).losses(hidden_BxTxD, targets_BxT, lowering.logit_chunks)

    return Model(shape, trunk, head, losses, auxiliary)
