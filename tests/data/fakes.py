"""A corpus and tokenizers for tests that are not about how files are read or text is cut."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scaling.corpora.base import Document, DocumentCorpus, Part
from scaling.data.request import Request
from scaling.errors import Complaint, UserError
from scaling.tokenizers.base import Coder, TextTokenizer, TokenizerFacts
from tests.data.made_up import noise


class Lines(DocumentCorpus):
    """Every line of every file that matches is a document."""

    kind: Literal["lines"] = "lines"
    files: str

    def parts(self, folder: Path) -> tuple[Part, ...]:
        found = sorted(folder.glob(self.files))
        if not found:
            raise UserError(Complaint(f"files = {self.files}: nothing matches", "files"))
        return tuple(Part(path, path.name) for path in found)

    def read(self, part: Part) -> Iterator[Document]:
        with part.file.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield Document(f"{part.name}:{number}", line.rstrip(b"\n"))


class Stalling(Lines):
    """Lines; it calls :meth:`opened` for every file, and stops before the second while a file is there."""

    stall: str = "/nowhere"

    def read(self, part: Part) -> Iterator[Document]:
        if self.opened(part.name):
            raise KeyboardInterrupt
        while part.name == "1.txt" and Path(self.stall).exists():
            time.sleep(0.01)
        yield from super().read(part)

    def opened(self, name: str) -> object:
        """For tests to replace: whether to interrupt."""


class Numbers(Lines):
    """Every line is a document of tokens: numbers below 1,000."""

    kind: Literal["numbers"] = "numbers"  # pyright: ignore

    def read(self, part: Part) -> Iterator[Document]:
        for document in super().read(part):
            assert isinstance(document.content, bytes)
            yield Document(document.name, np.array(document.content.split(), np.uint16))

    def facts(self) -> TokenizerFacts:
        return TokenizerFacts(name="numbers", vocab_size=1000, separator=999, dtype="uint16")

    def known_width(self) -> float:
        return 4.5


class Pairs(TextTokenizer):
    """Two bytes a token, the last one alone: trained by remembering the least byte of the text."""

    kind: Literal["pairs"] = "pairs"

    def prepared(
        self, folder: Path, cache: Path, corpus_sha256: str, texts: Callable[[], Iterable[bytes]]
    ) -> Path:
        path = cache / f"pairs-{corpus_sha256}.json"
        path.write_text(json.dumps({"seen": sorted(sha256(text).hexdigest() for text in texts())}))
        return path

    def open(self, file: Path | None) -> Coder:
        assert file is not None
        return PairCoder(sha256(file.read_bytes()).hexdigest())


class PairCoder:
    def __init__(self, digest: str):
        self.facts = TokenizerFacts(
            name="pairs", vocab_size=1 << 16, separator=0, dtype="uint16", sha256=digest
        )

    def encode(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        return [np.frombuffer(text + b"\1" * (len(text) % 2), "<u2") for text in texts]

    def encode_with_bytes(self, text: bytes) -> tuple[np.ndarray, np.ndarray]:
        tokens = self.encode([text])[0]
        widths = np.full(len(tokens), 2, np.uint32)
        widths[-1] = 2 - len(text) % 2
        return tokens, widths

    def decode(self, tokens: np.ndarray) -> str:
        return tokens.astype("<u2").tobytes().decode()


def write_lines(folder: Path, files: int = 3, lines: int = 100, seed: int = 0) -> None:
    """Write files of lines of made-up words, 100 to 400 bytes each."""
    for number in range(files):
        texts = [words(seed + number * lines + i, 20 + i % 60) for i in range(lines)]
        (folder / f"{number}.txt").write_bytes(b"\n".join(texts) + b"\n")


def words(seed: int, count: int) -> bytes:
    text = noise(seed, 5 * count)
    return b" ".join(text[5 * i : 5 * i + 5] for i in range(count))


def request_for(folder: Path, tokenizer: TextTokenizer | None, **fields: Any) -> Request:
    """Ask for 5 documents and 500 tokens of all lines in ``folder``, held out by hash."""
    fields = {"corpus": Lines(files="*.txt"), "documents": 5, "tokens": 500} | fields
    return Request(label=fields["corpus"].kind, tokenizer=tokenizer, folder=folder, **fields)
