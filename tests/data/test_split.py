from pathlib import Path

import pytest

from scaling.corpora.base import Document
from scaling.data.prepare import prepare
from scaling.data.split import held_out
from scaling.errors import UserError
from scaling.tokenizers.byte import Bytes
from tests.data.fakes import Lines, request_for, write_lines
from tests.data.made_up import noise


def names(documents: list[Document], count: int) -> list[str]:
    return [documents[i].name for i in held_out(documents, count)]


def test_spread_documents_are_spread_over_the_positions_and_free_of_shared_text() -> None:
    texts = [noise(i, 400) for i in range(40)]
    texts[4] = texts[5] = noise(99, 400)  # the nearest to the first target year, and its twin
    documents = [Document(f"d{i}", text, 1900.0 + i) for i, text in enumerate(texts)]
    assert held_out(documents, 4) == [6, 15, 24, 34]
    assert held_out([Document(d.name, d.content) for d in documents], 4) == [6, 15, 24, 34]


def test_more_files_leave_held_out_documents_held_out(work: Path) -> None:
    before = prepare(request_for(work, Bytes(), share=0.125))
    write_lines(work, files=5)
    after = prepare(request_for(work, Bytes(), share=0.125))
    old, new = {d.name for d in before.held_out}, {d.name for d in after.held_out}
    assert old < new and not {name for name in new - old if name < "3"}


def test_without_separators_first_tokens_do_not_count(work: Path) -> None:
    (work / "0.txt").write_text("".join(f"{i:02}\n" for i in range(100)))
    fields = {"corpus": Lines(files="0.txt"), "documents": 1, "tokens": 20, "separator": "none"}
    facts = prepare(request_for(work, Bytes(), **fields))
    assert sum(d.tokens - 1 for d in facts.held_out) >= 20


def test_a_document_that_occurs_twice_is_on_one_side(work: Path) -> None:
    once = prepare(request_for(work, Bytes()))
    (work / "9.txt").write_bytes(b"".join((work / f"{i}.txt").read_bytes() for i in range(3)))
    twice = prepare(request_for(work, Bytes()))
    assert once.held_out and twice.held_out == once.held_out
    assert twice.held_out_documents == 2 * once.held_out_documents
    assert twice.train_documents == 2 * once.train_documents


@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ({"documents": 200}, "evaluation.documents", "documents = 200: that would hold out more than half"),
        ({"tokens": 10**6}, "evaluation.tokens", "tokens = 1000000: that would hold out more than half"),
        ({"share": 0.001}, "evaluation.documents", "documents = 5: share = 0.001 of this corpus holds out"),
        ({"share": 0.1, "tokens": 10**5}, "evaluation.tokens", "tokens = 100000: share = 0.1"),
        ({"split": "spread", "documents": 300}, "evaluation.documents", "at most 299 of the 300 documents"),
    ],
)
def test_what_cannot_be_held_out(work: Path, fields: dict[str, object], where: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(request_for(work, Bytes(), **fields))
    assert [problem.where for problem in caught.value.problems] == [where]
    assert message in str(caught.value)


@pytest.mark.parametrize("share", ["auto", 0.3])
def test_more_than_a_store_holds_is_refused(
    work: Path, share: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaling.data.split.MOST_HELD_OUT", 10)
    monkeypatch.setattr("scaling.data.candidates.MOST_HELD_OUT", 10)
    with pytest.raises(UserError, match=r"tokens = 9000: a store holds 10 of these documents at most"):
        prepare(request_for(work, Bytes(), tokens=9000, share=share))


def test_spread_is_refused_where_it_would_take_too_much_memory(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaling.data.prepare.MOST_SPREAD_BYTES", 10_000)
    with pytest.raises(UserError, match=r"split = spread: .* use split: hash"):
        prepare(request_for(work, Bytes(), split="spread"))
