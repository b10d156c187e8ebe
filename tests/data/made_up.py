"""Small corpora made up for tests."""

from __future__ import annotations

import json
import lzma
import random
from hashlib import sha256
from pathlib import Path

import pytest

from scaling.data import catalog
from scaling.data.catalog import CORPORA, Corpus


def ship(folder: Path, texts: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Make ``texts`` the shipped corpus "tiny", one a year from 1900 on."""
    lines = [
        json.dumps({"name": f"d{i}", "year": 1900 + i, "text": text.decode()}) for i, text in enumerate(texts)
    ]
    packed = lzma.compress("\n".join(lines).encode())
    (folder / "tiny.jsonl.xz").write_bytes(packed)
    text = b"".join(texts)
    corpus = Corpus(
        name="tiny",
        archive="tiny.jsonl.xz",
        archive_sha256=sha256(packed).hexdigest(),
        text_sha256=sha256(text).hexdigest(),
    )
    monkeypatch.setattr(catalog, "CORPORA_FOLDER", folder)
    monkeypatch.setitem(CORPORA, "tiny", corpus)
    return corpus


def noise(seed: int, length: int) -> bytes:
    return bytes(random.Random(seed).choices(range(97, 123), k=length))
