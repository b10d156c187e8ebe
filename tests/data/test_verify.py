from pathlib import Path

import pytest

from scaling.data.prepare import prepare
from scaling.data.verify import verify
from tests.data.fakes import Pairs, request_for


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("train-00000.tokens", b"abc", b"abd", "its content changed: the sha256 differs"),
        ("train-00000.tokens", b"a", b"", "by the index"),
        ("train-00000.documents", b"\x01", b"\x02", "the places of documents in it are not those"),
        ("eval.tokens", b"a", b"b", "its content changed"),
        ("eval.bytes", b"\x02", b"\x03", "its content changed"),
        ("tokenizer.json", b"seen", b"sean", "its content changed"),
        ("index.json", b'"train_tokens": ', b'"train_tokens": 1', "but the rest of it says"),
        ("index.json", b'"fingerprint": "', b'"fingerprint": "0', "but the rest of it says"),
        ("index.json", b"{", b"", "it is not the index of a store"),
    ],
)
def test_a_change_of_a_file_is_found(work: Path, name: str, old: bytes, new: bytes, message: str) -> None:
    facts = prepare(request_for(work, Pairs()))
    assert verify(facts.folder) == []
    path = facts.folder / name
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    (found,) = verify(facts.folder)
    assert found.where == str(path) and message in found.message


def test_a_missing_file_is_found(work: Path) -> None:
    facts = prepare(request_for(work, Pairs()))
    for name in ("train-00000.documents", "eval.tokens", "tokenizer.json"):
        (facts.folder / name).unlink()
    assert [Path(found.where).name for found in verify(facts.folder)] == [
        "eval.tokens",
        "tokenizer.json",
        "train-00000.documents",
    ]
    (facts.folder / "index.json").unlink()
    assert ["cannot read the index" in found.message for found in verify(facts.folder)] == [True]
