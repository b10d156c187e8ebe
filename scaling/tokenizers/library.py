"""The coder of every ``tokenizer.json``, by the library ``tokenizers``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.errors import Complaint, UserError
from scaling.tokenizers.base import TokenizerFacts, dtype_of
from scaling.tokenizers.spans import bytes_per_token

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

PIECE = (
    1 << 20
)  # characters of text that the library is given at a time: what it returns is 50 times as large
_BEFORE_SPACE = re.compile(r"\S(?=[ \n])")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def load(file: Path, field: str) -> tuple[Tokenizer, str]:
    """Read a ``tokenizer.json``; return it without truncation and padding, and the sha256 of the file.

    Raises:
        UserError: the file is missing or is not a tokenizer; ``where`` is ``data.tokenizer.`` and ``field``.
    """
    from tokenizers import Tokenizer

    where = f"data.tokenizer.{field}"
    # Prepare runs one process a core; threads within each would only get in each other's way.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        content = file.read_bytes()
        tokenizer = Tokenizer.from_str(content.decode("utf-8"))
    except OSError as error:
        raise UserError(Complaint(f"cannot read {file}: {error.strerror}", where)) from None
    except Exception as error:  # the library raises no class of its own
        message = f"{file} is not a tokenizer: {error}"
        hint = "give the tokenizer.json that the library 'tokenizers' writes"
        raise UserError(Complaint(message, where, hint)) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # "<|endoftext|>" in a text is text
    return tokenizer, sha256(content).hexdigest()


def vocabulary_of(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids of all tokens, added ones too."""
    return tokenizer.get_vocab(with_added_tokens=True)


class LibraryCoder:
    """Cuts text by a tokenizer of the library.

    Nothing is added to a text, and a special token written out in it is cut as the text it is.
    """

    def __init__(self, tokenizer: Tokenizer, name: str, separator: int | None, digest: str):
        """Make the coder of a tokenizer that :func:`load` gave.

        Args:
            tokenizer: of the library.
            name: in the facts.
            separator: id before every document.
            digest: sha256 of its file.
        """
        vocab_size = max(vocabulary_of(tokenizer).values()) + 1
        self.facts = TokenizerFacts(
            name=name,
            vocab_size=vocab_size,
            separator=separator,
            dtype=dtype_of(vocab_size),
            sha256=digest,
        )
        self._tokenizer = tokenizer
        self._cuts = _can_be_cut(json.loads(tokenizer.to_str()))

    def encode(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """Cut each text, see :class:`scaling.tokenizers.base.Coder`.

        Memory beyond texts and tokens is bounded (by about 200 MB), unless one text is huge and its tokenizer
        cannot start between two words of it.

        Raises:
            UserError: the separator occurs in a text.
        """
        import numpy as np

        pieces = [self._pieces(text) for text in texts]
        flat = [piece for of_text in pieces for piece in of_text]
        tokens = (
            np.array(encoding.ids, self.facts.dtype)
            for batch in _batches(flat)
            for encoding in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        )
        return [self._checked([next(tokens) for _ in of_text]) for of_text in pieces]

    def encode_with_bytes(self, text: bytes) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        tokens, counts = [], []
        for piece in self._pieces(text):
            encoding = self._tokenizer.encode(piece, add_special_tokens=False)
            tokens.append(np.array(encoding.ids, self.facts.dtype))
            counts.append(self._counts(piece, encoding))
        return self._checked(tokens), np.concatenate(counts)

    def decode(self, tokens: np.ndarray) -> str:
        return self._tokenizer.decode(tokens.tolist(), skip_special_tokens=False)

    def _pieces(self, text: bytes) -> list[str]:
        whole = text.decode("utf-8")
        if not self._cuts:
            return [whole]
        pieces, start = [], 0
        while (end := _BEFORE_SPACE.search(whole, start + PIECE)) is not None:
            pieces.append(whole[start : end.end()])
            start = end.end()
        return [*pieces, whole[start:]]

    def _checked(self, tokens: list[np.ndarray]) -> np.ndarray:
        import numpy as np

        joined = tokens[0] if len(tokens) == 1 else np.concatenate(tokens)
        separator = self.facts.separator
        if separator is not None and (joined == separator).any():
            written = self._tokenizer.id_to_token(separator)
            message = f"the text holds {written!r}, which is to separate documents"
            raise UserError(Complaint(message, "data.tokenizer.separator", "take another token, or 'none'"))
        return joined

    def _counts(self, piece: str, encoding: Any) -> np.ndarray:
        """Return the bytes of ``piece`` that each token stands for.

        Where tokens are made of bytes theirs are counted; else what counts is where tokens end in the text.
        """
        import numpy as np

        content = piece.encode("utf-8")
        spelt = [self._bytes_of[i] for i in encoding.ids]
        if b"".join(spelt) == content:
            return np.array([len(token) for token in spelt], np.uint32)
        places = np.cumsum([0, *(len(character.encode("utf-8")) for character in piece)])
        ends = places[np.array([end for _, end in encoding.offsets], np.int64)]
        single = np.array([bool(_BYTE.fullmatch(token)) for token in encoding.tokens], bool)
        return bytes_per_token(ends, single, len(content))

    @cached_property
    def _bytes_of(self) -> dict[int, bytes]:
        """Tokens of byte-level models as bytes; those of others give a byte that no UTF-8 holds."""
        letters = byte_letters()
        added = self._tokenizer.get_added_tokens_decoder()
        bytes_of = {i: token.content.encode("utf-8") for i, token in added.items()}
        for token, i in vocabulary_of(self._tokenizer).items():
            if i not in added:
                bytes_of[i] = bytes(letters[c] for c in token) if set(token) <= letters.keys() else b"\xff"
        return bytes_of


def byte_letters() -> dict[str, int]:
    """Return the letter that byte-level models write for each byte.

    Printable characters of Latin-1 stand for themselves, the other bytes for U+0100 and on, in order: the
    table of GPT-2.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _can_be_cut(description: dict[str, Any]) -> bool:
    """Whether cutting a text before a space changes no token.

    So it is for GPT-2's pattern of words: no token goes on from another character to a space.
    """
    words = description["pre_tokenizer"] or {}
    return (
        description["normalizer"] is None
        and words.get("type") == "ByteLevel"
        and words["use_regex"]
        and not words["add_prefix_space"]
        and all(token["special"] for token in description["added_tokens"])
    )


def _batches(pieces: Sequence[str]) -> Iterator[list[str]]:
    """Group texts so that each group but the largest texts has at most ``PIECE`` characters."""
    batch, size = [], 0
    for piece in pieces:
        if batch and size + len(piece) > PIECE:
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += len(piece)
    if batch:
        yield batch
