"""Documents, and what every corpus of documents can tell.

Fields are checked without numpy; what reads files imports its libraries when it is called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from scaling.errors import Complaint, UserError
from scaling.recipe.quantities import Described

if TYPE_CHECKING:
    import numpy as np

    from scaling.tokenizers.base import TokenizerFacts


@dataclass(frozen=True)
class Document:
    """One document, whole.

    ``name`` says where it is from (``notes/a.txt``, ``pages.jsonl:17``); ``content`` is text as UTF-8 (not
    checked yet), or tokens of shape (n,) where the corpus is tokenised already; ``position`` is what
    ``split: spread`` spreads held-out documents over, None for the place in the corpus.
    """

    name: str
    content: bytes | np.ndarray
    position: float | None = None


@dataclass(frozen=True)
class Part:
    """What one process reads at a time: a file or a range of it, about 64 MB of input.

    ``first`` and ``last`` bound the range in the unit that the kind of corpus counts in (bytes, row groups,
    tokens); ``last`` is None for all that follows.
    """

    file: Path
    name: str  # of the file as messages and documents say it: relative to the spec where it can be
    first: int = 0
    last: int | None = None


@dataclass
class Tally:
    """What was met while reading documents that is not training text."""

    counts: Counter[str] = field(default_factory=Counter)  # empty, invalid_utf8 (documents), nul (documents)


class DocumentCorpus(Described):
    """A corpus of documents in files: it says in which parts they are read, and reads one.

    ``kind`` is the one field by which a spec chooses.
    """

    tokenised: ClassVar[bool] = False
    """Whether documents are tokens already, so that the corpus takes no tokenizer."""

    kind: str
    invalid: Literal["refuse", "replace"] = "refuse"
    """Bytes that are not UTF-8, and NUL bytes: refuse them, or replace each by U+FFFD and count documents."""

    def is_here(self, folder: Path) -> bool:
        """Return whether the corpus is in files here; if not, :meth:`parts` and :meth:`inputs` fetch it."""
        return True

    def inputs(self, folder: Path) -> tuple[Part, ...]:
        """Return the files of the corpus, each as one part. It opens none: quick enough for every plan.

        Raises:
            UserError: nothing matches, or a file cannot be read; ``where`` is the field (``files``).
        """
        return self.parts(folder)

    def parts(self, folder: Path) -> tuple[Part, ...]:
        """Return the parts in the order of the corpus; ``folder`` is what relative paths are relative to.

        Cheap: it lists files and their sizes, and reads no more of them than headers and footers.

        Raises:
            UserError: nothing matches, or a file cannot be read; ``where`` is the field (``files``), or a
                file that is not what this corpus expects.
        """
        raise NotImplementedError

    def versions(self, folder: Path) -> dict[str, str]:
        """Return what a store should record of where the corpus is from, such as its revision."""
        return {}

    def facts(self) -> TokenizerFacts:
        """Return what a store says of the tokens, for a corpus that is tokens already."""
        raise NotImplementedError

    def known_width(self) -> float | None:
        """Return the bytes of text that a token stands for on average, where a corpus of tokens says so."""
        return None

    def read(self, part: Part) -> Iterator[Document]:
        """Read the documents of one part, as they are.

        Raises:
            UserError: something in the file is not what this corpus expects; says file and place.
        """
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Return what is part of the identity of a store, besides the content of its documents."""
        return {"kind": self.kind}

    def documents(self, part: Part, tally: Tally) -> Iterator[Document]:
        """Read the documents of one part that hold text, each valid UTF-8 without NUL (or tokens).

        Raises:
            UserError: text that is not UTF-8 where it is to be refused, and as :meth:`read`.
        """
        for document in self.read(part):
            if not len(document.content):
                tally.counts["empty"] += 1
                continue
            yield _valid(document, self.invalid, tally) if isinstance(document.content, bytes) else document


def _valid(document: Document, invalid: str, tally: Tally) -> Document:
    content = document.content
    assert isinstance(content, bytes)
    nul = content.find(b"\0")
    try:
        content.decode("utf-8")
        if nul < 0:
            return document
        at, what, kind = nul, "a NUL byte", "nul"
    except UnicodeDecodeError as error:
        at, what, kind = error.start, f"byte 0x{content[error.start]:02x}, which is not UTF-8", "invalid_utf8"
    if invalid == "refuse":
        hint = (
            "convert it, such as by iconv -f LATIN1 -t UTF-8, or set data.corpus.invalid: replace, which "
            "turns every such byte into U+FFFD"
        )
        raise UserError(Complaint(f"{what} at byte {at} of the document", document.name, hint))
    tally.counts[kind] += 1
    text = content.decode("utf-8", errors="replace").replace("\0", "�")
    return Document(document.name, text.encode("utf-8"), document.position)
