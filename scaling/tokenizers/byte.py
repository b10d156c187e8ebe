"""Bytes as tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scaling.tokenizers.base import Coder, TextTokenizer, TokenizerFacts

if TYPE_CHECKING:
    import numpy as np


class Bytes(TextTokenizer):
    """Every byte is a token; byte 0, which no text holds, separates documents."""

    kind: Literal["bytes"] = "bytes"

    def prepared(
        self, folder: Path, cache: Path, corpus_sha256: str, texts: Callable[[], Iterable[bytes]]
    ) -> None:
        """Need no file."""

    def open(self, file: Path | None) -> Coder:
        return ByteCoder()


class ByteCoder:
    facts = TokenizerFacts(name="bytes", vocab_size=256, separator=0, dtype="uint8")

    def encode(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        import numpy as np

        return [np.frombuffer(text, np.uint8) for text in texts]

    def encode_with_bytes(self, text: bytes) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        return np.frombuffer(text, np.uint8), np.ones(len(text), np.uint32)

    def decode(self, tokens: np.ndarray) -> str:
        import numpy as np

        return tokens.astype(np.uint8).tobytes().decode("utf-8", errors="replace")
