"""Small corpora made up for tests, and their index."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from scaling.corpora.evaluation import Evaluation
from scaling.corpora.jsonl import Jsonl
from scaling.corpora.shipped import Shipped
from scaling.data.index import DataIndex
from scaling.data.resolve import Wish, resolve
from scaling.data.stores import Stores

SHIPPED = Shipped(name="state-of-the-union")


def noise(seed: int, length: int) -> bytes:
    return bytes(random.Random(seed).choices(range(97, 123), k=length))


def write_jsonl(path: Path, texts: list[bytes]) -> Jsonl:
    """Write one document a line, dated by year from 1900 on."""
    lines = [
        json.dumps({"name": f"d{i}", "year": 1900 + i, "text": text.decode()}) for i, text in enumerate(texts)
    ]
    path.write_text("\n".join(lines) + "\n")
    return Jsonl(files=(str(path),), name="name", position="year")


def shipped_index(context: int, documents: int = 24, tokens: int = 131072) -> DataIndex:
    """Index the shipped corpus as bytes."""
    return resolve(
        Wish(SHIPPED, None, Evaluation(documents=documents, tokens=tokens), folder=Path()), context, Stores()
    )


def index_for(
    corpus: Any, context: int, tokenizer: Any = None, unique_tokens: int | None = None, **evaluation: Any
) -> DataIndex:
    """Index a corpus, prepared where it has to be; held out spread over it unless told otherwise."""
    asked = Evaluation(**{"split": "spread"} | evaluation)
    return resolve(Wish(corpus, tokenizer, asked, unique_tokens=unique_tokens), context, Stores())
