"""``report``: a study or a table as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.options import grouped


@grouped
def report(
    table: option.Tables,
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="left out: report.html in the folder, or beside the table"),
    ] = None,
    title: Annotated[str | None, typer.Option(help="left out: the name of the study or file")] = None,
    law: Annotated[str, typer.Option(help="what is fitted: a name of `scaling laws`, or file.py:NAME")] = (
        option.USUAL_LAW
    ),
    check: Annotated[
        bool, typer.Option(help="put the table and its law to the referee's tests, which takes some seconds")
    ] = True,
    reading: option.Reading,
    as_json: option.Json = False,
) -> None:
    """Write one HTML file to send: words, verdicts, figures, every run, provenance; no network."""
    from scaling.cli.tables import report_table

    path = report_table(table, out, reading.arguments(), law=law, title=title, referee=check)
    if as_json:
        return say.data({"report": str(path), "bytes": path.stat().st_size})
    print(path)
    say.next_command("check", *table, *([] if law == option.USUAL_LAW else ["--law", law]), *reading.typed())
    return None
