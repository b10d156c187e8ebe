"""Plain text in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, StringConstraints, Tag

from scaling.corpora import streams
from scaling.corpora.base import Document, DocumentCorpus, Part
from scaling.corpora.files import Patterns, matching
from scaling.recipe.quantities import Described


class Separated(Described):
    """Documents lie between separators."""

    separator: Annotated[str, StringConstraints(min_length=1)]
    """What stands between two documents; it belongs to neither."""


def _form(value: Any) -> str:
    return "separator" if isinstance(value, dict | Separated) else "word"


class Text(DocumentCorpus):
    """Text in files, one document a file, a line, a paragraph, or between separators."""

    kind: Literal["text"] = "text"
    files: Patterns
    """Paths or patterns (`notes/**/*.txt`), relative to the spec; `.gz`, `.zst` and `.xz` are unpacked."""
    document: Annotated[
        Annotated[Literal["file", "line", "paragraph"], Tag("word")] | Annotated[Separated, Tag("separator")],
        Discriminator(_form),
    ] = "file"
    """What a document is: `file`, `line`, `paragraph` (between empty lines) or `{separator: "\\n\\n\\n"}`."""

    def inputs(self, folder: Path) -> tuple[Part, ...]:
        return tuple(file.part() for file in matching(self.files, folder))

    def parts(self, folder: Path) -> tuple[Part, ...]:
        parts = list[Part]()
        for file in matching(self.files, folder):
            is_one = self.document == "file" or file.path.suffix.lower() in streams.PACKED
            parts += [file.part()] if is_one else file.parts()
        return tuple(parts)

    def read(self, part: Part) -> Iterator[Document]:
        match self.document:
            case "file":
                yield Document(part.name, streams.whole(part))
            case "line":
                for number, (at, line) in enumerate(streams.lines(part), 1):
                    yield Document(streams.place(part, at, number), line.rstrip(b"\r\n"))
            case "paragraph":
                for at, content in streams.paragraphs(part):
                    yield Document(f"{part.name}@{at}", content)
            case Separated(separator=separator):
                for at, content in streams.pieces(part, separator.encode("utf-8")):
                    yield Document(f"{part.name}@{at}", content)
