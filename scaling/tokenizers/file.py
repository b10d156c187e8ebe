"""Tokenizers that somebody else trained, as the library ``tokenizers`` writes them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from scaling.errors import Complaint, UserError
from scaling.tokenizers.base import Coder
from scaling.tokenizers.given import GivenTokenizer, choices

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


class TokenizerFile(GivenTokenizer):
    """Any `tokenizer.json`."""

    kind: Literal["file"] = "file"

    def open(self, file: Path | None) -> Coder:
        from scaling.tokenizers.library import LibraryCoder, load, vocabulary_of

        assert file is not None, "this tokenizer is a file: prepared() returns it"
        tokenizer, digest = load(file, "path")
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
        written = separator_among(vocabulary_of(tokenizer), special, self.separator, file)
        separator = None if written is None else tokenizer.token_to_id(written)
        return LibraryCoder(tokenizer, self.name(digest), separator, digest)


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
            raise UserError(Complaint(message, "data.tokenizer.separator", choices(special)))
        return asked
    ends = [token for token in END_OF_TEXT if token in tokens]
    if len(ends) != 1:
        message = f"{file} has several tokens that end a text" if ends else f"no token of {file} ends a text"
        raise UserError(Complaint(message, "data.tokenizer.separator", choices(ends or special)))
    return ends[0]
