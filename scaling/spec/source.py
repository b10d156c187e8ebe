"""Where in a file, or in which ``--set``, each field of a spec was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from scaling.errors import Complaint, UserError

Path = tuple[str | int, ...]

_EXCERPT = 160


@dataclass(frozen=True)
class Finding:
    """Something wrong with the field at ``path``.

    ``at_key`` points at its name rather than its value; ``meant`` is the name or choice that was misspelt;
    ``by_lack``: more sizes or amounts could mend it.
    """

    path: Path
    message: str
    hint: str = ""
    at_key: bool = False
    meant: str | None = None
    by_lack: bool = False


@dataclass(frozen=True)
class Override:
    """A ``value`` for the node at ``field``; the value is written at ``place``, its field path at ``key``."""

    field: Path
    value: Any
    place: Path
    key: Path


@dataclass(frozen=True)
class Mark:
    """A place: ``where`` as printed and the text found there. ``order`` sorts marks as they are met."""

    where: str
    excerpt: str = ""
    order: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Source:
    """Marks of names and values, and the ``folder`` that relative paths are relative to. All sources are
    equal, so that equal studies from two files are equal."""

    keys: Mapping[Path, Mark] = field(default_factory=dict[Path, Mark], compare=False)
    values: Mapping[Path, Mark] = field(default_factory=dict[Path, Mark], compare=False)
    folder: FilePath = field(default=FilePath(), compare=False)

    def mark(self, finding: Finding) -> Mark | None:
        """Return the mark of the field, or else of the nearest field around it."""
        path, tables = finding.path, (self.values, self.keys)
        if finding.at_key:
            tables = (self.keys, self.values)
        while True:
            for table in tables:
                if path in table:
                    return table[path]
            if not path:
                return None
            path, tables = path[:-1], (self.keys, self.values)

    def renamed(self, names: Sequence[tuple[Path, Path]]) -> Source:
        """Return these marks, and those at and below each first path under the second one too, in this
        order."""

        def grown(marks: Mapping[Path, Mark]) -> dict[Path, Mark]:
            all_marks = dict(marks)
            for old, new in names:
                below = [(new + p[len(old) :], mark) for p, mark in all_marks.items() if p[: len(old)] == old]
                for path, mark in below:
                    all_marks.setdefault(path, mark)
            return all_marks

        return Source(grown(self.keys), grown(self.values), self.folder)

    def problem(self, finding: Finding) -> Complaint:
        mark, dotted = self.mark(finding), dotted_path(finding.path)
        if mark is None:
            return Complaint(finding.message, dotted, finding.hint)
        text = f"{dotted}: {finding.message}" if dotted else finding.message
        return Complaint(text, mark.where, finding.hint, mark.excerpt)

    def problems(self, findings: list[Finding]) -> list[Complaint]:
        """Order problems as a reader of the file meets them."""

        def order(finding: Finding) -> tuple[int, int]:
            mark = self.mark(finding)
            return mark.order if mark else (0, 0)

        return [self.problem(f) for f in sorted(findings, key=order)]

    def in_order(self, problems: Sequence[Complaint]) -> list[Complaint]:
        """Order problems as :meth:`problems` does, those of no place of the file first."""
        places = {mark.where: mark.order for marks in (self.keys, self.values) for mark in marks.values()}
        return sorted(problems, key=lambda problem: places.get(problem.where, (0, 0)))


class SpecError(UserError):
    """What is wrong with a spec: ``findings``, with their places in ``source``, and problems of no field."""

    def __init__(self, source: Source, findings: Sequence[Finding], others: Sequence[Complaint] = ()):
        super().__init__(*source.problems([*findings]), *others)
        self.findings, self.others = tuple(findings), tuple(others)


def dotted_path(path: Path) -> str:
    """Write ``("holdout", 0, "width")`` as ``holdout[0].width``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return shorten(text)


def shorten(text: str, limit: int = _EXCERPT) -> str:
    """Return one printable line of at most ``limit`` characters."""
    line = "".join(c if c.isprintable() else "?" for c in text[: limit + 1])
    return line if len(line) <= limit else line[: limit - 3] + "..."
