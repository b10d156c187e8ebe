"""Activations of a model by the place where they stand: values that it names with ``checkpoint_name``.

Names cost a program nothing: they are gone when it is compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal

from scaling.model.roles import Params
from scaling.model.transformer import Model

PLACES = ("embedding", "attention", "mlp", "residual", "logits")
"""Of each layer, what attention and MLP give the residual stream, before any multiplier of it, and the stream
after the layer."""


def activations(model: Model, params: Params, tokens_BxT: jax.Array) -> dict[str, jax.Array]:
    """Compute the activations at all of :data:`PLACES`, those of all layers together: (L, B, T, D); L is 1 of
    embedding and logits, whose last dimension is the vocabulary."""
    named: list[tuple[str, jax.Array]] = []
    traced = jax.make_jaxpr(model.logits)(params, tokens_BxT)
    leaves = jax.tree.leaves((params, tokens_BxT))
    [logits_BxTxV] = _evaluate(traced.jaxpr, traced.consts, leaves, named)
    named.append(("logits", logits_BxTxV))
    return {place: jnp.stack([x for name, x in named if name == place]) for place in PLACES}


def _evaluate(
    jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any], named: list[tuple[str, jax.Array]]
) -> list[Any]:
    """Evaluate a program operation by operation; add the values that it names to ``named``, those of a scan
    in order.

    Args:
        jaxpr: the program.
        constants: of the program.
        arguments: its inputs.
        named: takes names and values.
    """
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))
    for equation in jaxpr.eqns:
        given = [v.val if isinstance(v, Literal) else values[v] for v in equation.invars]
        parameters = equation.params
        match equation.primitive.name:
            case "name":
                results = given
                named.append((parameters["name"], *given))
            case "scan" if _has_names(parameters["jaxpr"].jaxpr):
                results = _scan(equation, given, named)
            case "jit" | "custom_jvp_call" | "custom_vjp_call" as kind:
                inner = parameters["jaxpr" if kind == "jit" else "call_jaxpr"]
                results = _evaluate(inner.jaxpr, inner.consts, given, named)
            case _:
                results = equation.primitive.bind(*given, **parameters)
                results = results if equation.primitive.multiple_results else [results]
        values.update(zip(equation.outvars, results, strict=True))
    return [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]


def _has_names(jaxpr: Jaxpr) -> bool:
    return any(equation.primitive.name == "name" for equation in jaxpr.eqns)


def _scan(equation: Any, given: list[Any], named: list[tuple[str, jax.Array]]) -> Iterator[Any]:
    """Take the steps of a scan one after the other. What its body takes or gives in the shape that it has
    outside is constant or carried; all else is stacked over steps."""
    body, length = equation.params["jaxpr"], equation.params["length"]
    kept = sum(v.aval.shape == inner.shape for v, inner in zip(equation.invars, body.in_avals, strict=True))
    carried = sum(
        v.aval.shape == inner.shape for v, inner in zip(equation.outvars, body.out_avals, strict=True)
    )
    first = kept - carried
    constants, carry = given[:first], given[first:kept]
    inputs, outputs = given[kept:], list[list[Any]]()
    for i in range(length):
        arguments = [*constants, *carry, *(x[i] for x in inputs)]
        results = _evaluate(body.jaxpr, body.consts, arguments, named)
        carry = results[:carried]
        outputs.append(results[carried:])
    yield from carry
    yield from map(jnp.stack, zip(*outputs, strict=True))
