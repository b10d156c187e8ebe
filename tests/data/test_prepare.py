"""A store holds what it should, whoever prepared it and however often that was tried."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from scaling.data.candidates import digest_of, hash_of
from scaling.data.facts import StoreFacts
from scaling.data.prepare import prepare
from scaling.data.request import documents_name, find
from scaling.data.verify import verify
from scaling.errors import UserError
from scaling.tokenizers.base import Coder
from scaling.tokenizers.byte import Bytes
from tests.data.fakes import Lines, Numbers, PairCoder, Pairs, request_for, write_lines


def lines_of(folder: Path) -> list[bytes]:
    return [line for path in sorted(folder.glob("*.txt")) for line in path.read_bytes().splitlines()]


def read_documents(facts: StoreFacts) -> tuple[list[bytes], list[bytes]]:
    """Return the (training, held-out) documents of a store as text."""
    dtype = np.dtype(facts.tokenizer.dtype)
    tokens = np.fromfile(facts.folder / "eval.tokens", dtype)
    ends = [(d.start + 1, d.start + 1 + d.tokens) for d in facts.held_out]
    evaluation = [tokens[first:last].tobytes().rstrip(b"\1") for first, last in ends]
    return read_documents_of_shards(facts), evaluation


def read_documents_of_shards(facts: StoreFacts) -> list[bytes]:
    dtype, training = np.dtype(facts.tokenizer.dtype), list[bytes]()
    for shard in facts.shards:
        tokens = np.fromfile(facts.folder / shard.name, dtype)
        starts = np.fromfile(facts.folder / documents_name(shard.name), "<u8")
        assert (tokens[starts] == facts.tokenizer.separator).all()
        training += [part[1:].tobytes().rstrip(b"\1") for part in np.split(tokens, starts[1:])]
    return training


def test_every_document_is_trained_on_or_held_out(work: Path) -> None:
    facts = prepare(request_for(work, Pairs()))
    lines = lines_of(work)
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


def test_find_gives_what_was_prepared_until_a_file_changes(work: Path) -> None:
    request = request_for(work, Pairs())
    assert find(request) is None
    facts = prepare(request)
    assert find(request) == facts == prepare(request)
    (work / "3.txt").write_text("more text\n")
    assert find(request) is None
    more = prepare(request)
    assert more.documents == 301 and more.fingerprint != facts.fingerprint


def test_a_tokenizer_is_trained_without_what_is_held_out(work: Path) -> None:
    facts = prepare(request_for(work, Pairs()))
    assert facts.coder_file is not None
    seen = json.loads((facts.folder / facts.coder_file).read_text())["seen"]
    training, evaluation = read_documents(facts)
    assert len(seen) >= 150 and set(seen) <= {sha256(text).hexdigest() for text in training}
    assert facts.coder == {"kind": "pairs"} and not set(training) & set(evaluation)


def test_find_from_another_working_directory(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work)
    facts = prepare(request_for(Path(), Bytes()))
    monkeypatch.chdir(work.parent)
    relative, absolute = request_for(Path("corpus"), Bytes()), request_for(work, Bytes())
    assert find(relative) == find(absolute) == facts
    assert relative.fields_key() == absolute.fields_key()


def test_a_share_above_one_half_is_kept_from_the_tokenizer(work: Path) -> None:
    facts = prepare(request_for(work, Pairs(), share=0.8))
    assert facts.coder_file is not None
    seen = json.loads((facts.folder / facts.coder_file).read_text())["seen"]
    training, evaluation = read_documents(facts)
    assert len(evaluation) > 200 and sorted(seen) == sorted(sha256(t).hexdigest() for t in training)


def test_a_little_more_to_evaluate_keeps_the_tokenizer(work: Path) -> None:
    stores = [prepare(request_for(work, Pairs(), tokens=tokens)) for tokens in (450, 500, 520)]
    assert len({facts.tokenizer.sha256 for facts in stores}) == 1


def test_an_evaluation_set_of_its_own(work: Path, tmp_path: Path) -> None:
    training = prepare(request_for(work, Pairs(), split="none"))
    assert training.held_out == () and training.evaluation is None and training.overlap is None
    assert training.train_documents == 300 and read_documents_of_shards(training) == lines_of(work)
    own = tmp_path / "own"
    own.mkdir()
    write_lines(own, files=1, lines=40, seed=1000)
    (own / "twice.txt").write_bytes((own / "0.txt").read_bytes())
    like = training.fingerprint
    facts = prepare(request_for(own, Pairs(), split="all", tokenizer_of=like))
    assert facts.tokenizer == training.tokenizer and facts.train_tokens == 0 and facts.shards == ()
    assert facts.held_out_documents == 80 and len(facts.held_out) == 40
    assert read_documents(facts)[1] == sorted(lines_of(own)[:40], key=digest_of)


def test_a_corpus_of_tokens(work: Path) -> None:
    for number, path in enumerate(sorted(work.iterdir())):
        lines = [" ".join(str((number * 7 + i * j) % 999) for j in range(5 + i)) for i in range(100)]
        path.write_text("\n".join(lines))
    facts = prepare(request_for(work, None, corpus=Numbers(files="*.txt")))
    assert facts.tokenizer.name == "numbers" and facts.bytes_per_token == 4.5
    assert facts.bytes is None and facts.evaluation_bytes is None and facts.coder is None
    hashes = {line: np.array(line.split(), "<u4") for line in lines_of(work)}
    bound = float(facts.split["share"]) * 2**64
    expected = [tokens for tokens in hashes.values() if hash_of(digest_of(tokens)) >= bound]
    stored = np.fromfile(facts.folder / facts.shards[0].name, "<u2")
    assert stored.tolist() == [token for tokens in expected for token in [999, *tokens]]
    assert facts.overlap is not None and facts.overlap.ngrams > 0


def test_tokens_beyond_the_vocabulary_or_that_separate(work: Path) -> None:
    for token, message in [(1000, "token 1000: numbers has a vocabulary of 1000"), (999, "token 999, is in")]:
        (work / "0.txt").write_text(f"1 2 3 {token}\n")
        with pytest.raises(UserError, match=rf"0.txt:1: .*{message}"):
            prepare(request_for(work, None, corpus=Numbers(files="0.txt"), split="none"))


def test_without_separators(work: Path) -> None:
    facts = prepare(request_for(work, Bytes(), split="none", separator="none"))
    text = (facts.folder / facts.shards[0].name).read_bytes()
    assert text == b"".join(lines_of(work)) and facts.separators == 0 and facts.tokenizer.separator is None
    assert facts.bytes_per_token == 1.0


class Letters(Pairs):
    """Pairs; digits are cut into no tokens."""

    kind: Literal["letters"] = "letters"  # pyright: ignore

    def open(self, file: Path | None) -> Coder:
        assert file is not None
        return LetterCoder(sha256(file.read_bytes()).hexdigest())


class LetterCoder(PairCoder):
    def encode(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        return super().encode([text.translate(None, b"0123456789") for text in texts])

    def encode_with_bytes(self, text: bytes) -> tuple[np.ndarray, np.ndarray]:
        tokens = self.encode([text])[0]
        return tokens, np.full(len(tokens), 2, np.uint32)


@pytest.mark.parametrize("separator", ["keep", "none"])
def test_documents_that_are_cut_into_no_tokens_are_left_out(work: Path, separator: str) -> None:
    (work / "9.txt").write_text("".join(f"{i}\n" for i in range(50)))
    facts = prepare(request_for(work, Letters(), separator=separator))
    assert verify(facts.folder) == []
    assert len(facts.held_out) >= 5 and all(document.tokens for document in facts.held_out)
    assert 10 < facts.tally["empty"] <= 50 and facts.documents == 350 - facts.tally["empty"]


@pytest.mark.parametrize("split", ["none", "all"])
@pytest.mark.parametrize("separator", ["keep", "none"])
def test_a_corpus_without_tokens_is_refused(work: Path, separator: str, split: str) -> None:
    (work / "0.txt").write_text("1\n2\n")
    fields = {"corpus": Lines(files="0.txt"), "separator": separator, "split": split}
    with pytest.raises(UserError, match="no tokens are left"):
        prepare(request_for(work, Letters(), **fields))


def test_files_that_moved_have_the_same_store(work: Path) -> None:
    facts = prepare(request_for(work, Bytes()))
    before = (facts.folder / "index.json").stat().st_mtime_ns
    text = b"".join(path.read_bytes() for path in sorted(work.iterdir()))
    for path in work.iterdir():
        path.unlink()
    (work / "one.txt").write_bytes(text)
    assert prepare(request_for(work, Bytes())).fingerprint == facts.fingerprint
    assert (facts.folder / "index.json").stat().st_mtime_ns == before


def test_overlap_of_training_and_evaluation_is_counted(work: Path) -> None:
    clean = prepare(request_for(work, Bytes()))
    assert clean.overlap is not None and clean.overlap.shared_ngrams == 0 and clean.overlap.ngrams > 50
    texts = {name: path.read_bytes().splitlines() for path in work.iterdir() for name in [path.name]}
    name, number = clean.held_out[0].name.split(":")
    copied = b" ".join(texts[name][int(number) - 1].split()[:15])
    (work / "9.txt").write_bytes(b"x y z " + copied + b" and so on\n")
    assert prepare(request_for(work, Bytes())).overlap == clean.overlap.model_copy(
        update={"shared_ngrams": 3}
    )
