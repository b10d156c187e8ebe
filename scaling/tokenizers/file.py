"""Tokenizers that somebody else trained, as the library ``tokenizers`` writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Literal

from scaling.errors import Complaint, UserError
from scaling.tokenizers.base import Coder, TextTokenizer

END_OF_TEXT = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eos|>",
    "<eos>",
    "</s>",
    "<｜end▁of▁sentence｜>",
    "[EOS]",
    "[SEP]",
)


class TokenizerFile(TextTokenizer):
    """Any `tokenizer.json`."""

    kind: Literal["file"] = "file"
    path: str
    """The file, relative to the spec."""
    separator: str = "auto"
    """Token before every document. auto: the one that marks the end of a text; none: documents are joined."""

    def files(self, folder: Path) -> tuple[Path, ...]:
        return (given_file(folder, self.path),)

    def prepared(
        self, folder: Path, cache: Path, corpus_sha256: str, texts: Callable[[], Iterable[bytes]]
    ) -> Path:
        return given_file(folder, self.path)

    def open(self, file: Path | None) -> Coder:
        from scaling.tokenizers.library import LibraryCoder, load, vocabulary_of

        assert file is not None, "this tokenizer is a file: prepared() returns it"
        tokenizer, digest = load(file, "path")
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
        written = separator_among(vocabulary_of(tokenizer), special, self.separator, file)
        separator = None if written is None else tokenizer.token_to_id(written)
        return LibraryCoder(tokenizer, name_of(self.path, digest), separator, digest)


def given_file(folder: Path, path: str) -> Path:
    """Return the file that a spec names.

    Raises:
        UserError: there is none; ``where`` is ``data.tokenizer.path``.
    """
    file = folder / Path(path).expanduser()
    if not file.is_file():
        raise UserError(
            Complaint(f"there is no file {file}", "data.tokenizer.path", "give a path relative to the spec")
        )
    return file


def name_of(path: str, digest: str) -> str:
    """Return the file's name with the start of its sha256: the same name means the same tokens."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', Path(path).stem)}-{digest[:6]}"


def separator_among(tokens: Collection[str], special: Collection[str], asked: str, file: Path) -> str | None:
    """Return the token that separates documents, None for none.

    Args:
        tokens: of the vocabulary.
        special: those of them that are no text.
        asked: a token, ``auto`` or ``none``.
        file: of the tokenizer, for messages.

    Raises:
        UserError: no such token, or ``auto`` where not exactly one token is known to end a text.
    """
    if asked == "none":
        return None
    if asked != "auto":
        if asked not in tokens:
            message = f"{file} has no token {asked!r}"
            raise UserError(Complaint(message, "data.tokenizer.separator", _choices(special)))
        return asked
    ends = [token for token in END_OF_TEXT if token in tokens]
    if len(ends) != 1:
        message = f"{file} has several tokens that end a text" if ends else f"no token of {file} ends a text"
        raise UserError(Complaint(message, "data.tokenizer.separator", _choices(ends or special)))
    return ends[0]


def _choices(tokens: Collection[str]) -> str:
    shown = [repr(token) for token in [*tokens][:12]]
    return f"set separator: {', '.join([*shown, 'or none']) if shown else 'none'}"
