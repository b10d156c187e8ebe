"""AdamW through optax, with every number of it a runtime argument of the compiled program."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
import optax

from scaling.counts.shape import Shape
from scaling.model.roles import Params, decay_mask
from scaling.plan.run import AdamW


class Hyper(NamedTuple):
    """Scalars of AdamW but the learning rate, which changes from step to step."""

    weight_decay: jax.Array | np.float32
    b1: jax.Array | np.float32
    b2: jax.Array | np.float32
    eps: jax.Array | np.float32
    clip_norm: jax.Array | np.float32


def hyper_of(optimizer: AdamW) -> Hyper:
    return Hyper(*(np.float32(getattr(optimizer, name)) for name in Hyper._fields))


def make_optimizer(
    shape: Shape, learning_rate: jax.Array | float, hyper: Hyper
) -> optax.GradientTransformation:
    """Clip by global norm, Adam (arXiv:1412.6980), decay matrices by rate x decay (arXiv:1711.05101)."""
    return optax.chain(
        optax.clip_by_global_norm(hyper.clip_norm),
        optax.scale_by_adam(b1=hyper.b1, b2=hyper.b2, eps=hyper.eps),
        optax.add_decayed_weights(hyper.weight_decay, mask=decay_mask(shape)),
        optax.scale_by_learning_rate(learning_rate),
    )


def initial_moments(params: dict[str, np.ndarray]) -> optax.OptState:
    """The optimizer's state before the first step, on the host; equal to its ``init`` (a test holds it so)."""

    def zeros() -> dict[str, np.ndarray]:
        return {name: np.zeros_like(array) for name, array in params.items()}

    adam = optax.ScaleByAdamState(count=np.zeros((), np.int32), mu=zeros(), nu=zeros())
    return optax.EmptyState(), adam, optax.MaskedState(optax.EmptyState()), optax.EmptyState()
