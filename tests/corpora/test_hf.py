"""Documents of data sets of Hugging Face: local ones, in every form; no network."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaling.corpora import hf
from scaling.corpora.base import Document
from scaling.corpora.hf import HuggingFace
from scaling.errors import UserError
from tests.corpora.packed import complaint, contents, read

ROWS = [{"text": f"document {i}", "page": {"body": f"body {i}", "n": i}} for i in range(300)]
COMMIT = "0123456789" * 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hf"


def save(folder: Path, form: str) -> None:
    saved = datasets.Dataset.from_list(ROWS)
    match form:
        case "jsonl":
            folder.mkdir()
            (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        case "parquet":
            folder.mkdir()
            pq.write_table(pa.Table.from_pylist(ROWS), folder / "train.parquet")
        case "saved":
            saved.save_to_disk(str(folder))
        case _:
            datasets.DatasetDict({"train": saved}).save_to_disk(str(folder))


@pytest.mark.parametrize("form", ["jsonl", "parquet", "saved", "saved splits"])
def test_local_data_sets_are_written_once(form: str, tmp_path: Path, cache: Path) -> None:
    save(tmp_path / "pages", form)
    corpus = HuggingFace(path="pages", text="page.body")
    assert not corpus.is_here(tmp_path)
    assert contents(corpus, tmp_path) == [row["page"]["body"].encode() for row in ROWS]
    assert corpus.is_here(tmp_path)
    assert corpus.versions(tmp_path) == {}
    (file,) = cache.rglob("*.parquet")
    written = file.stat().st_mtime_ns
    assert read(corpus, tmp_path)[2] == Document("pages:3", b"body 2")
    assert file.stat().st_mtime_ns == written
    assert [part.file for part in corpus.inputs(tmp_path)] == [file]


def test_rows_are_downloaded_first_if_they_are_not_streamed(tmp_path: Path) -> None:
    save(tmp_path / "pages", "jsonl")
    corpus = HuggingFace(path="pages", streaming=False, take=5)
    assert contents(corpus, tmp_path) == [row["text"].encode() for row in ROWS[:5]]


def test_other_rows_are_another_file(tmp_path: Path, cache: Path) -> None:
    save(tmp_path / "pages", "jsonl")
    assert len(contents(HuggingFace(path="pages", take=299), tmp_path)) == 299
    assert len(contents(HuggingFace(path="pages", take=1000), tmp_path)) == 300
    with (tmp_path / "pages" / "train.jsonl").open("a") as file:
        file.write('{"text": "new"}\n')
    assert not HuggingFace(path="pages", take=1000).is_here(tmp_path)
    assert contents(HuggingFace(path="pages", take=1000), tmp_path)[-1] == b"new"
    assert len(list(cache.iterdir())) == 3


def test_text_is_written_in_row_groups(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "GROUP_BYTES", 1000)
    save(tmp_path / "pages", "jsonl")
    assert contents(HuggingFace(path="pages"), tmp_path) == [row["text"].encode() for row in ROWS]
    (file,) = cache.rglob("*.parquet")
    assert pq.read_metadata(file).num_row_groups == 4


def test_processes_that_want_one_data_set_write_it_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "pages", "saved")
    writes, write = list[Path](), hf.write

    def counted(file: Path, *rest: Any) -> None:
        writes.append(file)
        write(file, *rest)

    monkeypatch.setattr(hf, "write", counted)
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(lambda _: HuggingFace(path="pages").parts(tmp_path), range(4)))
    assert len(writes) == 1
    assert len(set(parts)) == 1


def test_a_data_set_written_halfway_is_not_taken_for_whole(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "pages", "jsonl")
    corpus = HuggingFace(path="pages")
    with monkeypatch.context() as patch:

        def cut(self: HuggingFace, *rest: Any) -> Any:
            yield b"only one"
            raise KeyboardInterrupt

        patch.setattr(HuggingFace, "_texts", cut)
        with pytest.raises(KeyboardInterrupt):
            corpus.parts(tmp_path)
    assert not corpus.is_here(tmp_path)
    (folder,) = cache.iterdir()
    killed = folder / ".documents.parquet.1234.tmp"
    killed.write_bytes(b"half")
    assert len(contents(corpus, tmp_path)) == 300
    assert not killed.exists()


def test_the_revision_of_the_hub_is_pinned_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[str, str | None, str]]()

    def dataset_info(self: Any, path: str, revision: str | None) -> Any:
        assert (path, revision) == ("owner/pages", "main")
        return SimpleNamespace(sha=COMMIT)

    def load_dataset(path: str, name: str | None, *, split: str, revision: str, streaming: bool) -> Any:
        assert streaming
        asked.append((path, name, revision))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    corpus = HuggingFace(path="owner/pages", name="en", revision="main")
    assert read(corpus, tmp_path)[0] == Document("owner/pages:1", b"document 0")
    assert corpus.versions(tmp_path) == {"revision": COMMIT}
    pinned = HuggingFace(path="owner/pages", name="en", revision=COMMIT[::-1])
    pinned.parts(tmp_path)
    assert pinned.versions(tmp_path) == {"revision": COMMIT[::-1]}
    assert asked == [("owner/pages", "en", COMMIT), ("owner/pages", "en", COMMIT[::-1])]


@pytest.mark.parametrize(
    ("form", "fields", "where", "message"),
    [
        ("jsonl", {"path": "./page"}, "path", "'./page': no such folder"),
        ("jsonl", {"path": "pages/train.jsonl"}, "path", "'pages/train.jsonl' is a file"),
        ("jsonl", {"path": "nobody/pages"}, "path", "'nobody/pages' cannot be read: "),
        ("jsonl", {"split": "test"}, "path", "'pages' cannot be read: Bad split: test. Available"),
        ("jsonl", {"name": "en"}, "path", "'pages' cannot be read: BuilderConfig 'en' not found."),
        ("saved splits", {"split": "test"}, "split", "'pages' has no split 'test'"),
        ("jsonl", {"text": "txt"}, "text", "no column 'txt'"),
        ("saved", {"text": "page.text"}, "text", "no column 'page.text'"),
        ("saved", {"text": "page.n"}, "text", "column 'page.n' holds int, not text"),
        ("saved", {"text": "page"}, "text", "column 'page' holds dict, not text"),
        ("saved", {"text": "text.x"}, "text", "no column 'text.x'"),
    ],
)
def test_what_cannot_be_read_is_said(
    form: str, fields: dict[str, Any], where: str, message: str, tmp_path: Path
) -> None:
    save(tmp_path / "pages", form)
    corpus = HuggingFace.model_validate({"path": "pages"} | fields)
    with pytest.raises(UserError) as caught:
        corpus.parts(tmp_path)
    problem = complaint(caught.value)
    assert problem.where == where
    assert problem.message.startswith(message)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "pages", "saved")

    def full(*rest: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hf, "write", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device; make room"):
        HuggingFace(path="pages").parts(tmp_path)


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"kind: .* need the extra 'hf'; pip install 'scaling-laws\[hf\]'"):
        HuggingFace(path="owner/pages").parts(tmp_path)
