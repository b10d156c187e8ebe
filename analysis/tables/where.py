"""Row filters: ``excluded_by_epoch == 0 and loss < 3.2 or label in ("w16", "w24")``.

A comparison is a column, one of ``== != < <= > >=`` or ``[not] in (...)``, and a number, a quoted string,
``true``, ``false`` or ``empty``. ``not`` binds tighter than ``and``, ``and`` tighter than ``or``; parentheses
group. Columns whose names are not identifiers stand in back quotes, as in `Model Size` or `loss/code`.
An empty cell satisfies ``== empty``, and ``!=`` (or ``not in``) anything else. Nothing is evaluated as code.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.tables.table import about

DEPTH = 50  # of parentheses and nots; deeper ones are a mistake, and would exhaust the stack
SHOWN = 60  # characters of the text beside a fault
WORDS = ("and", "or", "not", "in", "true", "false", "empty")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt,
    ">": operator.gt,
}  # fmt: skip
SLIPS = {"=": "'=='", "&": "'and'", "&&": "'and'", "|": "'or'", "||": "'or'", "!": "'not'", "~": "'not'"}
TOKEN = re.compile(
    r"""\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |`(?P<quoted>(?:[^`]|``)+)`
    |(?P<word>[^\W\d]\w*)
    |(?P<sign>==|!=|<=|>=|<|>|\(|\)|,)
    |(?P<slip>&&|\|\||[=&|!~])
    |(?P<end>\Z))""",
    re.VERBOSE | re.DOTALL,
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
        shown = ", ".join(map(_literal, self.values))
        return f"{_column(self.column)} {self.sign} " + (f"({shown})" if self.sign.endswith("in") else shown)

    def _mask(self, frame: pd.DataFrame, problems: list[str]) -> np.ndarray:
        found: Any = _find(self.column, frame, problems)
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
    return _Parser(text).whole()


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint at the column that ``name`` may mean, to end a message with."""
    folded = {str(known).lower(): str(known) for known in names}
    close = difflib.get_close_matches(name[:100].lower(), list(folded), n=1, cutoff=0.6)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    more = ", ..." if len(names) > 20 else ""
    return f"columns here: {', '.join(map(str, names[:20]))}{more}"


class _Parser:
    """Recursive descent; ``at`` is the position of the token at hand."""

    def __init__(self, text: str):
        self.text, self.end, self.depth = text, 0, 0
        self.advance()

    def advance(self) -> None:
        match = TOKEN.match(self.text, self.end)
        if match is None:
            at = self.end + len(self.text[self.end :]) - len(self.text[self.end :].lstrip())
            quote = self.text[at] in "\"'`"
            raise self.fault("a quote is not closed" if quote else "this is no part of a filter", at)
        self.kind = str(match.lastgroup)
        self.token = match[self.kind]
        self.at, self.end = match.start(self.kind), match.end()
        if self.kind == "slip":
            raise self.fault(f"{self.token!r} is not used here; write {SLIPS[self.token]}", self.at)
        if self.kind == "word" and self.token.lower() in WORDS:
            self.kind = self.token = self.token.lower()

    def fault(self, message: str, at: int) -> AnalysisError:
        start = max(0, at - SHOWN)
        shown = re.sub(r"\s", " ", self.text[start : at + SHOWN])
        return AnalysisError(
            f"filter: {message}, at character {at + 1}\n  {shown}\n  {' ' * (at - start)}^\n"
            '  write for example: loss < 3.2 and (label == "a" or `Model Size` >= 1e6)'
        )

    def take(self, sign: str) -> bool:
        if self.token != sign or self.kind not in ("sign", sign):
            return False
        self.advance()
        return True

    def whole(self) -> Condition:
        if self.kind == "end":
            raise self.fault("it is empty", self.at)
        found = self.either()
        if self.kind != "end":
            hint = " (no more than one comparison a column)" if self.token in OPERATORS else ""
            raise self.fault(f"expected 'and', 'or' or the end, found {self.token!r}{hint}", self.at)
        return found

    def either(self) -> Condition:
        return self.joined("or", lambda: self.joined("and", self.one))

    def joined(self, word: str, part: Callable[[], Condition]) -> Condition:
        parts = [part()]
        while self.take(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def one(self) -> Condition:
        start = self.at
        if not (self.take("not") or self.take("(")):
            return self.comparison()
        self.depth += 1
        if self.depth > DEPTH:
            raise self.fault(f"nested more than {DEPTH} deep", start)
        negated = self.text[start] != "("
        found = Not(self.one()) if negated else self.either()
        if not negated and not self.take(")"):
            raise self.fault(f"expected ')' for the '(' at character {start + 1}", self.at)
        self.depth -= 1
        return found

    def comparison(self) -> Condition:
        if self.kind not in ("word", "quoted"):
            raise self.fault(f"expected a column, found {self.token or 'the end'!r}", self.at)
        column = self.token.replace("``", "`")
        self.advance()
        negated = self.take("not")
        if self.take("in"):
            if not self.take("("):
                raise self.fault(
                    f"expected '(' and values after 'in', found {self.token or 'the end'!r}", self.at
                )
            values = [self.value()]
            while self.take(","):
                values.append(self.value())
            if not self.take(")"):
                raise self.fault(f"expected ',' or ')', found {self.token or 'the end'!r}", self.at)
            return Comparison(column, "not in" if negated else "in", tuple(values))
        sign = self.token
        if negated or self.kind != "sign" or sign not in OPERATORS:
            signs = f"one of {' '.join(OPERATORS)} in"
            raise self.fault(
                f"expected {signs} after column {column!r}, found {sign or 'the end'!r}", self.at
            )
        self.advance()
        at, value = self.at, self.value()
        if sign not in ("==", "!=") and not isinstance(value, float):
            raise self.fault(f"{sign!r} compares with numbers only, not {_literal(value)}", at)
        return Comparison(column, sign, (value,))

    def value(self) -> Value:
        kind, token = self.kind, self.token
        if kind not in ("number", "text", "true", "false", "empty"):
            hint = f'; text needs quotes: "{token}"' if kind == "word" else ""
            what = f"expected a number, a quoted string, true, false or empty, found {token or 'the end'!r}"
            raise self.fault(what + hint, self.at)
        self.advance()
        match kind:
            case "number":
                return float(token)
            case "text":
                return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
            case "empty":
                return None
            case _:
                return kind == "true"


def _literal(value: Value) -> str:
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


def _column(name: str) -> str:
    plain = re.fullmatch(r"[^\W\d]\w*", name) and name.lower() not in WORDS
    return name if plain else "`" + name.replace("`", "``") + "`"


def _find(column: str, frame: pd.DataFrame, problems: list[str]) -> pd.Series | None:
    name = column if column in frame.columns else about(frame).columns.get(column)
    if name not in frame.columns:
        problems.append(f"filter: no column {column!r}; {nearest(column, list(frame.columns))}")
        return None
    found: Any = frame[name]
    if found.ndim == 1:
        return found
    problems.append(f"filter: column {column!r} is there {found.shape[1]} times; keep one")
    return None


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
        f"filter: column {column!r} holds {kind} (first: {shown}), compared with {_literal(value)}; "
        f"write {_column(column)} {sign if needed != 'numbers' or kind == 'numbers' else '=='} {shown}"
    )
