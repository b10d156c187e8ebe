"""The parameter pytree: a flat dict from name to array, shaped and masked by the parameter table."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from scipy.special import ndtri

from scaling.counts.shape import Parameter, Shape, parameter_table
from scaling.model.parametrization import initial_std
from scaling.recipe.parametrization import Parametrization

# On the host before the first step, on devices from then on.
Array = Any
Params = Mapping[str, Array]


def init_params(
    shape: Shape, seed: int, parametrization: Parametrization | None = None
) -> dict[str, np.ndarray]:
    """Draw the initial float32 parameters on the host, one array per row of the table.

    Matrices, routers and embeddings: normal, by :func:`initial_std`; head: 0, so that the first loss is
    log(vocabulary); gains: 1. Every array has a random stream of its own, keyed by seed and name
    (Philox, whose raw bits are fixed by its definition): the values depend on no device, no device count and
    no library version, and adding a parameter leaves the others as they were.
    """
    table = parameter_table(shape)
    return {
        name: _init(name, parameter, seed, initial_std(parameter, shape, parametrization))
        for name, parameter in table.items()
    }


def _init(name: str, parameter: Parameter, seed: int, std: float) -> np.ndarray:
    if parameter.role == "gain":
        return np.ones(parameter.dims, np.float32)
    if std == 0:
        return np.zeros(parameter.dims, np.float32)
    return (std * _normal(name, seed, parameter.size)).astype(np.float32).reshape(parameter.dims)


def _normal(name: str, seed: int, size: int) -> np.ndarray:
    raw = np.random.Philox(key=[seed, zlib.crc32(name.encode())]).random_raw(size)
    return ndtri(((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def abstract_params(shape: Shape) -> dict[str, jax.ShapeDtypeStruct]:
    """Describe the parameters by the table alone: nothing is drawn, whatever their size."""
    table = parameter_table(shape)
    return {name: jax.ShapeDtypeStruct(parameter.dims, np.float32) for name, parameter in table.items()}


def decay_mask(shape: Shape) -> dict[str, bool]:
    """Tell which parameters weight decay applies to: roles ``matrix`` and ``router``."""
    return {
        name: parameter.role in ("matrix", "router") for name, parameter in parameter_table(shape).items()
    }
