"""Rows of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scaling.corpora.base import Document, DocumentCorpus, Part
from scaling.corpora.files import PART_BYTES, InputFile, Patterns, Text, choices, matching
from scaling.errors import Complaint, UserError

if TYPE_CHECKING:
    import pyarrow.parquet

ROWS = 128  # read at a time: memory is bounded by their text and the pages they lie in


class Parquet(DocumentCorpus):
    """Rows of Parquet files, one a document."""

    kind: Literal["parquet"] = "parquet"
    files: Patterns
    """Paths or patterns (`pages/*.parquet`), relative to the spec."""
    text: Text = "text"
    """Column with the text; `page.body` is the field `body` of `page`. null is an empty document."""

    def inputs(self, folder: Path) -> tuple[Part, ...]:
        return tuple(file.part() for file in matching(self.files, folder))

    def parts(self, folder: Path) -> tuple[Part, ...]:
        return tuple(part for file in matching(self.files, folder) for part in self._parts(file))

    def _parts(self, file: InputFile) -> Iterator[Part]:
        """Join row groups until their text has the size of a part."""
        with _opened(file.part()) as parquet:
            groups = parquet.metadata
            column = self._column(groups, file.name)
            first, size = 0, 0
            for group in range(groups.num_row_groups):
                size += groups.row_group(group).column(column).total_uncompressed_size
                if size >= PART_BYTES:
                    yield Part(file.path, file.name, first, group + 1)
                    first, size = group + 1, 0
            if size or groups.num_row_groups == 0:
                yield Part(file.path, file.name, first, groups.num_row_groups)

    def _column(self, groups: Any, file: str) -> int:
        """Return the place of the text among the columns of a file."""
        every = {groups.schema.column(i).path: i for i in range(groups.num_columns)}
        columns = {path: i for path, i in every.items() if not groups.schema.column(i).max_repetition_level}
        if self.text not in columns:
            if any(f"{path}.".startswith(f"{self.text}.") for path in every.keys() - columns.keys()):
                message = f"column {self.text!r} of {file} has lists or maps in it, which are not text"
            else:
                message = f"{file} has no column {self.text!r}"
            hint = choices(self.text, columns, "columns there") if columns else "name a file with text"
            raise UserError(Complaint(message, "text", hint))
        column = groups.schema.column(columns[self.text])
        logical = column.logical_type.type
        if column.physical_type != "BYTE_ARRAY" or logical not in ("STRING", "NONE", "JSON", "ENUM"):
            kind = column.physical_type if logical == "NONE" else logical
            message = f"column {self.text!r} of {file} is {kind}, not text"
            raise UserError(Complaint(message, "text", "name a column with text"))
        return columns[self.text]

    def read(self, part: Part) -> Iterator[Document]:
        with _opened(part) as parquet:
            groups = parquet.metadata
            last = groups.num_row_groups if part.last is None else part.last
            row = sum(groups.row_group(group).num_rows for group in range(part.first))
            for batch in parquet.iter_batches(ROWS, range(part.first, last), [self.text], use_threads=False):
                for content in _texts(batch, self.text):
                    row += 1
                    yield Document(f"{part.name}:{row}", content or b"")


@contextmanager
def _opened(part: Part) -> Iterator[pyarrow.parquet.ParquetFile]:
    """Open a file so that a row group is never in memory whole.

    Raises:
        UserError: it is not a Parquet file, or damaged; also while it is read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(part.file, pre_buffer=False, buffer_size=2**20) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        cause = str(error).partition("\n")[0]
        raise UserError(Complaint(f"cannot be read as Parquet: {cause}", part.name)) from None


def _texts(batch: Any, column: str) -> list[bytes | None]:
    """Return the values of a column, in structs or not, as bytes that need not be UTF-8."""
    import pyarrow as pa

    table = pa.Table.from_batches([batch])
    while column not in table.column_names:
        table = table.flatten()
    values = table[column]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.large_binary()).to_pylist()
