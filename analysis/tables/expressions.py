"""What a user writes over the columns of a table: filters (:mod:`analysis.tables.where`), and quantities such
as ``steps * batch_tokens``: columns and numbers with ``*``, ``/`` and parentheses.

Columns whose names are not identifiers stand in back quotes. Python's parser reads the text, its names and
values replaced by placeholders of the same length; the tree is then read by a whitelist. Nothing is executed.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.tables.reading import numbers
from analysis.tables.table import about

DEPTH = 50  # of parentheses and nots; deeper ones are a mistake, and would exhaust the stack
SHOWN = 60  # characters of the text beside a fault
SLIPS = {"=": "'=='", "&": "'and'", "&&": "'and'", "|": "'or'", "||": "'or'", "!": "'not'", "~": "'not'"}
TOKEN = re.compile(
    r"""\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<quoted>`(?:[^`]|``)+`)
    |(?P<word>[^\W\d]\w*)
    |(?P<sign>==|!=|<=|>=|<|>|\(|\)|,|\*|/)
    |(?P<slip>&&|\|\||[=&|!~])
    |(?P<end>\Z))""",
    re.VERBOSE | re.DOTALL,
)
WORDS = ("and", "or", "not", "in", "true", "false", "empty")
VALUES = ("number", "text", "true", "false", "empty")


@dataclass(frozen=True)
class Token:
    """``kind``: ``column``, one of ``VALUES``, ``end``, or the sign or word that it is."""

    kind: str
    text: str
    at: int

    @property
    def name(self) -> str:
        """The column that it names."""
        return self.text[1:-1].replace("``", "`") if self.text[0] == "`" else self.text

    @property
    def shown(self) -> str:
        return repr(self.text or "the end")


@dataclass(frozen=True)
class Grammar:
    """``kind``: what its texts are called. ``signs`` and ``words`` it may hold; other words are columns.
    ``expected`` after a token of some kind, ``operand`` after any other."""

    kind: str
    signs: tuple[str, ...]
    words: tuple[str, ...]
    expected: dict[str, str]
    operand: str
    example: str


class Source:
    """A text and its tokens. Raises AnalysisError that points at the fault."""

    def __init__(self, text: str, grammar: Grammar):
        self.text, self.grammar = text, grammar
        self.tokens: list[Token] = []
        self.at: dict[int, int] = {}
        self._split()

    def fault(self, message: str, at: int) -> AnalysisError:
        start = max(0, at - SHOWN)
        shown = re.sub(r"\s", " ", self.text[start : at + SHOWN])
        where = f"at character {at + 1}\n  {shown}\n  {' ' * (at - start)}^"
        return AnalysisError(
            f"{self.grammar.kind}: {message}, {where}\n  write for example: {self.grammar.example}"
        )

    def token(self, node: ast.AST) -> Token:
        """The token that a node begins with."""
        return self.tokens[self.at[node.col_offset - 1]]  # pyright: ignore[reportAttributeAccessIssue]

    def after(self, node: ast.AST) -> Token:
        """The token that follows a node."""
        end = node.end_col_offset - 1  # pyright: ignore[reportAttributeAccessIssue]
        return next(token for token in self.tokens if token.at >= end)

    def before(self, token: Token) -> Token | None:
        i = self.at[token.at]
        return self.tokens[i - 1] if i else None

    def unexpected(self, token: Token) -> AnalysisError:
        """The fault of a token that may not stand where it does."""
        before = self.before(token)
        while before and before.kind == "not":
            before = self.before(before)
        expected = self.grammar.expected.get(before.kind if before else "", self.grammar.operand)
        column = before.name if before and before.kind == "column" else ""
        return self.fault(f"expected {expected.format(repr(column))}, found {token.shown}", token.at)

    def tree(self) -> ast.expr:
        """What belongs together."""
        python = list(" " * len(self.text))
        for token in self.tokens:
            n = len(token.text)
            match token.kind:
                case "number":
                    word = "1." + "0" * (n - 2) if n > 1 else "1"
                case "text":
                    word = "'" + "_" * (n - 2) + "'"
                case "column" | "true" | "false" | "empty":
                    word = "_" * n
                case _:
                    word = token.text.lower()
            python[token.at : token.at + n] = word
        try:
            return ast.parse(f"({''.join(python)})", mode="eval").body
        except SyntaxError as error:
            at = (error.offset or 2) - 2
            raise self.unexpected(next(t for t in self.tokens if t.at >= at or t.kind == "end")) from None

    def _split(self) -> None:
        """The tokens, an ``end`` last, checked for what may not follow what and for closed parentheses."""
        open_, nots, end = list[Token](), 0, 0
        while not self.tokens or self.tokens[-1].kind != "end":
            token, end = self._next(end)
            self.at[token.at] = len(self.tokens)
            self.tokens.append(token)
            before = self.before(token)
            whole = before is not None and before.kind in ("column", ")", *VALUES)
            opening = self.before(open_[-1]) if open_ else None
            listed = opening is not None and opening.kind == "in"
            nots = nots + 1 if token.kind == "not" else 0
            match token.kind:
                case "(" | "column" | "number" | "text" | "true" | "false" | "empty" if whole:
                    raise self.unexpected(token)
                case "(":
                    open_.append(token)
                case ")" if open_:
                    open_.pop()
                case ")":
                    raise self.unexpected(token)
                case "," if not listed:
                    raise self.unexpected(token)
                case "end" if before is None:
                    raise self.fault("it is empty", token.at)
                case "end" if open_ and whole:
                    closing = "',' or ')'" if listed else f"')' for the '(' at character {open_[-1].at + 1}"
                    raise self.fault(f"expected {closing}", token.at)
            if len(open_) + nots > DEPTH:
                raise self.fault(f"nested more than {DEPTH} deep", token.at)

    def _next(self, end: int) -> tuple[Token, int]:
        match, known = TOKEN.match(self.text, end), self.grammar
        if match is None:
            at = len(self.text) - len(self.text[end:].lstrip())
            quote = self.text[at] in "\"'`"
            raise self.fault("a quote is not closed" if quote else f"this is no part of a {known.kind}", at)
        kind = str(match.lastgroup)
        text, at = match[kind], match.start(kind)
        if kind == "slip" and "==" in known.signs:
            raise self.fault(f"{text!r} is not used here; write {SLIPS[text]}", at)
        if kind == "slip" or (kind == "sign" and text not in known.signs):
            raise self.fault(f"{text!r} is no part of a {known.kind}", at)
        if kind == "word" and text.lower() in known.words:
            kind = text.lower()
        elif kind in ("word", "quoted"):
            kind = "column"
        elif kind == "sign":
            kind = text
        return Token(kind, text, at), match.end()


QUANTITY = Grammar(
    kind="quantity",
    signs=("*", "/", "(", ")"),
    words=(),
    expected=dict.fromkeys(("column", "number", ")"), "'*', '/' or the end"),
    operand="a column or a number",
    example="steps * batch_tokens, or 20 * `Model Size`",
)


def quantity(text: str, frame: pd.DataFrame) -> np.ndarray:
    """What ``text`` states, by rows; NaN where a cell is empty. Columns may also go by the names that they
    had in the file. Raises AnalysisError."""
    source = Source(text, QUANTITY)
    with np.errstate(all="ignore"):
        return np.broadcast_to(_value(source.tree(), source, frame), len(frame)).astype(float)


def _value(node: ast.expr, source: Source, frame: pd.DataFrame) -> Any:
    match node:
        case ast.Name():
            return _numbers(source, source.token(node), frame)
        case ast.Constant() if source.token(node).kind == "number":
            return np.float64(source.token(node).text)
        case ast.BinOp(left, ast.Mult(), right):
            return _value(left, source, frame) * _value(right, source, frame)
        case ast.BinOp(left, ast.Div(), right):
            return _value(left, source, frame) / _value(right, source, frame)
        case ast.BinOp(left):
            raise source.fault("only '*' and '/' join columns and numbers", source.after(left).at)
    raise source.unexpected(source.token(node))


def _numbers(source: Source, token: Token, frame: pd.DataFrame) -> Any:
    problems: list[str] = []
    series: Any = column(token.name, frame, source.grammar.kind, problems)
    values, bad = (None, np.ones(1)) if series is None else numbers(series)
    if series is not None and bad.any():
        problems.append(
            f"{source.grammar.kind}: column {token.name!r} holds {series[bad].iloc[0]!r}; it needs numbers"
        )
    if problems:
        raise AnalysisError(problems)
    return values


def column(name: str, frame: pd.DataFrame, kind: str, problems: list[str]) -> pd.Series | None:
    """Find a column by its name, or by the name that it had in the file.

    Args:
        name: the name as the user wrote it.
        frame: the table.
        kind: what the text it stands in is called, to begin a message with.
        problems: gets a message where there is no such column, or several.

    Returns:
        The column, or None with a problem.
    """
    known = name if name in frame.columns else about(frame).columns.get(name)
    if known not in frame.columns:
        problems.append(f"{kind}: no column {name!r}; {nearest(name, list(frame.columns))}")
        return None
    series: Any = frame[known]
    if series.ndim == 1:
        return series
    problems.append(f"{kind}: column {name!r} is there {series.shape[1]} times; keep one")
    return None


def quoted(name: str) -> str:
    """A column's name as an expression holds it."""
    plain = re.fullmatch(r"[^\W\d]\w*", name) and name.lower() not in WORDS
    return name if plain else "`" + name.replace("`", "``") + "`"


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint at the column that ``name`` may mean, to end a message with."""
    folded = {str(known).lower(): str(known) for known in names}
    close = difflib.get_close_matches(name[:100].lower(), list(folded), n=1, cutoff=0.6)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    more = ", ..." if len(names) > 20 else ""
    return f"columns here: {', '.join(map(str, names[:20]))}{more}"
