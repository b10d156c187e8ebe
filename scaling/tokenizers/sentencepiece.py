"""Models of sentencepiece (extra ``sentencepiece``)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scaling.errors import Complaint, UserError
from scaling.tokenizers.base import Coder, TokenizerFacts, dtype_of
from scaling.tokenizers.given import GivenTokenizer, choices
from scaling.tokenizers.spans import bytes_per_token

if TYPE_CHECKING:
    import numpy as np


class SentencePiece(GivenTokenizer):
    """A model of sentencepiece; it may change text (spaces, forms of characters)."""

    kind: Literal["sentencepiece"] = "sentencepiece"

    def open(self, file: Path | None) -> Coder:
        assert file is not None, "this tokenizer is a file: prepared() returns it"
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError:
            hint = "pip install 'scaling-laws[sentencepiece]'"
            raise UserError(
                Complaint("needs the extra 'sentencepiece'", "data.tokenizer.kind", hint)
            ) from None
        try:
            content = file.read_bytes()
            model = SentencePieceProcessor(model_proto=content)
        except OSError as error:
            raise UserError(
                Complaint(f"cannot read {file}: {error.strerror}", "data.tokenizer.path")
            ) from None
        except RuntimeError:
            hint = "give the .model file that sentencepiece writes"
            raise UserError(
                Complaint(f"{file} is not a model of sentencepiece", "data.tokenizer.path", hint)
            ) from None
        digest = sha256(content).hexdigest()
        return SentencePieceCoder(model, self.name(digest), self._separator(model, file), digest)

    def _separator(self, model: Any, file: Path) -> int | None:
        if self.separator == "none":
            return None
        piece = model.eos_id() if self.separator == "auto" else model.piece_to_id(self.separator)
        if self.separator == "auto":
            if piece < 0:
                message = f"{file} has no piece that ends a text"
                raise UserError(Complaint(message, "data.tokenizer.separator", _choices(model)))
        elif model.id_to_piece(piece) != self.separator:  # what is not known gives the id of <unk>
            message = f"{file} has no piece {self.separator!r}"
            raise UserError(Complaint(message, "data.tokenizer.separator", _choices(model)))
        return piece


def _choices(model: Any) -> str:
    return choices([model.id_to_piece(i) for i in range(model.get_piece_size()) if model.is_control(i)])


class SentencePieceCoder:
    def __init__(self, model: Any, name: str, separator: int | None, digest: str):
        size = model.get_piece_size()
        self.facts = TokenizerFacts(
            name=name, vocab_size=size, separator=separator, dtype=dtype_of(size), sha256=digest
        )
        self._model = model

    def encode(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        return [self._array(self._model.encode(text, out_type=int)) for text in texts]

    def encode_with_bytes(self, text: bytes) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        pieces = self._model.encode(text, out_type="offset_mapping")  # of bytes: offsets count bytes
        ids = self._array(pieces["ids"])
        ends = np.array([end for _, end in pieces["offsets"]], np.int64)
        single = np.array([self._model.is_byte(i) for i in pieces["ids"]], bool)
        return ids, bytes_per_token(ends, single, len(text))

    def decode(self, tokens: np.ndarray) -> str:
        return self._model.decode(tokens.tolist())

    def _array(self, ids: list[int]) -> np.ndarray:
        import numpy as np

        tokens = np.array(ids, self.facts.dtype)
        separator = self.facts.separator
        if separator is not None and (tokens == separator).any():
            message = f"the text holds {self._model.id_to_piece(separator)!r}, which is to separate documents"
            raise UserError(Complaint(message, "data.tokenizer.separator", "take another piece, or 'none'"))
        return tokens
