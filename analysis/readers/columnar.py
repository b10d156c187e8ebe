"""Tables in the formats of Arrow: Parquet, Feather."""

from __future__ import annotations

import io

import pandas as pd

from analysis.errors import AnalysisError
from analysis.readers.source import KINDS, LINE, Reader, Reading, Source


def _is_columnar(source: Source) -> bool:
    return source.raw.startswith((b"PAR1", b"ARROW1")) or source.path.suffix == ".parquet"


def _read(source: Source) -> Reading:
    import pyarrow
    from pyarrow import feather, parquet

    read = feather.read_table if source.raw.startswith(b"ARROW1") else parquet.read_table
    try:
        table = read(io.BytesIO(source.raw))
        names = [name for name in table.column_names if not name.startswith("__index_level_")]
        if problems := source.repeated(names):
            raise AnalysisError(problems)
        frame: pd.DataFrame = table.select(names).to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise source.refusal(f"cannot be read ({reason})", f"give a {KINDS} file") from error
    dropped = len(table.column_names) - len(names)
    notes = ("the index without a name left out",) if dropped else ()
    return Reading(frame.drop(columns=LINE, errors="ignore"), notes)


COLUMNAR = Reader(_is_columnar, _read)
