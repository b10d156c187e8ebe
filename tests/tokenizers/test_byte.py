from __future__ import annotations

import numpy as np

from scaling.tokenizers.byte import Bytes


def test_every_byte_is_a_token() -> None:
    coder = Bytes().open(None)
    text = "naïve 🙂".encode()
    (tokens,) = coder.encode([text])
    assert tokens.dtype == np.uint8 and tokens.tobytes() == text
    again, counts = coder.encode_with_bytes(text)
    assert again.tobytes() == text and counts.tolist() == [1] * len(text)
    assert coder.decode(tokens) == "naïve 🙂"


def test_facts_that_ids_of_runs_depend_on() -> None:
    facts = Bytes().open(None).facts
    assert facts.model_dump() == {
        "name": "bytes",
        "vocab_size": 256,
        "separator": 0,
        "dtype": "uint8",
        "sha256": None,
    }
