"""YAML text -> plain values with marks. Data only: no tags, no anchors, nothing is run.

Scalars follow the YAML 1.2 core schema, so ``1e11`` is a number and ``no`` is text. The tree is built from
parser events, so nesting is bounded by us and not by the interpreter's stack.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    CollectionStartEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from scaling.errors import Complaint, UserError
from scaling.spec.source import Mark, Path, dotted_path, shorten

DEEPEST = 40
LARGEST_BYTES = 200_000  # at up to 12 CPU seconds a megabyte

_NULL = re.compile(r"(null|Null|NULL|~)?")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NON_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass
class Tree:
    """Plain values and the marks of their names and of themselves, by path."""

    value: Any = None
    keys: dict[Path, Mark] = field(default_factory=dict[Path, Mark])
    values: dict[Path, Mark] = field(default_factory=dict[Path, Mark])


def parse(text: str, name: str, *, mark_all: str | None = None) -> Tree:
    """Parse one YAML document.

    Args:
        name: file name, the first part of ``file:line:column``.
        mark_all: the place to report for every mark instead (an override on the command line).

    Raises:
        UserError: broken YAML, tags, anchors, several documents, a name given twice or that is not text, or
            more than ``DEEPEST`` levels; names given twice are reported all at once.
    """
    return _Reader(text, name, mark_all).read()


class _Reader:
    def __init__(self, text: str, name: str, mark_all: str | None):
        self.name, self.mark_all = name, mark_all
        # Shortened once: every value has an excerpt, and a line may hold thousands of them.
        self.lines = [shorten(line.strip()) for line in re.split(r"\r\n|\r|\n", text)]
        reader: Any = YAML(typ="safe", pure=True)
        self.events: Iterator[Any] = reader.parse(text)
        self.tree, self.problems = Tree(), list[Complaint]()

    def read(self) -> Tree:
        documents = 0
        try:
            for event in self.events:
                documents += isinstance(event, DocumentStartEvent)
                if documents > 1:
                    self._fail(
                        event.start_mark, "a spec is one YAML document", "remove '---' and what follows it"
                    )
                if isinstance(event, NodeEvent):
                    self.tree.value = self._node(event, ())
        except MarkedYAMLError as error:
            context, problem = str(error.context or ""), str(error.problem or "")  # pyright: ignore
            mark: Any = error.problem_mark or error.context_mark  # pyright: ignore
            what = ", ".join(filter(None, (context, problem)))
            self._fail(mark, f"broken YAML: {shorten(what)}")
        except (YAMLError, ValueError, OverflowError) as error:  # unprintable characters, absurd escapes
            raise UserError(
                Complaint(f"broken YAML: {shorten(str(error))}", self._place(None).where)
            ) from None
        if self.problems:
            raise UserError(*self.problems)
        return self.tree

    def _place(self, mark: Any) -> Mark:
        if self.mark_all is not None:
            return Mark(self.mark_all, order=(10**9, 0))
        if mark is None:
            return Mark(self.name)
        line: int = mark.line
        column: int = mark.column
        excerpt = self.lines[line] if line < len(self.lines) else ""
        return Mark(f"{self.name}:{line + 1}:{column + 1}", excerpt, (line, column))

    def _problem(self, mark: Any, message: str, hint: str = "") -> Complaint:
        place = self._place(mark)
        return Complaint(message, place.where, hint, place.excerpt)

    def _fail(self, mark: Any, message: str, hint: str = "") -> NoReturn:
        raise UserError(*self.problems, self._problem(mark, message, hint))

    def _node(self, event: Any, path: Path) -> Any:
        """Read the value that begins with ``event``, to its last event."""
        self._require_plain(event)
        start: Any = event.start_mark
        mark, value = self._place(start), _value(event)
        # What is absent or starts on the line after its name is better pointed at by its name.
        below = value is None if isinstance(event, ScalarEvent) else not event.flow_style
        self.tree.values.setdefault(path, self.tree.keys.get(path, mark) if below else mark)
        if isinstance(event, CollectionStartEvent) and len(path) >= DEEPEST:
            self._fail(start, f"nested more than {DEEPEST} levels deep", "a spec is flat")
        if isinstance(event, SequenceStartEvent):
            while not isinstance(item := next(self.events), SequenceEndEvent):
                value.append(self._node(item, (*path, len(value))))
        elif isinstance(event, MappingStartEvent):
            while not isinstance(key := next(self.events), MappingEndEvent):
                name = self._name(key, path, value)
                value[name] = self._node(next(self.events), (*path, name))
        return value

    def _require_plain(self, event: Any) -> None:
        if event.anchor is not None:
            hint = "write the value out; put text that begins with * or & in quotes"
            self._fail(event.start_mark, "anchors and aliases are not supported", hint)
        if event.tag is not None:
            self._fail(event.start_mark, f"tag {shorten(event.tag)} is not supported", "a spec is plain data")

    def _name(self, event: Any, parent: Path, items: dict[str, Any]) -> str:
        """Read the name of an item of the mapping at ``parent``, which has these ``items`` so far."""
        self._require_plain(event)
        name = _value(event)
        if not isinstance(name, str):
            self._fail(event.start_mark, "a name must be plain text", "quote it, or write name: value")
        path = (*parent, name)
        if name in items:
            first = self.tree.keys[path].where.removeprefix(f"{self.name}:").partition(":")[0]
            message = f"{dotted_path(path)}: given twice, first on line {first}"
            self.problems.append(self._problem(event.start_mark, message, "keep one of them"))
        else:
            self.tree.keys[path] = self._place(event.start_mark)
        return name


def _value(event: Any) -> Any:
    """Return a scalar, or an empty mapping or sequence."""
    if isinstance(event, ScalarEvent):
        return _scalar(event)
    return {} if isinstance(event, MappingStartEvent) else []


def _scalar(event: Any) -> Any:
    """Parse by the YAML 1.2 core schema, without octal and hexadecimal; quoted scalars are text."""
    text = event.value
    if not event.implicit[0]:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text) and len(text) < 300:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NON_FINITE.fullmatch(text):
        return math.nan if text[-1] in "nN" else -math.inf if text[0] == "-" else math.inf
    return text
