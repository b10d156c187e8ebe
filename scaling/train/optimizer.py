"""AdamW through optax, with every number of it a runtime argument of the compiled program."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import optax

from scaling.counts.shape import Shape
from scaling.model.roles import decay_mask
from scaling.run import AdamW


class Hyper(NamedTuple):
    """Float32 scalars of AdamW but the learning rate, which changes from step to step."""

    weight_decay: Any
    b1: Any
    b2: Any
    eps: Any
    clip_norm: Any


NEUTRAL = Hyper(0.0, 0.9, 0.999, 1e-8, 1.0)  # its values matter nowhere, its structure does


def hyper_of(optimizer: AdamW) -> Hyper:
    return Hyper(*(np.float32(getattr(optimizer, name)) for name in Hyper._fields))


def make_optimizer(shape: Shape, learning_rate: Any, hyper: Hyper) -> optax.GradientTransformation:
    """Clip by global norm, Adam (arXiv:1412.6980), decay matrices by rate x decay (arXiv:1711.05101)."""
    return optax.chain(
        optax.clip_by_global_norm(hyper.clip_norm),
        optax.scale_by_adam(b1=hyper.b1, b2=hyper.b2, eps=hyper.eps),
        optax.add_decayed_weights(hyper.weight_decay, mask=decay_mask(shape)),
        optax.scale_by_learning_rate(learning_rate),
    )


def initial_moments(params: dict[str, np.ndarray]) -> optax.OptState:
    """The optimizer's state before the first step, on the host; a test holds it equal to ``init``."""

    def zeros() -> dict[str, np.ndarray]:
        return {name: np.zeros_like(array) for name, array in params.items()}

    adam = optax.ScaleByAdamState(count=np.zeros((), np.int32), mu=zeros(), nu=zeros())
    return optax.EmptyState(), adam, optax.MaskedState(optax.EmptyState()), optax.EmptyState()
