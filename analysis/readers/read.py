"""One file -> its table, by the first reader that recognises it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from analysis.readers.columnar import COLUMNAR
from analysis.readers.documents import DOCUMENT, JSON_LINES
from analysis.readers.lm_eval import LM_EVAL
from analysis.readers.markdown import MARKDOWN
from analysis.readers.melt import melted
from analysis.readers.numbers import PLAIN, NumberFormat
from analysis.readers.refused import REFUSED
from analysis.readers.source import KINDS, Reader, Reading, Source
from analysis.readers.tensorboard import EVENT_FILE
from analysis.readers.text import TEXT
from analysis.readers.trainer import TRAINER_STATE
from analysis.readers.wandb import WANDB_RUN, from_chart, from_halves, from_history, from_objects

# the first that recognises a source reads it: binary formats, JSON of a known shape, any JSON, text
READERS: tuple[Reader, ...] = (
    *(COLUMNAR, EVENT_FILE, WANDB_RUN, REFUSED),
    *(TRAINER_STATE, LM_EVAL, DOCUMENT, JSON_LINES),
    *(MARKDOWN, TEXT),
)
# tables in a form of their own, whatever file they are in; None where it is another
FORMS: tuple[Callable[[Reading], Reading | None], ...] = (from_objects, from_halves, from_chart)


def read(
    path: Path, numbers: NumberFormat = PLAIN, *, melt: str | None = None, folder: Path | None = None
) -> Reading:
    """The table in ``path``, columns as they stand there.

    Args:
        path: a file.
        numbers: how text writes numbers.
        melt: which columns become rows, see :func:`analysis.readers.melt.melted`.
        folder: where the search for this file began, if it was found by one.

    Raises:
        AnalysisError: every problem of the file's structure, or what the file is and what to do instead.
    """
    source = Source(path, numbers, folder)
    reader = next((reader for reader in READERS if reader.recognises(source)), None)
    if reader is None:
        raise source.refusal("cannot be read (it is empty)", f"give a {KINDS} file")
    try:
        reading = reader.read(source)
        for form in FORMS:
            reading = form(reading) or reading
        reading = from_history(reading, path.stem) or reading
    except RecursionError as error:
        raise source.refusal("is nested too deep", "write one flat object a run") from error
    if not len(reading.frame.columns):
        raise source.refusal("holds no rows", f"give a {KINDS} file")
    return reading if melt is None else melted(reading, melt, source.name)
