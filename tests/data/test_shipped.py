"""The store of the shipped corpus, and with it the ids of runs on it, stay what they were.

If it has to change, raise ``scaling.data.request.FORMAT`` (ids change, say so in CHANGELOG.md) and copy the
new values from the index of the store.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from scaling.corpora.shipped import Shipped
from scaling.data.facts import Overlap
from scaling.data.prepare import prepare
from scaling.data.request import Request
from scaling.tokenizers.byte import Bytes

TOKENS_SHA256 = (
    "f9bb13242744d89a405aaec9912c3cb1c81b13c2c05b00950ad4eec28aada465"  # training, then evaluation
)
HELD_OUT_YEARS = [
    *(1795, 1804, 1814, 1824, 1833, 1843, 1853, 1862, 1873, 1881, 1892, 1901),
    *(1909, 1921, 1930, 1939, 1948, 1958, 1968, 1978, 1987, 1997, 2007, 2016),
]


@pytest.mark.slow
def test_the_store_is_golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    request = Request(
        corpus=Shipped(name="state-of-the-union"),
        label="state-of-the-union",
        tokenizer=Bytes(),
        split="spread",
        folder=tmp_path,
    )
    facts = prepare(request)
    assert facts.fingerprint == "47c9264346d3"
    assert [int(d.name[:4]) for d in facts.held_out] == HELD_OUT_YEARS
    files = [facts.folder / name for name in (*(s.name for s in facts.shards), "eval.tokens")]
    tokens = np.concatenate([np.fromfile(file, np.uint8) for file in files])
    assert sha256(tokens.data).hexdigest() == TOKENS_SHA256
    assert facts.train_tokens == 9_780_299 and facts.documents == 233
    assert [d.start for d in facts.held_out][:2] == [0, facts.held_out[0].tokens + 1]
    assert facts.overlap == Overlap(ngrams=166_632, shared_ngrams=86)
