"""``import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.options import grouped

SOURCES = (
    "files of any tracker, trainer or person: CSV, Markdown, JSON, Parquet, TensorBoard, W&B, Hugging Face "
    "Trainer, lm-evaluation-harness; patterns and folders; several are one table with a column `source`"
)


@grouped
def import_(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE", help=SOURCES)],
    *,
    out: Annotated[Path, typer.Option(help="the CSV to write, with our column names and plain units")],
    need: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="what must be there, instead of params, tokens, loss"),
    ] = None,
    reading: option.Reading,
    as_json: option.Json = False,
) -> None:
    """Make a runs table of what other tools wrote."""
    from analysis.tables.loading import import_table

    needs = {"needs": tuple(need)} if need else {}
    notes = import_table(sources, out, **reading.arguments(), **needs)
    if as_json:
        return say.data({"table": str(out), "notes": list(notes)})
    print("\n".join([*notes, str(out)]))
    if need:
        return say.next_command("laws", out)
    say.next_command("fit", out, *(("--after", "0", "--run", reading.run) if reading.run else ()))
    return None
