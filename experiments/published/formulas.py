"""Laws from formulas in a file. The text is data, parsed into the few operations below, never executed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from analysis import AnalysisError, Law

OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.USub: operator.neg,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": jnp.exp, "log": jnp.log, "log10": jnp.log10, "sqrt": jnp.sqrt, "tanh": jnp.tanh, "abs": jnp.abs,
    "sign": jnp.sign, "max": jnp.maximum, "min": jnp.minimum, "clip": jnp.clip,
    "sp": lambda x: jnp.log1p(jnp.exp(jnp.clip(x, -20.0, 20.0))),
}  # fmt: skip


def law(
    name: str,
    formula: str,
    domains: Mapping[str, Sequence[float]],
    inputs: Iterable[str],
    where: Sequence[str] = (),
) -> Law:
    """The law of ``formula`` in ``inputs``, of which it keeps those that occur. ``where``: definitions ``u =
    log(lr)`` that it uses, each of what stands before it. Raises AnalysisError for what is not arithmetic."""
    defined = {left.strip(): right.strip() for left, _, right in (line.partition("=") for line in where)}
    trees = {key: _parse(name, text) for key, text in (*defined.items(), ("", formula))}
    seen = {node.id for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used = tuple(x for x in inputs if x in seen)
    if unknown := seen - {*domains, *used, *defined, *FUNCTIONS}:
        raise AnalysisError(f"law {name!r}: {', '.join(sorted(unknown))}: no parameter, input or definition")

    def function(**values: Any) -> Any:
        for key, tree in trees.items():
            values[key] = _value(tree, values)
        return values[""]

    ends = {key: (float(low), float(high)) for key, (low, high) in domains.items()}
    return Law(name, function=function, domains=ends, inputs=used, linear=_linear(trees, ends), text=formula)


def _parse(name: str, text: str) -> ast.expr:
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise AnalysisError(f"law {name!r}: {text!r} is no formula: {error.msg}") from error
    for node in ast.walk(tree):
        known = (
            isinstance(node, (ast.Name, ast.Load, ast.operator, ast.unaryop))
            or (isinstance(node, ast.Constant) and type(node.value) in (int, float))
            or (isinstance(node, ast.BinOp) and type(node.op) in OPERATORS)
            or (isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS)
            or (isinstance(node, ast.Call) and not node.keywords
                and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS)
        )  # fmt: skip
        if not known:
            raise AnalysisError(f"law {name!r}: {ast.unparse(node)!r} is not of + - * / ** {list(FUNCTIONS)}")
    return tree


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            return values[name]
        case ast.UnaryOp(sign, inner):
            return OPERATORS[type(sign)](_value(inner, values))
        case ast.BinOp(left, sign, right):
            return OPERATORS[type(sign)](_value(left, values), _value(right, values))
        case ast.Call(ast.Name(name), given):
            return FUNCTIONS[name](*(_value(x, values) for x in given))
    raise AssertionError(node)


def _linear(trees: Mapping[str, ast.expr], names: Iterable[str]) -> tuple[str, ...]:
    """Parameters in which the formula is linear together, those that come first before others."""
    # of every part: the parameters in it, those it is not linear in, and pairs that are multiplied
    parts: dict[str, tuple[set[str], set[str], set[frozenset[str]]]] = {x: ({x}, set(), set()) for x in names}
    nothing: tuple[set[str], set[str], set[frozenset[str]]] = (set(), set(), set())

    def walk(node: ast.expr) -> tuple[set[str], set[str], set[frozenset[str]]]:
        match node:
            case ast.Name(name):
                return parts.get(name, nothing)
            case ast.UnaryOp(_, inner):
                return walk(inner)
            case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as sign, right):
                (a, bent_a, pairs_a), (b, bent_b, pairs_b) = walk(left), walk(right)
                product = isinstance(sign, ast.Mult | ast.Div)
                below = b if isinstance(sign, ast.Div) else set()
                pairs = {frozenset((x, y)) for x in a for y in b} if product else set()
                return a | b, bent_a | bent_b | below, pairs_a | pairs_b | pairs
            case ast.BinOp(left, _, right):
                inside = walk(left)[0] | walk(right)[0]
                return inside, inside, set()
            case ast.Call(_, given):
                inside = set().union(*(walk(x)[0] for x in given))
                return inside, inside, set()
        return nothing

    for key, tree in trees.items():
        parts[key] = walk(tree)
    inside, bent, pairs = parts[""]
    chosen: list[str] = []
    for name in names:
        if name in inside - bent and not any(frozenset((name, x)) in pairs for x in (*chosen, name)):
            chosen.append(name)
    return tuple(chosen)
