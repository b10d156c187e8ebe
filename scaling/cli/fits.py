"""``fit`` and ``import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.options import grouped


@grouped
def import_(
    source: Annotated[Path, typer.Argument(help="any CSV, parquet or jsonl file with one row a run")],
    out: Annotated[Path, typer.Argument(help="the CSV to write, with our column names and plain units")],
    reading: option.Reading,
    as_json: option.Json = False,
) -> None:
    """Make a runs table of a table found in the wild."""
    from analysis.tables.runs import import_table

    notes = import_table(source, out, **reading.arguments())
    if as_json:
        return say.data({"table": str(out), "notes": list(notes)})
    print("\n".join([*notes, str(out)]))
    say.next_command("fit", out, *(("--after", "0", "--run", reading.run) if reading.run else ()))
    return None


@grouped
def fit(
    table: option.Tables,
    *,
    law: Annotated[str, typer.Option(help=option.LAW, metavar="LAW")] = "chinchilla",
    reading: option.Reading,
    fitting: option.Fitting,
    intervals: option.Intervals,
    as_json: option.Json = False,
) -> None:
    """Fit a law to a runs table."""
    from scaling.cli.tables import fit_table

    options = fitting.arguments() | intervals.arguments()
    fitted = fit_table(table, law, reading.arguments(), **options)
    if as_json:
        print(fitted.to_json())
        return None
    print(fitted.summary(dim=say.colours()))
    if not fitted.usable:
        return say.next_command("laws", *table)
    more = [*reading.typed(), *fitting.typed()]
    say.next_command("plot", *table, *(("--law", law, *more) if more or law != "chinchilla" else ()))
    return None
