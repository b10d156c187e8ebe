"""What a tokenizer gives: facts about it, and the coder that cuts text.

Fields are checked without numpy; a coder imports its library when it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from scaling.recipe.quantities import Described, Frozen

if TYPE_CHECKING:
    import numpy as np


class TokenizerFacts(Frozen):
    """What a store says of the tokens in it.

    ``name`` is part of run ids (``bytes``, ``bpe-4096``); ``separator`` is the id put before every document,
    None where documents are joined without one; ``sha256`` is of the tokenizer's file, None for ``bytes`` and
    for tokens that came without a tokenizer; ``dtype`` is the least of uint8, uint16, uint32 that holds all
    ids.
    """

    name: str
    vocab_size: int
    separator: int | None
    dtype: str
    sha256: str | None = None


class Coder(Protocol):
    """A tokenizer at work. The same text gives the same tokens on every machine."""

    facts: TokenizerFacts

    def encode(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """Cut each text (valid UTF-8) into tokens, without separator: arrays (n,) of ``facts.dtype``."""
        ...

    def encode_with_bytes(self, text: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Cut one text; return tokens (n,), and the bytes of ``text`` that each stands for, uint32 (n,).

        The bytes sum to ``len(text)``: what a tokenizer drops is counted with the token after it, or with the
        last one. A text of which nothing is left has neither.
        """
        ...

    def decode(self, tokens: np.ndarray) -> str:
        """Return the text of tokens, for people to read."""
        ...


class TextTokenizer(Described):
    """A tokenizer as a spec names it. To add one: a class and its entry in :data:`TOKENIZERS`."""

    kind: str

    def files(self, folder: Path) -> tuple[Path, ...]:
        """Return the files that the spec names: where one changes, so may tokens."""
        return ()

    def prepared(
        self, folder: Path, cache: Path, corpus_sha256: str, texts: Callable[[], Iterable[bytes]]
    ) -> Path | None:
        """Return the tokenizer's file, trained first and kept under ``cache`` where this kind is trained on
        the corpus; None where it has no file.

        Args:
            folder: what relative paths are relative to.
            cache: the cache folder; trained tokenizers are kept in its folder ``tokenizers``, by corpus and
                fields.
            corpus_sha256: of the training documents.
            texts: gives the training documents in order; may be called once.

        Raises:
            UserError: no such file, or a corpus too small to train on; ``where`` is
                ``data.tokenizer.`` and the field.
        """
        raise NotImplementedError

    def open(self, file: Path | None) -> Coder:
        """Open the coder of the file that :meth:`prepared` gave. Cheap enough for every process.

        Raises:
            UserError: the file is not a tokenizer of this kind, or has no token to separate documents by.
        """
        raise NotImplementedError


def dtype_of(vocab_size: int) -> str:
    """Return the least unsigned integer type that holds all ids of a vocabulary."""
    for bits in (8, 16, 32):
        if vocab_size <= 1 << bits:
            return f"uint{bits}"
    raise ValueError(f"vocab_size = {vocab_size}: at most 2^32")
