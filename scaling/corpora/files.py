"""Files as a corpus names them, by path or pattern, and the parts in which they are read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from scaling.corpora.base import Part
from scaling.errors import Complaint, UserError

PART_BYTES = 64 * 2**20
"""Input that a part has, about."""

Text = Annotated[str, StringConstraints(min_length=1)]


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _without_nul(pattern: str) -> str:
    if "\0" in pattern:
        reason = "holds a NUL character, which is in the name of no file: remove \\0 from {pattern}"
        raise PydanticCustomError("spec", reason, {"pattern": repr(pattern)})
    return pattern


Patterns = Annotated[
    tuple[Annotated[Text, AfterValidator(_without_nul)], ...],
    BeforeValidator(_several, json_schema_input_type=str | tuple[str, ...]),
    Field(min_length=1),
]
"""A path or a pattern such as ``notes/**/*.txt``, or a list of them."""


@dataclass(frozen=True)
class InputFile:
    """A file of a corpus; ``name`` is its path as messages and documents say it."""

    path: Path
    name: str
    size: int

    def part(self) -> Part:
        """Return the whole file as one part."""
        return Part(self.path, self.name)

    def parts(self, step: int = PART_BYTES) -> list[Part]:
        """Cut the file into ranges of ``step`` bytes, the last one open."""
        starts = range(0, max(1, self.size), step)
        return [
            Part(self.path, self.name, start, start + step if start + step < self.size else None)
            for start in starts
        ]


def matching(patterns: Sequence[str], folder: Path) -> list[InputFile]:
    """List the files that the patterns match, each once, sorted by name.

    Relative patterns start at ``folder``. ``**`` matches folders of any depth; names that begin with a dot
    match only where they are written out, and what a study of ours wrote is no text of a corpus.

    Raises:
        UserError: a pattern matches nothing, or something that is no readable file; ``where`` is ``files``.
    """
    files, problems = dict[str, InputFile](), list[Complaint]()
    for pattern in patterns:
        try:
            files |= {str(file.path): file for file in _matching(pattern, folder)}
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    return sorted(files.values(), key=lambda file: file.name)


def _matching(pattern: str, folder: Path) -> list[InputFile]:
    expanded = os.path.expanduser(pattern)
    if os.path.lexists(folder / expanded) or not glob.has_magic(expanded):
        return [_file(expanded, folder)]
    matches = glob.glob(expanded, root_dir=folder, recursive=True)
    files = [match for match in matches if not os.path.isdir(folder / match) and not _ours(match, folder)]
    if not files:
        if matches:
            message, hint = f"{pattern!r} matches folders only", f"write {pattern}/* for the files in them"
        else:
            message, hint = f"{pattern!r} matches no file", _nearby(expanded, folder)
        raise UserError(Complaint(message, "files", hint))
    return [_file(match, folder) for match in files]


def _ours(match: str, folder: Path) -> bool:
    """Return whether a match lies in the results of a study."""
    return any((folder / parent / "plan.json").exists() for parent in Path(match).parents)


def _file(written: str, folder: Path) -> InputFile:
    path = Path(os.path.normpath(folder / written))
    try:
        status = path.stat()
    except OSError as error:
        message = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(Complaint(f"{written!r}: {message}", "files", _nearby(written, folder))) from None
    if S_ISDIR(status.st_mode):
        hint = f"write '{written.rstrip('/')}/**/*' for all files in it"
        raise UserError(Complaint(f"{written!r} is a folder", "files", hint))
    if not S_ISREG(status.st_mode):
        raise UserError(Complaint(f"{written!r} is not a regular file", "files", "copy it into a file"))
    if not os.access(path, os.R_OK):
        raise UserError(Complaint(f"{written!r} must not be read", "files", "change its permissions"))
    inside = not os.path.isabs(written) or path.is_relative_to(folder)
    name = os.path.relpath(path, folder) if inside else str(path)
    return InputFile(path, os.fsencode(name).decode("utf-8", "replace"), status.st_size)


def _nearby(written: str, folder: Path) -> str:
    """Say what there is in the folder where the files should be."""
    parent = Path(os.path.normpath(folder / written)).parent
    while glob.has_magic(str(parent)) or not parent.is_dir():
        parent = parent.parent
    try:
        names = sorted(entry.name for entry in os.scandir(parent) if not entry.name.startswith("."))
    except OSError:
        names = []
    if not names:
        return f"{parent} is empty"
    return choices("" if glob.has_magic(written) else os.path.basename(written), names, f"in {parent}")


def choices(name: str, names: Iterable[str], where: str = "here") -> str:
    """Hint at the nearest of ``names``, or at the first few of them."""
    names = list(names)
    if nearest := get_close_matches(name, names, n=1):
        return f"did you mean {nearest[0]!r}?"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{where}: {', '.join(names[:8])}{more}"
