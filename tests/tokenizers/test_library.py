from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers

from scaling.tokenizers import library
from scaling.tokenizers.file import TokenizerFile
from scaling.tokenizers.library import byte_letters
from tests.tokenizers.conftest import TEXTS

KINDS = ("gpt2", "composed", "llama", "bert")
EMOJI = [
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "é",
    "e\u0301",
    "\u0958",
    "ﬁ",
    "\u212b",
    " ",
    "\n",
    "the cat",
    "<0x41>",
    "<|endoftext|>",
]
UNICODE = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.sampled_from(EMOJI)
    ),
    max_size=8,
).map("".join)


@pytest.fixture(scope="module")
def coders(files: dict[str, Path]):
    return {kind: TokenizerFile(path="x", separator="none").open(files[kind]) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(text=UNICODE)
def test_bytes_of_tokens_sum_to_the_text(coders, kind: str, text: str) -> None:
    coder, content = coders[kind], text.encode()
    tokens, counts = coder.encode_with_bytes(content)
    assert counts.dtype == np.uint32 and counts.shape == tokens.shape
    assert counts.sum() == (len(content) if len(tokens) else 0)
    assert np.array_equal(tokens, coder.encode([content])[0])


@settings(max_examples=40, deadline=None)
@given(text=UNICODE)
def test_byte_level_tokens_stand_for_their_own_bytes(coders, text: str) -> None:
    coder, content = coders["gpt2"], text.encode()
    tokens, counts = coder.encode_with_bytes(content)
    letters = byte_letters()
    spelt = [bytes(letters[c] for c in coder._tokenizer.id_to_token(int(i))) for i in tokens]
    assert b"".join(spelt) == content and [len(token) for token in spelt] == counts.tolist()


def test_the_letters_of_bytes_are_those_of_the_library() -> None:
    assert set(byte_letters()) == set(pre_tokenizers.ByteLevel.alphabet())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("\n\t\r \x7f", "aé€🙂", "\u00ad\u00a0ÿ"):
        ((written, _),) = words.pre_tokenize_str(text)
        assert bytes(byte_letters()[c] for c in written) == text.encode()


def test_a_character_cut_into_bytes_has_a_byte_a_token(coders) -> None:
    tokens, counts = coders["llama"].encode_with_bytes("the ☃☃".encode())
    assert counts[-6:].tolist() == [1] * 6
    tokens, counts = coders["gpt2"].encode_with_bytes("☃".encode())
    assert len(tokens) == 3 and counts.tolist() == [1, 1, 1]


def test_changed_text_is_counted_where_it_stood(coders) -> None:
    # NFC makes one character of e and its accent; what the accent leaves counts with the token after it.
    tokens, counts = coders["composed"].encode_with_bytes("e\u0301xy".encode())
    assert counts.tolist() == [1, 0, 3, 1]
    # Three of one byte less and one of three more: the sum is as if nothing had changed.
    tokens, counts = coders["composed"].encode_with_bytes("\u212b\u212b\u212b\u0958".encode())
    assert counts[:6].reshape(3, 2).sum(1).tolist() == [3, 3, 3] and counts.sum() == 12
    # BERT drops the spaces: they count with the word after them, the last ones with the last word.
    tokens, counts = coders["bert"].encode_with_bytes(b"  the  cat ")
    assert len(tokens) == len(counts) and counts[0] >= 3 and counts.sum() == 11


@settings(max_examples=40, deadline=None)
@given(text=UNICODE, piece=st.integers(1, 12))
def test_long_texts_are_cut_where_it_makes_no_difference(coders, text: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "PIECE", piece)
        pieces = coders["gpt2"].encode([text.encode(), b"the cat"])
        counted, counts = coders["gpt2"].encode_with_bytes(text.encode())
    whole = coders["gpt2"].encode([text.encode(), b"the cat"])
    assert all(np.array_equal(a, b) for a, b in zip(pieces, whole, strict=True))
    assert np.array_equal(counted, whole[0]) and counts.sum() == len(text.encode())


def test_only_tokenizers_that_allow_it_are_given_pieces(bpe_file: Path) -> None:
    gpt2 = json.loads(bpe_file.read_text("utf-8"))
    words, (separator,) = gpt2["pre_tokenizer"], gpt2["added_tokens"]
    assert library._can_be_cut(gpt2)
    for other in (
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "Metaspace"}},
        {"pre_tokenizer": words | {"use_regex": False}},
        {"pre_tokenizer": words | {"add_prefix_space": True}},
        {"added_tokens": [separator, separator | {"content": "the cat", "special": False}]},
    ):
        assert not library._can_be_cut(gpt2 | other), other


def test_the_library_is_given_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "PIECE", 4)
    pieces = ["a", "bcd", "e", "fghijk", "l"]
    assert list(library._batches(pieces)) == [["a", "bcd"], ["e"], ["fghijk"], ["l"]]


def test_texts_agree_with_the_library_itself(files: dict[str, Path], coders) -> None:
    for kind in KINDS:
        direct = Tokenizer.from_file(str(files[kind]))
        direct.no_padding()
        direct.no_truncation()
        for text in TEXTS:
            ids = direct.encode(text, add_special_tokens=False).ids
            assert coders[kind].encode([text.encode()])[0].tolist() == ids


def test_what_opening_imports_and_sets(bpe_file: Path) -> None:
    program = (
        "import os, sys\n"
        "import scaling.tokenizers.kinds, scaling.tokenizers.library\n"
        "heavy = [m for m in ('numpy', 'tokenizers', 'sentencepiece') if m in sys.modules]\n"
        "coder = scaling.tokenizers.kinds.Bpe(vocab_size=280).open(__import__('pathlib').Path(sys.argv[1]))\n"
        "print(heavy, os.environ['TOKENIZERS_PARALLELISM'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(bpe_file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] false"
