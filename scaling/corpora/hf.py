"""Data sets of the Hugging Face hub, or folders in its formats.

A stream has no places that several processes could read, and may change: the text is written once into a
Parquet file below the cache, with the revision that it is from, and read from there ever after.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import StrictBool

from scaling.corpora.base import Document, DocumentCorpus, Part
from scaling.corpora.files import Text, choices
from scaling.corpora.parquet import Parquet
from scaling.errors import Complaint, UserError
from scaling.files import aside, cache_dir, clear_leftovers, lock
from scaling.recipe.quantities import Count

FILE = "documents.parquet"
GROUP_BYTES = 32 * 2**20  # of text in a row group: in memory while it is written

_FIXED = Parquet(files=(FILE,), text="text")


class HuggingFace(DocumentCorpus):
    """A data set of the Hugging Face hub, or a folder of files; needs the extra `hf`."""

    kind: Literal["hf"] = "hf"
    path: Text
    """Name on the hub (`allenai/c4`); or a folder, relative to the spec, of files or from `save_to_disk`."""
    name: Text | None = None
    """Name of a configuration, such as `en`."""
    split: Text = "train"
    """Split to read; others are not read."""
    revision: Text | None = None
    """Branch, tag or commit on the hub; the commit is resolved once and recorded."""
    text: Text = "text"
    """Column with the text; `page.body` is the field `body` of `page`. null is an empty document."""
    streaming: StrictBool = True
    """Whether rows are written as they arrive, rather than downloaded as files first."""
    take: Count | None = None
    """Rows to take, from the first on; all by default."""

    def is_here(self, folder: Path) -> bool:
        return self._file(folder).exists()

    def inputs(self, folder: Path) -> tuple[Part, ...]:
        return (Part(self._fetched(folder), self.path),)

    def parts(self, folder: Path) -> tuple[Part, ...]:
        parts = _FIXED.parts(self._fetched(folder).parent)
        return tuple(replace(part, name=self.path) for part in parts)

    def read(self, part: Part) -> Iterator[Document]:
        return _FIXED.read(part)

    def versions(self, folder: Path) -> dict[str, str]:
        import pyarrow.parquet as pq

        metadata = pq.read_schema(self._fetched(folder)).metadata or {}
        return {"revision": metadata[b"revision"].decode()} if b"revision" in metadata else {}

    def _local(self, folder: Path) -> Path | None:
        """Return the folder of a data set that is not on the hub."""
        local = folder / os.path.expanduser(self.path)
        if local.is_file():
            hint = "give its folder, or use kind: text, jsonl or parquet"
            raise UserError(Complaint(f"{self.path!r} is a file", "path", hint))
        if not local.is_dir() and self.path.startswith((".", "/", "~")):
            raise UserError(Complaint(f"{self.path!r}: no such folder", "path"))
        return local if local.is_dir() else None

    def _file(self, folder: Path) -> Path:
        """Return where the text is, or will be: by all fields that choose it and the files of a folder."""
        chosen = self.model_dump(mode="json", exclude={"kind", "invalid", "streaming"})
        if local := self._local(folder):
            files = sorted(path for path in local.rglob("*") if path.is_file())
            states = [(path, path.stat()) for path in files]
            chosen["files"] = [[str(path), state.st_size, state.st_mtime_ns] for path, state in states]
        key = sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:24]
        return cache_dir() / "hf" / key / FILE

    def _fetched(self, folder: Path) -> Path:
        """Return the file with the text, written first by one process if it is not there."""
        file = self._file(folder)
        if file.exists():
            return file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with lock(file.parent, math.inf):
                if not file.exists():
                    clear_leftovers(file.parent)
                    self._write(file, self._local(folder))
        except OSError as error:
            hint = "make room, or set SCALING_CACHE to another folder"
            raise UserError(
                Complaint(f"cannot be written: {error.strerror or error}", str(file), hint)
            ) from None
        return file

    def _write(self, file: Path, local: Path | None) -> None:
        datasets = _library()
        with _explained(self.path):
            revision = None if local else _commit(self.path, self.revision)
        write(file, islice(self._texts(datasets, local, revision), self.take), revision, self.path)

    def _texts(self, datasets: ModuleType, local: Path | None, revision: str | None) -> Iterator[bytes]:
        with _explained(self.path):
            for batch in self._open(datasets, local, revision).iter(batch_size=128):
                yield from _column(batch, self.text)

    def _open(self, datasets: ModuleType, local: Path | None, revision: str | None) -> Any:
        if local and (local / "state.json").exists():
            return datasets.load_from_disk(str(local))
        if local and (local / "dataset_dict.json").exists():
            splits = datasets.load_from_disk(str(local))
            if self.split not in splits:
                hint = choices(self.split, splits, "splits there")
                raise UserError(Complaint(f"{self.path!r} has no split {self.split!r}", "split", hint))
            return splits[self.split]
        return datasets.load_dataset(
            str(local or self.path),
            self.name,
            split=self.split,
            revision=revision,
            streaming=self.streaming,
        )


def write(file: Path, texts: Iterable[bytes], revision: str | None, label: str) -> None:
    """Write texts into a Parquet file, whole or not at all; on a terminal, show how far it is.

    Args:
        texts: documents in order.
        revision: recorded in the file.
        label: what the line on the terminal begins with.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tqdm import tqdm

    metadata = None if revision is None else {"revision": revision}
    schema = pa.schema([("text", pa.large_binary())], metadata=metadata)
    group, size = list[bytes](), 0
    with aside(file) as other, pq.ParquetWriter(other, schema, compression="zstd") as writer:
        for text in tqdm(texts, label, unit=" documents", disable=None):
            group.append(text)
            size += len(text)
            if size >= GROUP_BYTES:
                writer.write_table(pa.table([group], schema=schema))
                group, size = [], 0
        writer.write_table(pa.table([group], schema=schema))


def _library() -> ModuleType:
    try:
        import datasets
    except ImportError:
        hint = "pip install 'scaling-laws[hf]'"
        raise UserError(Complaint("data sets of Hugging Face need the extra 'hf'", "kind", hint)) from None
    return datasets


def _commit(path: str, revision: str | None) -> str:
    """Return the commit that a branch or tag of the hub is at."""
    if revision is not None and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(path, revision=revision).sha)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Make what goes wrong in the library, which raises errors of many others, an error of the spec."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = str(error).strip().partition("\n")[0] or type(error).__name__
        hint = "check path, name, split and revision of data.corpus"
        raise UserError(Complaint(f"{path!r} cannot be read: {cause}", "path", hint)) from error


def _column(batch: dict[str, list[Any]], dotted: str) -> Iterator[bytes]:
    """Give the values of a column as bytes; one that is there as it is written goes first."""
    names = [dotted] if dotted in batch else dotted.split(".")
    if names[0] not in batch:
        raise UserError(Complaint(f"no column {dotted!r}", "text", choices(names[0], batch, "columns there")))
    for value in batch[names[0]]:
        for name in names[1:]:
            if value is not None and not (isinstance(value, dict) and name in value):
                hint = choices(name, value, "fields there") if isinstance(value, dict) else ""
                raise UserError(Complaint(f"no column {dotted!r}", "text", hint))
            value = value and value[name]
        if not isinstance(value, str | None):
            message = f"column {dotted!r} holds {type(value).__name__}, not text"
            raise UserError(Complaint(message, "text", "name a column with text"))
        yield (value or "").encode("utf-8", "surrogatepass")
