"""The tokenizers that a spec can name. To add one: a module with its class, and two lines here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from scaling.tokenizers.base import TextTokenizer
from scaling.tokenizers.bpe import Bpe
from scaling.tokenizers.byte import Bytes
from scaling.tokenizers.file import TokenizerFile
from scaling.tokenizers.sentencepiece import SentencePiece

AnyTokenizer = Bytes | Bpe | TokenizerFile | SentencePiece
TOKENIZERS: dict[str, type[TextTokenizer]] = {
    "bytes": Bytes,
    "bpe": Bpe,
    "file": TokenizerFile,
    "sentencepiece": SentencePiece,
}


def _by_name(written: Any) -> Any:
    return {"kind": written} if isinstance(written, str) else written


WrittenTokenizer = Annotated[
    Annotated[AnyTokenizer, Field(discriminator="kind")],
    BeforeValidator(_by_name, json_schema_input_type=Literal["bytes"] | AnyTokenizer),
]
"""As a spec writes it: a mapping with a kind, or the kind alone (``bytes``)."""
