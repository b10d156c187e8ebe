"""What a spec says of data becomes stores, shares and evaluation sets."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from scaling.corpora.documents import AnyDocuments
from scaling.corpora.evaluation import Evaluation
from scaling.corpora.hf import HuggingFace
from scaling.corpora.jsonl import Jsonl
from scaling.corpora.mixture import Mixture
from scaling.corpora.santa_fe import SantaFe
from scaling.corpora.text import Text
from scaling.data.facts import StoreFacts
from scaling.data.index import coverage, index_of
from scaling.data.resolve import Wish, resolve
from scaling.data.store import StoredWindows, open_windows
from scaling.data.stores import Stores
from scaling.errors import Complaint, UserError
from scaling.tokenizers.bpe import Bpe
from scaling.tokenizers.file import TokenizerFile
from tests.data.fakes import words
from tests.data.made_up import index_for, noise

CONTEXT = 16


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two corpora of lower-case and of upper-case noise, forty documents each, and an empty cache folder."""
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(("low", "high")):
        texts = [noise(100 * number + i, 400) for i in range(40)]
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / name / f"{i:02d}.txt").write_bytes(text.upper() if number else text)
    return tmp_path


def text_in(folder: Path) -> Text:
    return Text(files=(str(folder / "*.txt"),))


def mixture(folder: Path, low: float, high: float) -> Mixture:
    sources = {
        "low": {"corpus": {"kind": "text", "files": str(folder / "low/*.txt")}, "weight": low},
        "high": {"corpus": {"kind": "text", "files": str(folder / "high/*.txt")}, "weight": high},
    }
    return Mixture.model_validate({"kind": "mixture", "sources": sources})


HASHED: dict[str, Any] = {"split": "hash", "documents": 4, "tokens": 1200}


def test_a_mixture_takes_its_weights_and_repeats_the_source_that_runs_out(folder: Path) -> None:
    index = index_for(mixture(folder, 3, 1), CONTEXT, **HASHED)
    windows = open_windows(index)
    epoch = index.sources[0].windows
    batches = windows.train_batches(7, 0, 3 * epoch, 2).reshape(6 * epoch, -1)
    is_low = (batches >= ord("a")).any(axis=1)
    seen = windows.seen(7, 6 * epoch)
    assert seen == {"low": is_low.sum(), "high": (~is_low).sum()}
    assert abs(is_low.mean() - 0.75) < 0.02
    lows = batches[is_low]
    first, second = (np.unique(lows[i * epoch : (i + 1) * epoch], axis=0) for i in range(2))
    assert len(first) == epoch and np.array_equal(first, second)


def test_a_mixture_evaluates_each_source_by_its_share(folder: Path) -> None:
    index = index_for(mixture(folder, 3, 1), CONTEXT, **HASHED)
    tokens = {
        name: sum(d.tokens_used for d in index.eval_documents if d.set == name) for name in ("low", "high")
    }
    assert 900 <= tokens["low"] < 900 + CONTEXT * 5 and 300 <= tokens["high"] < 300 + CONTEXT * 3
    assert all(document.target for document in index.eval_documents)
    assert index.corpus == "mixture"
    assert index.fingerprint != index_for(mixture(folder, 2, 1), CONTEXT, **HASHED).fingerprint


def test_sources_of_a_mixture_share_a_tokenizer(folder: Path) -> None:
    index = index_for(mixture(folder, 1, 2), CONTEXT, Bpe(kind="bpe", vocab_size=300), **HASHED)
    digests = {source.facts.tokenizer.sha256 for source in index.sources if source.facts}
    assert len(digests) == 1 and None not in digests


def test_unique_tokens_are_nested_and_repeated(folder: Path) -> None:
    def seen(unique: int | None) -> tuple[set[bytes], set[bytes]]:
        index = index_for(text_in(folder / "low"), CONTEXT, unique_tokens=unique, **HASHED)
        batches = open_windows(index).train_batches(1, 0, 2 * index.train_windows, 1)[:, 0]
        epochs = np.split(batches, 2)
        return {w.tobytes() for w in epochs[0]}, {w.tobytes() for w in epochs[1]}

    small, again = seen(640)
    larger, _ = seen(1600)
    whole, _ = seen(None)
    assert len(small) == 40 and small == again and small < larger < whole
    windows = open_windows(index_for(text_in(folder / "low"), CONTEXT, **HASHED))
    first = {window.tobytes() for window in windows.gather(np.arange(40) * CONTEXT)}
    assert small & first < first, "a part is drawn from all of the text, not its beginning"


def test_unique_tokens_count_and_are_part_of_the_run(folder: Path) -> None:
    index = index_for(text_in(folder / "low"), CONTEXT, unique_tokens=640, **HASHED)
    assert coverage(1600, index) == (640, 2.5)
    assert index.run_data.unique_tokens == 640
    with pytest.raises(UserError, match="unique_tokens = 1000000") as caught:
        index_for(text_in(folder / "low"), CONTEXT, unique_tokens=10**6, **HASHED)
    assert caught.value.problems[0].where == "data.unique_tokens"


def test_sets_of_their_own_can_be_the_target(folder: Path) -> None:
    sets = {"upper": {"kind": "text", "files": str(folder / "high/*.txt")}}
    index = index_for(text_in(folder / "low"), CONTEXT, sets=sets, target="upper", **HASHED)
    assert {(d.set, d.target) for d in index.eval_documents} == {("held-out", False), ("upper", True)}
    alone = {"split": "none", "documents": 4, "tokens": 1200, "sets": sets, "target": "upper"}
    index = index_for(text_in(folder / "low"), CONTEXT, **alone)
    assert {d.set for d in index.eval_documents} == {"upper"}
    [source] = index.sources
    assert source.facts is not None and source.facts.train_documents == 40


def test_text_of_a_set_that_is_trained_on_is_refused_unless_allowed(folder: Path) -> None:
    for i in range(6):
        text = words(i, 60)
        (folder / "low" / f"w{i}.txt").write_bytes(text)
        (folder / f"copy{i}.txt").write_bytes(text)
    sets = {"copies": {"kind": "text", "files": str(folder / "copy*.txt")}}
    asked: dict[str, Any] = {"sets": sets, "split": "none", "documents": 6, "tokens": 500, "target": "copies"}
    with pytest.raises(
        UserError, match="13-grams of the evaluation set copies occur in the training"
    ) as caught:
        index_for(text_in(folder / "low"), CONTEXT, **asked)
    assert caught.value.problems[0].where == "evaluation.sets.copies"
    assert index_for(text_in(folder / "low"), CONTEXT, overlap=1.0, **asked).eval_documents


def test_problems_of_a_corpus_have_the_place_in_the_spec(folder: Path) -> None:
    broken = mixture(folder, 1, 1).model_dump(mode="json")
    broken["sources"]["high"]["corpus"]["files"] = [str(folder / "none/*.txt")]
    with pytest.raises(UserError) as caught:
        index_for(Mixture.model_validate(broken), CONTEXT, **HASHED)
    assert [p.where for p in caught.value.problems] == ["data.corpus.sources.high.corpus.files"]


def test_the_place_in_a_file_is_kept_whatever_the_file_is_called(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "a"}\nno JSON\n')
    wish = Wish(Jsonl(files=("*.jsonl",)), None, Evaluation(), folder=tmp_path)
    with pytest.raises(UserError) as caught:
        resolve(wish, CONTEXT, Stores())
    assert [p.where for p in caught.value.problems] == ["text.jsonl:2"]


TOKENS = {
    "kind": "tokens",
    "files": "x.bin",
    "vocab_size": 9,
    "tokenizer": "own",
    "document": {"separator": 1},
}


@pytest.mark.parametrize(
    ("raised", "where"),
    [
        ("files", "data.corpus.files"),
        ("document.separator", "data.corpus.document.separator"),
        ("document.tokens", "data.corpus.document.tokens"),
        ("document.bin", "document.bin"),
        ("document.separator.bin", "document.separator.bin"),
        ("files.txt", "files.txt"),
        ("files:2", "files:2"),
        ("files/a.txt", "files/a.txt"),
        ("evaluation.split", "evaluation.split"),
        ("", ""),
    ],
)
def test_only_paths_of_fields_are_given_a_place(
    raised: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> StoreFacts:
        raise UserError(Complaint("wrong", raised, "a hint", "a value"))

    monkeypatch.setattr(Stores, "store", refuse)
    (tmp_path / "x.bin").write_bytes(bytes(1000))
    wish = Wish(TypeAdapter(AnyDocuments).validate_python(TOKENS), None, Evaluation(), folder=tmp_path)
    with pytest.raises(UserError) as caught:
        resolve(wish, CONTEXT, Stores())
    assert caught.value.problems == (Complaint("wrong", where, "a hint", "a value"),)


def hub(folder: Path) -> HuggingFace:
    """A local data set, not fetched yet."""
    (folder / "pages").mkdir()
    (folder / "pages" / "train.jsonl").write_text(json.dumps({"text": "a text"}) + "\n")
    return HuggingFace(path="pages")


def test_problems_of_a_tokenizer_are_not_taken_for_those_of_a_corpus(folder: Path) -> None:
    wish = Wish(hub(folder), TokenizerFile(path="none.json"), Evaluation(), folder=folder)
    with pytest.raises(UserError, match=r"none\.json") as caught:
        resolve(wish, CONTEXT, Stores())
    assert [p.where for p in caught.value.problems] == ["data.tokenizer.path"]


def test_a_data_set_is_not_fetched_to_see_whether_it_is_small(folder: Path) -> None:
    wish = Wish(hub(folder), None, Evaluation(), folder=folder)
    with pytest.raises(UserError, match="not fetched yet") as caught:
        resolve(wish, CONTEXT, Stores(most_bytes=1))
    assert [p.where for p in caught.value.problems] == ["data.corpus"]
    assert not (folder / "cache").exists()


def test_a_generated_source_has_a_floor_and_windows_of_its_own_to_evaluate() -> None:
    corpus = SantaFe(kind="santa-fe", levels=8, address_bits=4, value_bits=3)
    index = index_for(corpus, CONTEXT, split="auto", tokens=4000)
    windows = open_windows(index)
    evaluated = windows.eval_windows()
    assert len(evaluated.tokens) * CONTEXT == index.eval_tokens_used >= 4000
    assert np.array_equal(evaluated.tokens, corpus.evaluation_windows(len(evaluated.tokens), CONTEXT))
    assert index.floor is not None and index.floor == pytest.approx(corpus.entropy(CONTEXT))
    trained = windows.train_batches(0, 0, 50, 4).reshape(200, -1)
    assert not {w.tobytes() for w in trained} & {w.tobytes() for w in evaluated.tokens}
    assert not np.array_equal(trained, windows.train_batches(1, 0, 50, 4).reshape(200, -1))
    assert index_of(index.content, CONTEXT) == index


def test_bytes_of_scored_windows_are_those_of_the_text(folder: Path) -> None:
    index = index_for(text_in(folder / "low"), CONTEXT, Bpe(kind="bpe", vocab_size=300), **HASHED)
    windows = open_windows(index)
    assert isinstance(windows, StoredWindows)
    evaluated = windows.eval_windows()
    assert evaluated.bytes is not None
    size = np.bincount(evaluated.document, evaluated.bytes)
    for document, total in zip(index.eval_documents, size, strict=False):
        if document.tokens_used == document.tokens:
            assert total == 400, "all of a document is scored"
    assert evaluated.bytes.sum() > 1.05 * evaluated.weights.sum(), "a token of a BPE has more than one byte"


def test_a_corpus_is_what_its_documents_are(folder: Path) -> None:
    """The same documents from other files, and by other means, are cut into the same tokens."""
    texts = [(path.name, path.read_text()) for path in sorted((folder / "low").glob("*.txt"))]
    lines = [json.dumps({"body": text, "file": name}) for name, text in texts]
    (folder / "low.jsonl").write_text("\n".join(lines))
    as_files = index_for(text_in(folder / "low"), CONTEXT, **HASHED)
    as_lines = index_for(Jsonl(files=(str(folder / "low.jsonl"),), text="body"), CONTEXT, **HASHED)
    first, second = (open_windows(i).train_batches(0, 0, 20, 2) for i in (as_files, as_lines))
    assert np.array_equal(first, second)


def test_a_set_is_cut_as_the_training_text_is(folder: Path) -> None:
    np.random.default_rng(0).integers(0, 250, 9000).astype(np.uint16).tofile(folder / "set.bin")
    tokens = {"kind": "tokens", "files": str(folder / "set.bin"), "tokenizer": "gpt2", "vocab_size": 50257}
    sets = {"other": tokens | {"dtype": "uint16", "document": {"tokens": 500}}}
    with pytest.raises(UserError, match="different tokenizers \\(training: bytes, other: gpt2\\)") as caught:
        index_for(text_in(folder / "low"), CONTEXT, sets=sets, **HASHED)
    assert caught.value.problems[0].where == "evaluation.sets.other"


def test_documents_of_one_name_keep_their_losses_apart(folder: Path) -> None:
    lines = [json.dumps({"text": noise(i, 400).decode(), "title": "Untitled"}) for i in range(40)]
    (folder / "same.jsonl").write_text("\n".join(lines))
    corpus = Jsonl(files=(str(folder / "same.jsonl"),), name="title")
    names = [document.name for document in index_for(corpus, CONTEXT, **HASHED).eval_documents]
    assert len(set(names)) == len(names) >= 4 and names[:2] == ["Untitled", "Untitled #2"]


def test_names_of_sources_are_no_part_of_what_is_trained(folder: Path) -> None:
    named = mixture(folder, 3, 1)
    renamed = Mixture(kind="mixture", sources={f"{name}er": s for name, s in named.sources.items()})
    first, second = (index_for(corpus, CONTEXT, **HASHED) for corpus in (named, renamed))
    assert first.fingerprint == second.fingerprint
    assert {document.set for document in second.eval_documents} == {"lower", "higher"}


def test_sources_of_a_mixture_are_compared_by_what_is_evaluated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = dict[tuple[str, str], int | None]()
    measure = Stores.overlap

    def overlap(
        self: Stores, evaluated: StoreFacts, training: StoreFacts, documents: int | None = None
    ) -> Any:
        compared[evaluated.fingerprint, training.fingerprint] = documents
        return measure(self, evaluated, training, documents)

    monkeypatch.setattr(Stores, "overlap", overlap)
    index = index_for(mixture(folder, 3, 1), CONTEXT, share=0.4, **HASHED)
    counts = Counter(document.store for document in index.eval_documents)
    low, high = (source.facts.fingerprint for source in index.sources if source.facts)
    assert compared == {(a, b): counts[a] for a in (low, high) for b in (low, high)}
