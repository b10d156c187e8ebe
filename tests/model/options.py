"""Every option of a shape, alone and in combinations, for the tests of the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling.counts.shape import Experts, Shape, parameter_table
from scaling.model.roles import init_params

SMALL: dict[str, Any] = dict(
    depth=3, width=32, heads=4, kv_heads=2, head_dim=8, mlp_width=48, vocab_size=64, context=96
)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped-query": {"kv_heads": 1},
    "gelu": {"mlp": "gelu"},
    "relu2": {"mlp": "relu2"},
    "tied": {"tied": True},
    "qk-norm": {"qk_norm": True},
    "attention-softcap": {"attention_softcap": 1.5},
    "logit-softcap": {"logit_softcap": 2.0},
    "learned": {"positions": "learned"},
    "no-positions": {"positions": "none"},
    "window": {"window": 20},
    "full-every": {"window": 5, "full_every": 2},
    "documents": {"separator": 0},
    "parallel": {"parallel": True},
    "scaled-embedding": {"scaled_embedding": True},
    "scaled-tied": {"scaled_embedding": True, "tied": True},
    "scaled-learned": {"scaled_embedding": True, "positions": "learned"},
    "learned-documents": {"positions": "learned", "separator": 0},
    "gemma-like": {
        "qk_norm": True, "attention_softcap": 3.0, "logit_softcap": 4.0, "window": 24, "full_every": 2,
        "scaled_embedding": True, "tied": True, "separator": 0,
    },
    "experts": {"experts": Experts(count=5, active=2)},
    "shared-experts": {"experts": Experts(count=4, active=1, shared=2, granularity=4), "mlp": "gelu"},
    "experts-parallel": {"experts": Experts(count=3, active=3, granularity=2), "parallel": True},
    "palm-like": {"parallel": True, "kv_heads": 1, "positions": "learned", "mlp": "relu2", "window": 40},
}  # fmt: skip


def shape_of(option: str, **sizes: Any) -> Shape:
    return Shape(**SMALL | OPTIONS[option] | sizes)


def random_params(shape: Shape) -> dict[str, np.ndarray]:
    """Initial parameters, but with gains that are not 1 and a head that is not 0."""
    chance, params = np.random.default_rng(0), init_params(shape, 0)
    for name, parameter in parameter_table(shape).items():
        if parameter.role == "gain":
            params[name] = chance.uniform(0.5, 1.5, parameter.dims).astype(np.float32)
        if parameter.role == "head":
            params[name] = (chance.normal(size=parameter.dims) / 6).astype(np.float32)
    return params


def windows(shape: Shape, sequences: int = 2) -> np.ndarray:
    """Tokens at random, with separators at the start of one sequence, in the middle and at the end."""
    tokens = np.random.default_rng(1).integers(1, shape.vocab_size, (sequences, shape.context + 1))
    tokens[0, [0, 17, 64]] = 0
    tokens[1, [30, 31, -1]] = 0
    return tokens.astype(np.int32)
