import re

import numpy as np
import pytest

from scaling.corpora.base import Document
from scaling.data import overlap
from scaling.data.overlap import (
    NGRAM,
    NGrams,
    ngrams_of_text,
    ngrams_of_tokens,
    overlapping_documents,
    run_hashes,
    windows_within,
)
from scaling.data.split import held_out
from tests.data.made_up import noise


@pytest.mark.parametrize("length", [1, 5, 8, 13])
def test_hash_is_the_polynomial_of_the_run(length: int) -> None:
    units = np.frombuffer(noise(0, 40), np.uint8)
    expected = [
        sum(int(u) * pow(overlap.BASE, length - 1 - j, 2**64) for j, u in enumerate(units[i : i + length]))
        % 2**64
        for i in range(41 - length)
    ]
    assert run_hashes(units, length).tolist() == expected
    assert len(run_hashes(units[: length - 1], length)) == 0


def test_hashes_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    units = np.frombuffer(noise(0, 400), np.uint8)
    text = " ".join(f"word{i * i}" for i in range(300)).encode()
    whole, words = run_hashes(units, 13), ngrams_of_text(text)
    monkeypatch.setattr(overlap, "BLOCK", 32)
    overlap._tables.cache_clear()
    try:
        assert np.array_equal(run_hashes(units, 13), whole)
        assert np.array_equal(ngrams_of_text(text), words)
    finally:
        overlap._tables.cache_clear()


@pytest.mark.parametrize("pass_bytes", [100, 10**6])
@pytest.mark.parametrize("length", [15, 16, 17])
def test_a_planted_run_is_found_from_the_window_on(
    length: int, pass_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "PASS_BYTES", pass_bytes)
    run = noise(1, length)
    texts = [noise(2, 300), noise(3, 200) + run + noise(4, 9), run[::-1] + noise(5, 70), run + noise(6, 90)]
    assert overlapping_documents(texts, window=16) == ({1, 3} if length >= 16 else set())


def test_a_run_at_the_edge_of_a_document_is_found() -> None:
    texts = [noise(1, 60), noise(2, 60), noise(3, 60)]
    for run in (texts[0][:16], texts[0][-16:], texts[1][:16], texts[2][-16:]):
        overlapping = overlapping_documents([*texts, noise(4, 50) + run], window=16)
        assert overlapping == {3, next(i for i, text in enumerate(texts) if run in text)}


def test_text_repeated_inside_one_document_is_no_overlap() -> None:
    texts = [noise(1, 60) * 2, noise(2, 60)]
    assert overlapping_documents(texts, window=16) == set()


def test_held_out_documents_are_spread_over_the_years_and_free_of_shared_text() -> None:
    texts = [noise(i, 400) for i in range(40)]
    texts[4] = texts[5] = noise(99, 400)  # the nearest to the first target year, and its twin
    documents = [Document(f"d{i}", text, 1900 + i) for i, text in enumerate(texts)]
    assert held_out(documents, 4) == [6, 15, 24, 34]


def slow_ngrams(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"[぀-鿿]|[0-9A-Za-z\x80-⿿ꀀ-\U0010ffff]+", text)
    lowered = [re.sub("[A-Z]+", lambda m: m[0].lower(), word) for word in words]
    return [tuple(lowered[i : i + NGRAM]) for i in range(len(lowered) - NGRAM + 1)]


def test_ngrams_of_text_are_equal_where_their_words_are() -> None:
    rng = np.random.default_rng(0)
    words = [
        "a",
        "b",
        "ab",
        "ba",
        "Ab",
        "é",
        "É",
        "x1",
        "naïve",
        "кот",
        "中",
        "文字",
        "カ",
        "の",
        "-",
        "it's",
        "🙂",
    ]
    texts = ["  ".join(words[i] for i in rng.integers(0, len(words), n)) for n in (0, 1, 12, 60, 400, 3000)]
    texts += [texts[3].upper() + ".", " " + texts[4].replace("  ", ",\n")]
    slow = [gram for text in texts for gram in slow_ngrams(text)]
    fast = ngrams_of_text(*(text.encode() for text in texts)).tolist()
    assert len(fast) == len(slow) > 3000
    assert len({*zip(fast, slow, strict=True)}) == len({*fast}) == len({*slow}) < len(slow)


def test_ngrams_of_tokens_do_not_cross_documents() -> None:
    tokens = np.arange(100, dtype=np.uint16)
    whole = ngrams_of_tokens(tokens)
    assert len(whole) == len({*whole.tolist()}) == 88
    parts = ngrams_of_tokens(tokens[:40], tokens[40:45], tokens[:0], tokens[45:])
    assert parts.tolist() == [*whole[:28], *whole[45:]]
    assert ngrams_of_tokens(tokens.astype(np.uint32)).tolist() == whole.tolist()
    assert len(ngrams_of_tokens()) == len(ngrams_of_text()) == 0


def test_shared_ngrams_are_found_part_by_part() -> None:
    rng = np.random.default_rng(0)
    evaluated, training = (rng.integers(0, 50, n, dtype=np.uint16) for n in (400, 20_000))
    evaluated[100:120] = training[5_000:5_020]  # eight 13-grams
    evaluated[300:313] = training[-13:]
    looked_for = NGrams.of(ngrams_of_tokens(evaluated, evaluated))
    assert len(looked_for) == 388
    parts = [ngrams_of_tokens(training[:10_000]), ngrams_of_tokens(training[9_988:])]
    assert [int(looked_for.shared(part).sum()) for part in parts] == [8, 1]
    assert not NGrams.of(parts[0][:0]).shared(parts[0]).size


def test_windows_are_found_anywhere_in_the_tokens() -> None:
    tokens = np.random.default_rng(0).integers(0, 200, 5_000, dtype=np.uint8)
    at = [0, 997, 4_980, 17]
    windows = np.stack([tokens[i : i + 20] for i in at]).astype(np.int32)
    windows[3, 19] += 1
    for block in (1 << 20, 1_000, 7):
        assert windows_within(windows, tokens, block).tolist() == [True, True, True, False]
    assert windows_within(windows, tokens[:19]).tolist() == [False] * 4


def test_no_windows_are_within_nothing() -> None:
    assert windows_within(np.zeros((0, 20), np.int32), np.arange(100)).tolist() == []
