"""Tokenizers in a file that somebody else made."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from scaling.errors import Complaint, UserError
from scaling.tokenizers.base import TextTokenizer


class GivenTokenizer(TextTokenizer):
    """A tokenizer that a spec names by its file."""

    path: str
    """The file, relative to the spec."""
    separator: str = "auto"
    """Token before every document. auto: the one that marks the end of a text; none: documents are joined."""

    def files(self, folder: Path) -> tuple[Path, ...]:
        return (self._given(folder),)

    def prepared(
        self, folder: Path, cache: Path, corpus_sha256: str, texts: Callable[[], Iterable[bytes]]
    ) -> Path:
        return self._given(folder)

    def name(self, digest: str) -> str:
        """Return the file's name with the start of its sha256: the same name means the same tokens."""
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', Path(self.path).stem)}-{digest[:6]}"

    def _given(self, folder: Path) -> Path:
        file = folder / Path(self.path).expanduser()
        if not file.is_file():
            raise UserError(
                Complaint(
                    f"there is no file {file}", "data.tokenizer.path", "give a path relative to the spec"
                )
            )
        return file


def choices(tokens: Collection[str]) -> str:
    """Say which tokens could separate documents."""
    shown = [repr(token) for token in [*tokens][:12]]
    return f"set separator: {', '.join([*shown, 'or none']) if shown else 'none'}"
