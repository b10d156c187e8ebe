"""What is found in a store is what was put there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scaling.corpora.text import Text
from scaling.data import inspect
from scaling.data.facts import StoreFacts
from scaling.data.inspect import (
    Repeats,
    first_windows,
    inspect_store,
    quantiles,
    scripts,
    window_text,
)
from scaling.data.prepare import prepare
from scaling.data.request import Request
from scaling.data.shards import open_coder
from scaling.tokenizers.bpe import Bpe
from scaling.tokenizers.byte import Bytes
from tests.data.fakes import words


def store(folder: Path, texts: list[bytes], **fields: object) -> StoreFacts:
    for number, text in enumerate(texts):
        (folder / f"{number:04d}.txt").write_bytes(text)
    given = {"tokenizer": Bytes(), "split": "none", **fields}
    return prepare(Request(corpus=Text(files="*.txt"), label="text", folder=folder, **given))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_lengths_and_repetitions_of_a_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [words(i, 20 + i) for i in range(40)]
    texts += [texts[3], texts[4], texts[3]]  # three copies, with 11 + 12 + 11 13-grams
    texts.append(texts[5] + b" and more")  # all its 13 13-grams, and two that are new
    facts = store(folder, texts)
    report = inspect_store(facts)
    sizes = sorted(map(len, texts))
    assert (report.lengths["min"], report.lengths["p50"], report.lengths["max"]) == (
        sizes[0],
        sizes[21],
        sizes[-1],
    )
    total = sum(len(text.split()) - 12 for text in texts)
    assert report.documents_repeated.share == pytest.approx(3 / 44)
    assert report.ngrams_repeated.share == pytest.approx((11 + 12 + 11 + 13) / total)
    assert report.ngrams_repeated.of == "13-grams of words" and report.ngrams_repeated.sampled == 1
    assert report.script_characters == sum(sizes)
    monkeypatch.setattr(inspect, "BATCH_TOKENS", 300)
    assert inspect_store(facts) == report


def test_a_store_of_other_tokens(folder: Path) -> None:
    text = "Ça va? Да. Οχι! 東京 15 ".encode()
    facts = store(folder, [text * 30, text * 40], tokenizer=Bpe(vocab_size=270))
    report = inspect_store(facts)
    assert report.ngrams_repeated.of == "13-grams of tokens" and report.ngrams_repeated.share > 0.5
    assert report.lengths["max"] == pytest.approx(report.lengths["min"] * 4 / 3, rel=0.02)
    found = report.scripts
    assert found is not None and [*found][:2] == ["blanks", "Latin"]
    assert found["Latin"] == pytest.approx(4 / 22) and found["Han"] == pytest.approx(2 / 22)
    assert {"Cyrillic", "Greek", "signs", "digits"} < {*found}


def test_first_windows_as_text(folder: Path) -> None:
    texts = [words(i, 30) for i in range(9)]
    facts = store(folder, texts)
    windows, coder = first_windows(facts, 40, 5), open_coder(facts)
    assert windows.shape == (5, 41) and coder is not None
    everything = b"".join(b"\0" + text for text in texts)
    for window in windows:
        assert everything.index(window.astype(np.uint8).tobytes()) % 40 == 0
    across = np.frombuffer(everything[170:190], np.uint8)
    assert b"\0" in across.tobytes()
    joined = everything[170:190].strip(b"\0").decode().split("\0")
    assert window_text(across, coder, 0) == joined


def test_repetitions_are_counted_in_bounded_memory() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**64, 100_000, dtype=np.uint64)
    stream = rng.permutation(np.concatenate([values, values[:50_000], values[:25_000]]))
    exact, bounded = Repeats(1 << 20), Repeats(4_000)
    for part in np.split(stream, 7):
        exact.add(part)
        bounded.add(part)
        assert len(bounded.values) <= 4_000
    assert exact.share == pytest.approx(75 / 175) and exact.sampled == 1
    assert bounded.share == pytest.approx(75 / 175, abs=0.02) and bounded.sampled == 1 / 32
    assert Repeats().share == 0


def test_quantiles_of_counted_lengths() -> None:
    assert quantiles(Counter({5: 1, 7: 98, 100: 1})) == {
        "min": 5, "p1": 5, "p10": 7, "p50": 7, "p90": 7, "p99": 7, "max": 100
    }  # fmt: skip
    assert quantiles(Counter({1: 1, 2: 1, 4: 1}))["p50"] == 2
    assert quantiles(Counter()) == {}


def test_scripts_of_characters() -> None:
    assert scripts(Counter("aÉ 1日ア가ب中.x\N{BAMUM LETTER A}का")) == pytest.approx(
        {name: n / 14 for name, n in {"Latin": 3, "Han": 2, "blanks": 1, "digits": 1, "Kana": 1, "Hangul": 1,
         "Arabic": 1, "signs": 1, "other letters": 1, "Devanagari": 2}.items()}
    )  # fmt: skip


def test_tokens_named_bytes_without_a_tokenizer_are_compared_as_tokens(folder: Path) -> None:
    facts = store(folder, [words(i, 20) for i in range(9)])
    tokens = facts.model_copy(update={"coder": None})
    assert tokens.tokenizer.name == "bytes" and facts.coder == {"kind": "bytes"}
    assert inspect_store(facts).ngrams_repeated.of == "13-grams of words"
    assert inspect_store(tokens).ngrams_repeated.of == "13-grams of tokens"
