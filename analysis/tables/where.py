"""Row filters: ``excluded_by_epoch == 0 and loss < 3.2 or label in ("w16", "w24")``.

A comparison is a column, one of ``== != < <= > >=`` or ``[not] in (...)``, and a number, a quoted string,
``true``, ``false`` or ``empty``. ``not`` binds tighter than ``and``, ``and`` tighter than ``or``; parentheses
group. Columns whose names are not identifiers stand in back quotes, as in `Model Size` or `loss/code`.
An empty cell satisfies ``== empty``, and ``!=`` (or ``not in``) anything else. Nothing is evaluated as code.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.tables.expressions import VALUES, WORDS, Grammar, Source, Token, quoted
from analysis.tables.expressions import column as find

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt,
    ">": operator.gt,
}  # fmt: skip
SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.LtE: "<=", ast.GtE: ">=", ast.Lt: "<", ast.Gt: ">", ast.In: "in",
    ast.NotIn: "not in",
}  # fmt: skip
VALUE = "a number, a quoted string, true, false or empty"
AFTER_VALUE = "'and', 'or' or the end"
FILTER = Grammar(
    kind="filter",
    signs=(*OPERATORS, "(", ")", ","),
    words=WORDS,
    expected={
        "column": f"one of {' '.join(OPERATORS)} in after column {{}}",
        "in": "'(' and values after 'in'",
        **dict.fromkeys((*OPERATORS, ","), VALUE),
        **dict.fromkeys((*VALUES, ")"), AFTER_VALUE),
    },
    operand="a column",
    example='loss < 3.2 and (label == "a" or `Model Size` >= 1e6)',
)
Value = float | str | bool | None  # None stands for `empty`


@dataclass(frozen=True)
class Condition:
    """A parsed filter; ``parse(str(condition)) == condition``."""

    def mask(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows satisfy it, a bool array (rows,). Columns may also go by the names that they had in the
        file (``About.columns``). Raises AnalysisError for unknown columns and for comparisons with a
        value of another type, all at once."""
        problems: list[str] = []
        found = self._mask(frame, problems)
        if problems:
            raise AnalysisError(list(dict.fromkeys(problems)))
        return found

    def _mask(self, frame: pd.DataFrame, problems: list[str]) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class Comparison(Condition):
    column: str
    sign: str  # a key of OPERATORS, "in" or "not in"
    values: tuple[Value, ...]  # one, but for in

    def __str__(self) -> str:
        shown = ", ".join(map(literal, self.values))
        return f"{quoted(self.column)} {self.sign} " + (f"({shown})" if self.sign.endswith("in") else shown)

    def _mask(self, frame: pd.DataFrame, problems: list[str]) -> np.ndarray:
        found: Any = find(self.column, frame, "filter", problems)
        if found is None:
            return np.zeros(len(frame), bool)
        kind, series, missing = _kind(found), found, found.isna().to_numpy()
        given = [value for value in self.values if value is not None]
        problems += [m for value in given if (m := _mismatch(self.column, kind, value, self.sign, series))]
        if problems:
            return missing
        present = np.zeros(len(series), bool)  # of rows that have a value: whether the comparison holds
        values = series[~missing].to_numpy(float if kind == "numbers" else object)
        if self.sign in OPERATORS and given and kind != "nothing":
            present[~missing] = np.asarray(OPERATORS[self.sign](values, given[0]), bool)
        elif self.sign in ("in", "not in"):
            present[~missing] = np.isin(values, given) if kind == "numbers" else [v in given for v in values]
            is_in = present | (missing & (None in self.values))
            return is_in if self.sign == "in" else ~is_in
        elif not given:
            return missing if self.sign == "==" else ~missing
        return np.where(missing, self.sign == "!=", present)


@dataclass(frozen=True)
class Not(Condition):
    part: Condition

    def __str__(self) -> str:
        return f"not ({self.part})" if isinstance(self.part, Joined) else f"not {self.part}"

    def _mask(self, frame: pd.DataFrame, problems: list[str]) -> np.ndarray:
        return ~self.part._mask(frame, problems)


@dataclass(frozen=True)
class Joined(Condition):
    word: str  # "and" or "or"
    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        loose = {"and": ("and", "or"), "or": ("or",)}[self.word]
        shown = [f"({p})" if isinstance(p, Joined) and p.word in loose else str(p) for p in self.parts]
        return f" {self.word} ".join(shown)

    def _mask(self, frame: pd.DataFrame, problems: list[str]) -> np.ndarray:
        join = np.logical_and if self.word == "and" else np.logical_or
        return join.reduce([part._mask(frame, problems) for part in self.parts])


def parse(text: str) -> Condition:
    """The condition that ``text`` states. Raises AnalysisError that points at the fault."""
    source = Source(text, FILTER)
    return _condition(source.tree(), source)


def _condition(node: ast.expr, source: Source) -> Condition:
    match node:
        case ast.BoolOp(op, parts):
            word = "and" if isinstance(op, ast.And) else "or"
            return Joined(word, tuple(_condition(part, source) for part in parts))
        case ast.UnaryOp(ast.Not(), part):
            return Not(_condition(part, source))
        case ast.Compare(ast.Name() as name, [sign], [right]) if source.token(name).kind == "column":
            return _comparison(source.token(name).name, SIGNS[type(sign)], right, source)
        case ast.Compare(ast.Name() as name, _, [first, *_]) if source.token(name).kind == "column":
            second = source.after(first)
            hint = "(no more than one comparison a column)"
            raise source.fault(f"expected {AFTER_VALUE}, found {second.shown} {hint}", second.at)
        case ast.Name() if source.token(node).kind == "column":
            raise source.unexpected(source.after(node))
    found = source.token(node)
    raise source.fault(f"expected a column, found {found.shown}", found.at)


def _comparison(column: str, sign: str, right: ast.expr, source: Source) -> Comparison:
    start = source.token(right)
    if sign not in OPERATORS:
        opening = start if isinstance(right, ast.Tuple) else source.before(start)
        if opening is None or opening.kind != "(":
            raise source.fault(f"expected '(' and values after 'in', found {start.shown}", start.at)
        given = right.elts if isinstance(right, ast.Tuple) else [right]
        if not given:
            raise source.fault(f"expected {VALUE}, found ')'", source.after(right).at - 1)
        return Comparison(column, sign, tuple(_value(source.token(item), source) for item in given))
    value = _value(start, source)
    if sign not in ("==", "!=") and not isinstance(value, float):
        raise source.fault(f"{sign!r} compares with numbers only, not {literal(value)}", start.at)
    return Comparison(column, sign, (value,))


def _value(token: Token, source: Source) -> Value:
    match token.kind:
        case "number":
            return float(token.text)
        case "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
        case "true" | "false":
            return token.kind == "true"
        case "empty":
            return None
    hint = f'; text needs quotes: "{token.name}"' if token.kind == "column" else ""
    raise source.fault(f"expected {VALUE}, found {token.shown}{hint}", token.at)


def literal(value: Value) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
        case _ if np.isinf(value):
            return "1e999" if value > 0 else "-1e999"
        case _:
            return str(int(value)) if abs(value) < 1e15 and float(value).is_integer() else repr(value)


def _kind(series: pd.Series) -> str:
    """numbers, booleans or text; nothing where all cells are empty."""
    if series.notna().sum() == 0:
        return "nothing"
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    numbers = dict.fromkeys(("integer", "floating", "mixed-integer-float"), "numbers")
    return {**numbers, "boolean": "booleans"}.get(inferred, "text")


def _mismatch(column: str, kind: str, value: Value, sign: str, series: Any) -> str | None:
    needed = {bool: "booleans", str: "text"}.get(type(value), "numbers")
    if kind in (needed, "nothing"):
        return None
    example = series.dropna().iloc[0]
    shown = {"text": f'"{example}"', "booleans": "true"}.get(kind, f"{example}")
    return (
        f"filter: column {column!r} holds {kind} (first: {shown}), compared with {literal(value)}; "
        f"write {quoted(column)} {sign if needed != 'numbers' or kind == 'numbers' else '=='} {shown}"
    )
