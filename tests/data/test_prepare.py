"""A store holds what it should, whoever prepared it and however often that was tried."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling.data.candidates import digest_of, hash_of
from scaling.data.facts import StoreFacts
from scaling.data.prepare import prepare
from scaling.data.request import documents_name, find
from tests.data.fakes import Pairs, request_for, write_lines


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files of a hundred lines, and an empty cache folder."""
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_lines(folder)
    return folder


def lines_of(folder: Path) -> list[bytes]:
    return [line for path in sorted(folder.glob("*.txt")) for line in path.read_bytes().splitlines()]


def read_documents(facts: StoreFacts) -> tuple[list[bytes], list[bytes]]:
    """Return the (training, held-out) documents of a store as text."""
    dtype = np.dtype(facts.tokenizer.dtype)
    training = list[bytes]()
    for shard in facts.shards:
        tokens = np.fromfile(facts.folder / shard.name, dtype)
        starts = np.fromfile(facts.folder / documents_name(shard.name), "<u8")
        assert (tokens[starts] == facts.tokenizer.separator).all()
        training += [part[1:].tobytes().rstrip(b"\1") for part in np.split(tokens, starts[1:])]
    tokens = np.fromfile(facts.folder / "eval.tokens", dtype)
    ends = [(d.start + 1, d.start + 1 + d.tokens) for d in facts.held_out]
    return training, [tokens[first:last].tobytes().rstrip(b"\1") for first, last in ends]


def test_every_document_is_trained_on_or_held_out(corpus: Path) -> None:
    facts = prepare(request_for(corpus, Pairs()))
    lines = lines_of(corpus)
    training, evaluation = read_documents(facts)
    share = facts.split["share"]
    assert isinstance(share, float)
    hashes = {line: hash_of(digest_of(line)) / 2**64 for line in lines}
    assert training == [line for line in lines if hashes[line] >= share]
    assert evaluation == sorted((line for line in lines if hashes[line] < share), key=hashes.__getitem__)
    assert len(evaluation) >= 5 and sum(d.tokens for d in facts.held_out) >= 500
    assert (facts.documents, facts.train_documents) == (300, len(training))
    assert facts.train_tokens == sum(1 + (len(line) + 1) // 2 for line in training)
    assert facts.bytes == sum(map(len, lines)) and facts.separators == len(training)
    widths = np.fromfile(facts.folder / "eval.bytes", "<u4")
    assert widths.sum() == sum(map(len, evaluation)) and (widths == 0).sum() == len(evaluation)


def test_find_gives_what_was_prepared_until_a_file_changes(corpus: Path) -> None:
    request = request_for(corpus, Pairs())
    assert find(request) is None
    facts = prepare(request)
    assert find(request) == facts == prepare(request)
    (corpus / "3.txt").write_text("more text\n")
    assert find(request) is None
    more = prepare(request)
    assert more.documents == 301 and more.fingerprint != facts.fingerprint
