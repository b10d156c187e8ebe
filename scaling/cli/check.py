"""``check``: what a referee would ask of a table and its law."""

from __future__ import annotations

from typing import Annotated

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.arguments import as_option
from scaling.cli.options import grouped


@grouped
def check(
    table: option.Tables,
    *,
    law: Annotated[str, typer.Option(help=option.LAW, metavar="LAW")] = option.USUAL_LAW,
    compute: Annotated[
        float | None,
        typer.Option(metavar="FLOPS", help="compute that the law is used at; left out: of held-out runs"),
    ] = None,
    reading: option.Reading,
    fitting: option.Fitting,
    as_json: option.Json = False,
) -> None:
    """Test a table and its law as a referee would; exit code 1 where a test fails."""
    from scaling.cli.tables import check_table

    page = check_table(table, law, reading.arguments(), compute=compute, **fitting.arguments())
    if as_json:
        print(page.to_json())
    else:
        print(page.summary(spell=as_option))
        say.next_command("fit", *table, "--law", law, *reading.typed(), *fitting.typed())
    if page.failed:
        raise typer.Exit(1)
