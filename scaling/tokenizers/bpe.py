"""Byte-level BPE, trained on the corpus itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from scaling.errors import Complaint, UserError
from scaling.files import aside, lock
from scaling.recipe.quantities import Count
from scaling.tokenizers.base import Coder, TextTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SEPARATOR = "<|endoftext|>"
SMALLEST = 257
FORMAT = 1  # raised when training changes, so that cached tokenizers are trained again
_WAIT = 6 * 3600.0  # seconds for another process that trains the same tokenizer


def _holds_bytes(vocab_size: int) -> int:
    if vocab_size < SMALLEST:
        reason = "must be at least {least}: every byte and the separator of documents"
        raise PydanticCustomError("spec", reason, {"least": SMALLEST})
    return vocab_size


class Bpe(TextTokenizer):
    """Byte-level BPE as GPT-2's, trained on the training documents: it cuts any text."""

    kind: Literal["bpe"] = "bpe"
    vocab_size: Annotated[Count, Field(le=2**20), AfterValidator(_holds_bytes)]
    """Tokens, the separator of documents among them."""
    sample: Count = 100_000_000
    """Bytes of training text to train it on, at most: the first ones."""

    def prepared(
        self, folder: Path, cache: Path, corpus_sha256: str, texts: Callable[[], Iterable[bytes]]
    ) -> Path:
        """Return the cached tokenizer, trained first by one of the processes that ask for it at once."""
        file = self._file(cache, corpus_sha256)
        if file.exists():
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        with lock(file.with_suffix(".lock"), _WAIT) as held:
            if not held:
                raise UserError(
                    Complaint(
                        f"another process has been training {file} for 6 hours", hint="end that process"
                    )
                )
            if not file.exists():
                tokenizer = self._trained(texts())
                with aside(file) as draft:
                    tokenizer.save(str(draft), pretty=False)
        return file

    def open(self, file: Path | None) -> Coder:
        from scaling.tokenizers.library import LibraryCoder, load

        assert file is not None, "a BPE tokenizer has a file: prepared() returns it"
        tokenizer, digest = load(file, "kind")
        return LibraryCoder(tokenizer, f"bpe-{self.vocab_size}", tokenizer.token_to_id(SEPARATOR), digest)

    def _file(self, cache: Path, corpus_sha256: str) -> Path:
        fields = {**self.model_dump(mode="json"), "corpus": corpus_sha256, "format": FORMAT}
        key = sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]
        return cache / "tokenizers" / f"{key}.json"

    def _trained(self, texts: Iterable[bytes]) -> Tokenizer:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer: Any = Tokenizer(models.BPE())  # its properties are not known to type checkers
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=2,
            special_tokens=[SEPARATOR],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(_first(texts, self.sample), trainer)
        reached = tokenizer.get_vocab_size()
        if reached < self.vocab_size:
            message = f"the training text gives only {reached} tokens, not {self.vocab_size}"
            hint = f"set vocab_size to {reached} at most, or use more text"
            raise UserError(Complaint(message, "data.tokenizer.vocab_size", hint))
        return tokenizer


def _first(texts: Iterable[bytes], size: int) -> Iterator[str]:
    """Yield the first ``size`` bytes of the texts; a character that they would cut is left out."""
    for text in texts:
        yield text[:size].decode("utf-8", errors="ignore")
        size -= len(text)
        if size <= 0:
            return
