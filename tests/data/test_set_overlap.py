from pathlib import Path

import pytest

from scaling.data import set_overlap
from scaling.data.facts import Overlap
from scaling.data.prepare import prepare
from scaling.data.request import find_overlap
from scaling.data.set_overlap import measure_overlap
from scaling.data.stores import Stores
from scaling.tokenizers.bpe import Bpe
from scaling.tokenizers.byte import Bytes
from tests.data.fakes import Numbers, request_for, words


@pytest.mark.parametrize("tokenizer", [Bytes(), Bpe(kind="bpe", vocab_size=300)])
def test_what_a_set_shares_with_training_text(
    work: Path, tokenizer: Bytes | Bpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_overlap, "BATCH_BYTES", 1000)
    training = prepare(request_for(work, tokenizer, split="none"))
    own = work.parent / "own"
    own.mkdir()
    line = (work / "1.txt").read_bytes().splitlines()[50].split()
    copied = b" ".join(line[:20])  # eight 13-grams
    (own / "a.txt").write_bytes(words(5000, 30) + b"\n" + words(6000, 30) + b" " + copied)
    evaluated = prepare(request_for(own, tokenizer, split="all", tokenizer_of=training.fingerprint))
    assert find_overlap(evaluated, training) is None
    overlap = measure_overlap(evaluated, training)
    assert overlap == Overlap(ngrams=18 + 38, shared_ngrams=8) == find_overlap(evaluated, training)


def test_only_documents_that_are_evaluated_are_compared(work: Path) -> None:
    request = request_for(work, Bytes(), share=0.25, documents=5, tokens=10)
    clean = prepare(request)
    assert clean.overlap is not None and clean.overlap.documents == 5 < len(clean.held_out)
    assert find_overlap(clean, clean, 5) == clean.overlap and find_overlap(clean, clean) is None
    assert measure_overlap(clean, clean, 5) == clean.overlap
    every, some = measure_overlap(clean, clean), measure_overlap(clean, clean, 2)
    assert some.ngrams < clean.overlap.ngrams < every.ngrams and every.documents is None
    assert (find_overlap(clean, clean), find_overlap(clean, clean, 2)) == (every, some)
    assert Stores().overlap(clean, clean, 2) == some


def test_tokens_are_compared_as_tokens(work: Path) -> None:
    (work / "0.txt").write_text("\n".join(" ".join(map(str, range(i, i + 40))) for i in (0, 100)))
    training = prepare(request_for(work, None, corpus=Numbers(files="0.txt"), split="none"))
    (work / "a.txt").write_text(" ".join(map(str, range(90, 120))))
    evaluated = prepare(request_for(work, None, corpus=Numbers(files="a.txt"), split="all"))
    assert measure_overlap(evaluated, training) == Overlap(ngrams=18, shared_ngrams=8)
